//! `assistd config`.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use crate::app;
use crate::config::{Config, Row, Settings};

use super::error::Error;

/// What `config` takes.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// Print JSON: an array of key, value (null when unset) and source
    #[arg(long)]
    json: bool,
}

/// Prints every setting. Checks also what needs more than one key or a file, as the service would.
pub fn run(settings: &Settings, arguments: &ConfigArguments) -> Result<(), Error> {
    let rows = settings.rows();
    let text = if arguments.json {
        as_json(&rows)
    } else {
        as_table(&rows)
    };
    io::stdout().write_all(text.as_bytes())?;
    let config = Config::from_settings(settings)?;
    app::check(&config).map_err(|error| Error::Usage(error.to_string()))
}

fn as_json(rows: &[Row]) -> String {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| json!({"key": row.key, "value": row.value, "source": row.source.to_string()}))
        .collect();
    format!("{:#}\n", Value::from(rows))
}

fn as_table(rows: &[Row]) -> String {
    let cells: Vec<[String; 3]> = rows
        .iter()
        .map(|row| {
            let value = row.value.as_deref().unwrap_or("-").replace('\n', "\\n");
            [row.key.to_string(), value, row.source.to_string()]
        })
        .collect();
    super::tools::table(["KEY", "VALUE", "SOURCE"], &cells)
}

#[cfg(test)]
mod tests {
    use crate::config::Inputs;

    use super::*;

    fn settings() -> Settings {
        let directory = tempfile::tempdir().unwrap();
        Settings::read(Inputs {
            flags: vec![("listen", "127.0.0.1:9".to_owned())],
            environment: vec![("OPENAI_API_KEY".into(), "sk-secret".into())],
            directory: directory.path().to_owned(),
            file: None,
        })
        .unwrap()
    }

    #[test]
    fn every_key_is_printed_once_with_its_source_and_no_secret() {
        let rows = settings().rows();
        let text = as_table(&rows);
        assert_eq!(text.lines().count(), rows.len() + 1);
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words("listen"), ["listen", "127.0.0.1:9", "--listen"]);
        assert_eq!(
            words("model.api_key"),
            ["model.api_key", "********", "OPENAI_API_KEY"]
        );
        assert_eq!(words("run.max_turns"), ["run.max_turns", "16", "default"]);
        assert!(!text.contains("sk-secret"));
    }

    #[test]
    fn the_json_says_the_same_and_null_for_what_is_unset() {
        let text = as_json(&settings().rows());
        assert!(!text.contains("sk-secret"));
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let row = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap();
        assert_eq!(row("listen")["source"], "--listen");
        assert_eq!(row("model.base_url")["value"], Value::Null);
    }
}
