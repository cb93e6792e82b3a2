//! `assistd chat`: one message, or one after the other.

mod options;
mod prompt;

use std::io::{self, IsTerminal, Stderr, Stdout};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::pb;
use crate::api::pb::action_answer::Answer;
use crate::api::pb::run_event::Payload;
use crate::config::Settings;

use super::client::{self, Client, Runs};
use super::decision::{self, Decision, Form, Said};
use super::error::Error;
use super::printer::{Ending, Printer, Style};
use prompt::Prompt;

const DECISIONS: &str = "\
When the run waits for an answer, the next line is read as one:
  y                 make the call
  n                 do not; asks why, and the model is told
  n, REASON         the same in one line
  r                 give the result yourself, also of a call that was cut off and did happen
  r RESULT          the same in one line
  {\"argument\": …}   make the call with these arguments
For a function of your own (--function) the line is its result, and an empty one refuses.
What a server asks says how it is answered. A result that is a JSON object is data, everything
else text.

End of input (Ctrl-D) instead of an answer leaves the run waiting; how it can be answered then
is said, and the exit code is 1. Ctrl-C cancels the run. With --thread, what the thread's run
waits for is asked first, or, where there is no terminal, how it can be answered is said.";

/// What `chat` takes.
#[derive(Debug, Args)]
#[command(after_help = DECISIONS)]
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

    /// Offer the model the function in this file, which you carry out: JSON with name, description and inputSchema; may
    /// be given again
    #[arg(long = "function", value_name = "FILE")]
    functions: Vec<PathBuf>,
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
        functions: options::functions(&arguments.functions)?,
        printer: Printer::new(io::stdout(), io::stderr(), style)?,
    };
    let result = conversation.all(arguments.message).await;
    conversation.say_how_to_continue()?;
    result
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
    functions: Vec<pb::FunctionTool>,
    printer: Printer<Stdout, Stderr>,
}

/// What is to be answered.
enum Work {
    /// A new message.
    Message(String),
    /// A run that waits already: what it waits for.
    Waiting(Box<pb::Run>),
}

impl Conversation {
    /// What the thread's run waits for, and then the message, or all that come.
    async fn all(&mut self, message: Option<String>) -> Result<(), Error> {
        if let Some(run) = self.waiting().await? {
            let first = run.pending_actions.first();
            if let (Some(action), false) = (first, self.is_interactive()) {
                return Err(Error::undecided(action));
            }
            let result = self.ask(Work::Waiting(Box::new(run))).await;
            self.forgive(result, message.is_none())?;
        }
        match message {
            Some(message) => self.ask(Work::Message(message)).await,
            None => self.go_on().await,
        }
    }

    /// The run that keeps the thread until somebody answers it.
    async fn waiting(&mut self) -> Result<Option<pb::Run>, Error> {
        if self.thread.is_empty() {
            return Ok(None);
        }
        // One that works on other calls waits too.
        let states = [pb::RunState::RequiresAction, pb::RunState::Running];
        let request = pb::ListRunsRequest {
            parent: self.thread.clone(),
            states: states.map(i32::from).to_vec(),
            ..Default::default()
        };
        let runs = self.runs.list_runs(request).await?.into_inner().runs;
        Ok(runs.into_iter().find(|run| !run.pending_actions.is_empty()))
    }

    /// One message after the other, until there are no more or the second Ctrl-C in a row. What goes wrong
    /// with one message is said, and for a person the next may be better; a script ends there.
    async fn go_on(&mut self) -> Result<(), Error> {
        loop {
            let message = match self.line("> ".to_owned()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(Error::Interrupted) if self.is_interactive() => return Ok(()),
                Err(error) => return Err(error),
            };
            if !message.trim().is_empty() {
                let result = self.ask(Work::Message(message)).await;
                self.forgive(result, true)?;
            }
        }
    }

