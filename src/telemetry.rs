//! What the operator sees of the service: logs, as lines on standard error, and [figures](metrics).

use std::io::{self, IsTerminal};

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, LogSection};

pub mod metrics;

/// Dependencies that are too loud or too frank at the service's own level. `async_openai` logs the whole
/// body of an answer that it cannot read, and `rmcp` every notification with its payload: what users and
/// tools say is not for the log. `rmcp` also logs errors at each attempt to reach a server that is away, which the
/// service's own lines tell once. Whoever wants it back names the target in the filter.
const QUIET: &str = "rmcp=off,async_openai=off,sqlx=warn,h2=warn,hyper=warn";

/// Starts logging to standard error, in colour when that is a terminal.
///
/// # Errors
/// Another logger has been started in this process.
pub fn init(config: &LogSection) -> Result<(), TryInitError> {
    let ansi = io::stderr().is_terminal();
    dispatch(config, ansi, io::stderr).try_init()
}

fn dispatch<W>(config: &LogSection, ansi: bool, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.filter))
        .with_writer(writer);
    match config.format {
        LogFormat::Text => Dispatch::new(builder.with_ansi(ansi).finish()),
        LogFormat::Json => Dispatch::new(builder.json().flatten_event(true).finish()),
    }
}

/// The given directives over the quiet ones. The last of two directives for one target counts.
fn filter(directives: &str) -> EnvFilter {
    EnvFilter::new(format!("{QUIET},{directives}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            page.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(filter: &str, format: LogFormat, say: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let config = LogSection {
            filter: filter.to_owned(),
            format,
        };
        tracing::dispatcher::with_default(&dispatch(&config, false, move || writer.clone()), say);
        let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[test]
    fn loud_dependencies_are_quiet_unless_they_are_named() {
        let say = || {
            tracing::debug!("ours");
            tracing::info!(target: "rmcp::service", "theirs");
            tracing::error!(target: "async_openai::error", "frank");
        };
        let lines = written("debug", LogFormat::Text, say);
        assert!(lines.contains("ours"), "{lines}");
        assert!(!lines.contains("theirs") && !lines.contains("frank"), "{lines}");
        let lines = written("info,rmcp=info", LogFormat::Text, say);
        assert!(!lines.contains("ours") && lines.contains("theirs"), "{lines}");
    }

    #[test]
    fn json_lines_carry_the_fields_at_the_top() {
        let line = written("info", LogFormat::Json, || {
            tracing::info!(port = 8000, "listening")
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "listening");
        assert_eq!(value["port"], 8000);
        assert_eq!(value["level"], "INFO");
    }
}
