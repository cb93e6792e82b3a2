//! `docs/configuration.md`, written from the table of keys.

use std::fmt::Write;

use super::key::{About, Entry, Fallback};
use super::models;
use super::table::KEYS;

const INTRODUCTION: &str = "\
# Configuration

Every setting has one key. It can be given as a flag, as an environment variable, in a file `.env` in the
current directory, or in a file `assistd.toml` in the current directory (`--config FILE` names another one).
When it is given more than once, that is also the order: a flag wins over the environment, the environment
over `.env`, `.env` over `assistd.toml`, and `assistd.toml` over the default.

`assistd config` prints the value of every key and where it comes from, with secrets masked; it takes the same
flags as `assistd serve`.

An empty environment variable counts as unset. A key in `assistd.toml` that is not listed here is an error, and
so is an environment variable that begins with `ASSISTD_` and is not listed here (except those that Kubernetes
and Docker set for a service of the name `assistd`). A relative path in `assistd.toml` is meant from where that
file is, any other from the current directory.

```toml
# assistd.toml
listen = \"0.0.0.0:8000\"
mcp_config = \"mcp.json\"

[model]
base_url = \"http://127.0.0.1:11434/v1\"
name = \"llama3.2\"

[run]
max_turns = 8
call_timeout = \"30s\"
```
";

/// The whole document.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut section = None;
    for entry in KEYS {
        let here = table_of(*entry);
        if section != Some(here) {
            section = Some(here);
            heading(&mut text, here);
        }
        line(&mut text, *entry);
    }
    text.push_str(OF_MODELS);
    for entry in models::KEYS {
        let about = entry.about();
        let (name, help, expects) = (about.name, about.help, entry.shape().expects);
        let _ = writeln!(
            text,
            "| `{name}` | {} | {help}. Takes {expects} |",
            default(about)
        );
    }
    text
}

const OF_MODELS: &str = "
## `[models.NAME]`

A table for each model that requests can name; `docs/models.md` tells how they work together. `NAME` is what requests say:
letters, digits, `.`, `_` and `-`. These keys are read from the file alone.

| key | default | meaning |
|---|---|---|
";

fn default(about: &About) -> String {
    match about.default {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Unset(words) | Fallback::Platform(words, _) => words.to_owned(),
    }
}

/// The TOML table that a key lives in; empty for the top.
fn table_of(entry: &dyn Entry) -> &'static str {
    entry.about().name.split_once('.').map_or("", |(table, _)| table)
}

fn heading(text: &mut String, table: &str) {
    let title = match table {
        "" => "Top level".to_owned(),
        table => format!("`[{table}]`"),
    };
    let _ = write!(
        text,
        "\n## {title}\n\n| key | environment | flag | default | meaning |\n|---|---|---|---|---|\n"
    );
}

fn line(text: &mut String, entry: &dyn Entry) {
    let about = entry.about();
    let flag = about
        .flag
        .as_ref()
        .map_or(String::new(), |flag| format!("`--{}`", flag.long));
    let default = default(about);
    let _ = writeln!(
        text,
        "| `{}` | `{}` | {flag} | {default} | {}. Takes {} |",
        about.name,
        about.env,
        about.help,
        entry.shape().expects,
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Run with `BLESS=1` to write the document anew.
    #[test]
    fn the_document_in_the_repository_is_the_one_that_the_table_gives() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/configuration.md is behind: BLESS=1 cargo test --lib config::document"
        );
    }
}