    /// Only says what went wrong, if a person is here and there may be another message.
    fn forgive(&mut self, result: Result<(), Error>, goes_on: bool) -> Result<(), Error> {
        match result {
            Err(error) if !goes_on || !self.is_interactive() => Err(error),
            Err(error @ (Error::Interrupted | Error::Refused(_) | Error::Run(_))) => {
                self.printer.note(&error.to_string())
            }
            other => other,
        }
    }

    fn is_interactive(&self) -> bool {
        self.prompt.as_ref().is_some_and(Prompt::is_interactive)
    }

    /// One answer. A run that nobody looks at any more is cancelled, unless it waits for a decision that can be made
    /// elsewhere.
    async fn ask(&mut self, work: Work) -> Result<(), Error> {
        self.run.clear();
        let result = tokio::select! {
            result = self.answer(work) => result,
            gone = gone() => gone.and(self.printer.break_line()).and(Err(Error::Interrupted)),
        };
        let is_over = matches!(result, Ok(()) | Err(Error::Undecided(_) | Error::Run(_)));
        if !is_over && !self.run.is_empty() {
            let name = self.run.clone();
            // It may have ended meanwhile, or the service may be what failed: the first error says more.
            let _ = self.runs.cancel_run(pb::CancelRunRequest { name }).await;
        }
        result
    }

    async fn answer(&mut self, work: Work) -> Result<(), Error> {
        let mut events = match work {
            Work::Message(message) => self.client.stream_chat(self.request(message)).await?,
            Work::Waiting(run) => {
                let request = pb::WatchRunRequest {
                    name: run.name.clone(),
                    after_sequence: run.last_sequence,
                };
                let events = self.runs.watch_run(request).await?;
                self.is_under_way = true;
                self.run = run.name;
                for action in &run.pending_actions {
                    self.decide(action).await?;
                }
                events
            }
        }
        .into_inner();
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
                self.decide(action).await?;
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

    fn request(&self, message: String) -> pb::ChatRequest {
        pb::ChatRequest {
            message,
            // What is to be cancelled is cancelled here: a run that waits may be answered elsewhere.
            on_disconnect: pb::OnDisconnect::Continue.into(),
            thread: self.thread.clone(),
            model: self.model.clone(),
            options: self.options.clone(),
            client_tools: self.functions.clone(),
            ..Default::default()
        }
    }

    /// Asks the person, until there is an answer that the service takes.
    async fn decide(&mut self, action: &pb::PendingAction) -> Result<(), Error> {
        let Some(decision) = Decision::of(action) else {
            return Err(Error::undecided(action));
        };
        self.printer.note(&decision.question())?;
        loop {
            let Some(answer) = self.answer_to(decision).await? else {
                return Err(Error::undecided(action));
            };
            let request = pb::SubmitActionsRequest {
                name: action.run.clone(),
                answers: vec![pb::ActionAnswer {
                    action_id: action.id.clone(),
                    digest: action.digest.clone(),
                    answer: Some(answer),
                }],
            };
            match self.runs.submit_actions(request).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == tonic::Code::InvalidArgument => {
                    self.printer.note(&Error::from(status).to_string())?;
                }
                // Somebody else was quicker, or it has expired: the run's events tell.
                Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                    return self.printer.note(status.message());
                }
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// The person's answer; none at the end of input.
    async fn answer_to(&mut self, decision: Decision<'_>) -> Result<Option<Answer>, Error> {
        let (mut words, mut part) = (decision.words(), None);
        loop {
            let Some(line) = self.line(words.to_owned()).await? else {
                return Ok(None);
            };
            let said = match part {
                None => decision.read(&line),
                Some(part) => decision.read_rest(part, &line),
            };
            match said {
                Said::Answer(answer) => return Ok(Some(answer)),
                Said::Part(begun) => (words, part) = (begun.words(), Some(begun)),
                Said::Fields(form) => {
                    let content = self.filled_in(&form).await?;
                    return Ok(content.as_ref().map(decision::accept));
                }
                Said::Unclear(problem) => self.printer.note(&problem)?,
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

/// Until whoever asks has gone: Ctrl-C, or the terminal was closed.
async fn gone() -> Result<(), Error> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
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
