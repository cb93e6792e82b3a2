//! `assistd chat`: one message, or one after the other.

mod decision;
mod form;
mod options;
mod printer;
mod prompt;

use std::io::{self, IsTerminal, Stderr, Stdout};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use crate::api::pb;
use crate::api::pb::run_event::Payload;
use crate::config::Settings;

use super::client::{self, Client, Runs};
use super::error::Error;
use form::Form;
use printer::{Ending, Printer, Style};
use prompt::Prompt;

/// What `chat` takes.
#[derive(Debug, Args)]
pub struct ChatArguments {
    /// The message; without one, messages are read from the terminal, or line by line from standard input
    message: Option<String>,

    /// Continue this thread
    #[arg(long, value_name = "NAME")]
    thread: Option<String>,

    /// Print every event as a line of JSON
    #[arg(long)]
    json: bool,

    /// Ask this model, not the service's default
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// How much chance there is in the choice of words, from 0 to 2
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,

    /// Have the answer be JSON that fits the JSON Schema in this file
    #[arg(long, value_name = "FILE")]
    json_schema: Option<PathBuf>,
}

/// Talks to the service.
pub async fn run(settings: &Settings, arguments: ChatArguments) -> Result<(), Error> {
    let style = Style {
        json: arguments.json,
        colour: io::stderr().is_terminal(),
        harmless: io::stdout().is_terminal(),
    };
    let channel = client::channel(settings).await?;
    // A message that is an argument leaves the terminal free for decisions; a pipe may be anything.
    let asks = arguments.message.is_none() || (io::stdin().is_terminal() && io::stdout().is_terminal());
    let mut conversation = Conversation {
        client: client::client(channel.clone()),
        runs: client::runs(channel),
        prompt: asks.then(Prompt::open).transpose()?,
        thread: arguments.thread.map(full_name).unwrap_or_default(),
        is_under_way: false,
        run: String::new(),
        model: arguments.model.unwrap_or_default(),
        options: options::of(arguments.temperature, arguments.json_schema.as_deref())?,
        printer: Printer::new(io::stdout(), io::stderr(), style)?,
    };
    match arguments.message {
        Some(message) => {
            let result = conversation.ask(message).await;
            conversation.say_how_to_continue()?;
            result
        }
        None => conversation.go_on().await,
    }
}

/// A thread's name is taken with and without its collection.
fn full_name(thread: String) -> String {
    if thread.contains('/') {
        thread
    } else {
        format!("threads/{thread}")
    }
}

struct Conversation {
    client: Client,
    runs: Runs,
    /// Where lines come from, if they can come from anywhere.
    prompt: Option<Prompt>,
    /// Empty until the service has named it.
    thread: String,
    /// Whether the service has the thread: an event of it has come.
    is_under_way: bool,
    /// The run of the last event; empty until there is one.
    run: String,
    model: String,
    options: Option<pb::ModelOptions>,
    printer: Printer<Stdout, Stderr>,
}

impl Conversation {
    /// One message after the other, until there are no more or the second Ctrl-C in a row. What goes wrong
    /// with one message is said, and for a person the next may be better; a script ends there.
    async fn go_on(&mut self) -> Result<(), Error> {
        let is_interactive = self.is_interactive();
        let result = loop {
            let Some(message) = self.line("> ".to_owned()).await? else {
                break Ok(());
            };
            if message.trim().is_empty() {
                continue;
            }
            match self.ask(message).await {
                Ok(()) => {}
                Err(Error::Interrupted) if is_interactive => self.printer.note("interrupted")?,
                Err(error @ (Error::Refused(_) | Error::Run(_))) if is_interactive => {
                    self.printer.note(&error.to_string())?;
                }
                Err(error) => break Err(error),
            }
        };
        self.say_how_to_continue()?;
        result
    }

    fn is_interactive(&self) -> bool {
        self.prompt.as_ref().is_some_and(Prompt::is_interactive)
    }

    /// One message and its answer. A person who goes away cancels the run; without a person it is cancelled here,
    /// unless it waits for a decision that can be made elsewhere.
    async fn ask(&mut self, message: String) -> Result<(), Error> {
        self.run.clear();
        let result = tokio::select! {
            result = self.answer(message) => result,
            _ = tokio::signal::ctrl_c() => self.printer.break_line().and(Err(Error::Interrupted)),
        };
        let is_over = matches!(result, Ok(()) | Err(Error::Undecided { .. } | Error::Run(_)));
        if !is_over && !self.is_interactive() && !self.run.is_empty() {
            let name = self.run.clone();
            // It may have ended meanwhile, or the service may be what failed: the first error says more.
            let _ = self.runs.cancel_run(pb::CancelRunRequest { name }).await;
        }
        result
    }

