//! Where the messages of a conversation come from.

use std::io::{self, IsTerminal};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::cli::error::Error;

/// A person at a terminal, or lines from anywhere else.
pub enum Prompt {
    /// A line editor; away while it waits for a line.
    Editor(Option<Box<DefaultEditor>>),
    /// Standard input.
    Lines(Lines<BufReader<Stdin>>),
}

impl Prompt {
    /// The line editor when both ends are a terminal, lines otherwise.
    pub fn open() -> Result<Self, Error> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let editor = DefaultEditor::new().map_err(failure)?;
            Ok(Prompt::Editor(Some(Box::new(editor))))
        } else {
            Ok(Prompt::Lines(BufReader::new(tokio::io::stdin()).lines()))
        }
    }

    /// Whether a person is there to react.
    pub fn is_interactive(&self) -> bool {
        matches!(self, Prompt::Editor(_))
    }

    /// The next line, asked for with these words; `None` at the end, which is Ctrl-D for the editor.
    ///
    /// # Errors
    /// [`Error::Interrupted`] for Ctrl-C.
    pub async fn next(&mut self, words: String) -> Result<Option<String>, Error> {
        match self {
            Prompt::Editor(place) => {
                let Some(editor) = place.take() else {
                    return Ok(None);
                };
                let (editor, line) = tokio::task::spawn_blocking(move || read_line(editor, &words))
                    .await
                    .map_err(Error::service)?;
                *place = Some(editor);
                line
            }
            // Once a handler for Ctrl-C is there, it no longer ends the process by itself.
            Prompt::Lines(lines) => tokio::select! {
                line = lines.next_line() => Ok(line?),
                _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            },
        }
    }
}

/// The editor blocks: it has a thread of its own for as long as it waits.
fn read_line(
    mut editor: Box<DefaultEditor>,
    words: &str,
) -> (Box<DefaultEditor>, Result<Option<String>, Error>) {
    let line = match editor.readline(words) {
        Ok(line) => editor
            .add_history_entry(&line)
            .map(|_| Some(line))
            .map_err(failure),
        Err(ReadlineError::Eof) => Ok(None),
        Err(ReadlineError::Interrupted) => Err(Error::Interrupted),
        Err(error) => Err(failure(error)),
    };
    (editor, line)
}

fn failure(error: ReadlineError) -> Error {
    match error {
        ReadlineError::Io(error) => Error::Io(error),
        other => Error::service(other),
    }
}