    async fn answer(&mut self, message: String) -> Result<(), Error> {
        let on_disconnect = if self.is_interactive() {
            pb::OnDisconnect::Cancel
        } else {
            pb::OnDisconnect::Continue
        };
        let request = pb::ChatRequest {
            message,
            on_disconnect: on_disconnect.into(),
            thread: self.thread.clone(),
            model: self.model.clone(),
            options: self.options.clone(),
            ..Default::default()
        };
        let mut events = self.client.stream_chat(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            if !self.is_under_way {
                self.is_under_way = true;
                self.thread = thread_of(&event.run).to_owned();
            }
            self.run.clone_from(&event.run);
            let ending = self.printer.event(&event)?;
            if let Some(Payload::ActionRequired(required)) = &event.payload
                && let Some(action) = &required.action
            {
                self.decide(&event.run, action).await?;
            }
            match ending {
                None => {}
                Some(Ending::Answered) => return Ok(()),
                Some(Ending::Unanswered(why)) => return Err(Error::Run(why)),
            }
        }
        self.printer.break_line()?;
        Err(Error::Run("the stream ended before the run did".to_owned()))
    }

    /// Asks the person, until there is an answer that the service takes.
    async fn decide(&mut self, run: &str, action: &pb::PendingAction) -> Result<(), Error> {
        let Some(decision) = decision::of(action) else {
            return Ok(());
        };
        self.printer.note(&decision.question)?;
        let undecided = |is_interactive| match is_interactive {
            true => Error::Interrupted,
            false => Error::Undecided {
                run: run.to_owned(),
                action: action.id.clone(),
            },
        };
        loop {
            let Some(line) = self.line(decision.words.to_owned()).await? else {
                return Err(undecided(self.is_interactive()));
            };
            let answer = match (&decision.form, decision::is_yes(&line)) {
                (Some(form), true) => match self.filled_in(form).await? {
                    Some(content) => decision::accept(&content),
                    None => return Err(undecided(self.is_interactive())),
                },
                _ => match (decision.read)(&line) {
                    Ok(answer) => answer,
                    Err(problem) => {
                        self.printer.note(&problem)?;
                        continue;
                    }
                },
            };
            let request = pb::SubmitActionsRequest {
                name: run.to_owned(),
                answers: vec![pb::ActionAnswer {
                    action_id: action.id.clone(),
                    digest: action.digest.clone(),
                    answer: Some(answer),
                }],
            };
            match self.runs.submit_actions(request).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == tonic::Code::InvalidArgument => {
                    self.printer.note(status.message())?;
                }
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// Asks for every field of a form; none when the lines end before.
    async fn filled_in(&mut self, form: &Form) -> Result<Option<Map<String, Value>>, Error> {
        let mut content = Map::new();
        for field in &form.fields {
            self.printer.note(&field.about())?;
            loop {
                let Some(line) = self.line(field.words()).await? else {
                    return Ok(None);
                };
                match field.read(&line) {
                    Ok(value) => {
                        content.extend(value.map(|value| (field.name.clone(), value)));
                        break;
                    }
                    Err(problem) => self.printer.note(&problem)?,
                }
            }
        }
        Ok(Some(content))
    }

    async fn line(&mut self, words: String) -> Result<Option<String>, Error> {
        match &mut self.prompt {
            Some(prompt) => prompt.next(words).await,
            None => Ok(None),
        }
    }

    fn say_how_to_continue(&mut self) -> Result<(), Error> {
        if !self.is_under_way {
            return Ok(());
        }
        let line = format!("continue with --thread {}", self.thread);
        self.printer.note(&line)
    }
}

/// `threads/T` of `threads/T/runs/R`.
fn thread_of(run: &str) -> &str {
    run.split_once("/runs/").map_or("", |(thread, _)| thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_by_its_runs_and_by_its_bare_id() {
        assert_eq!(thread_of("threads/thread_1/runs/run_2"), "threads/thread_1");
        assert_eq!(thread_of("nonsense"), "");
        assert_eq!(full_name("thread_1".into()), "threads/thread_1");
        assert_eq!(full_name("threads/thread_1".into()), "threads/thread_1");
    }
}
