//! `assistd runs`.

use std::io::{self, IsTerminal, Write};

use clap::{Args, Subcommand};

use crate::api::pb;
use crate::api::pb::run_event::Payload;
use crate::config::Settings;

use super::client::{self, Runs};
use super::error::Error;
use super::printer::{Ending, Printer, Style};
use super::proto_json::ProtoJson;

/// What `runs` takes.
#[derive(Debug, Args)]
pub struct RunsArguments {
    #[command(subcommand)]
    command: RunsCommand,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// Call off a run that works or waits; its partial answer is kept
    Cancel {
        /// Its name, `threads/…/runs/…`
        run: String,

        /// Print the Run as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Steers a run.
pub async fn run(settings: &Settings, arguments: RunsArguments) -> Result<(), Error> {
    let RunsCommand::Cancel { run, json } = arguments.command;
    let mut runs = client::runs(client::channel(settings).await?);
    let request = pb::CancelRunRequest { name: run };
    let run = runs.cancel_run(request).await?.into_inner();
    print(&run, json)
}

/// Prints the run as JSON, or where it stands.
pub fn print(run: &pb::Run, as_json: bool) -> Result<(), Error> {
    let line = if as_json {
        ProtoJson::of("Run")?.line(run)?
    } else {
        format!("{} {}", run.name, state(run.state()))
    };
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

fn state(state: pb::RunState) -> &'static str {
    match state {
        pb::RunState::Unspecified => "is somewhere",
        pb::RunState::Queued => "is queued",
        pb::RunState::Running => "is running",
        pb::RunState::RequiresAction => "still waits for an action",
        pb::RunState::Cancelling => "is being cancelled",
        pb::RunState::Completed => "is completed",
        pb::RunState::Failed => "has failed",
        pb::RunState::Cancelled => "is cancelled",
        pb::RunState::Expired => "has expired",
        pb::RunState::Incomplete => "is incomplete",
    }
}

/// Prints what happens in a run after that sequence, to its end, or until it waits for something. What it has waited for
/// before it was as it is here is over.
///
/// # Errors
/// The run waits, or ended without an answer; Ctrl-C, after which it goes on.
pub async fn follow(mut runs: Runs, run: pb::Run, after_sequence: i64, json: bool) -> Result<(), Error> {
    let style = Style {
        json,
        colour: io::stderr().is_terminal(),
        harmless: io::stdout().is_terminal(),
    };
    let mut printer = Printer::new(io::stdout(), io::stderr(), style)?;
    let request = pb::WatchRunRequest {
        name: run.name,
        after_sequence,
    };
    let mut events = runs.watch_run(request).await?.into_inner();
    loop {
        let event = tokio::select! {
            event = events.message() => event?,
            _ = tokio::signal::ctrl_c() => {
                printer.break_line()?;
                return Err(Error::Interrupted);
            }
        };
        let Some(event) = event else {
            return Err(Error::Run("the stream ended before the run did".to_owned()));
        };
        match printer.event(&event)? {
            Some(Ending::Answered) => return Ok(()),
            Some(Ending::Unanswered(why)) => return Err(Error::Run(why)),
            None => {}
        }
        if event.sequence > run.last_sequence
            && let Some(Payload::ActionRequired(required)) = &event.payload
            && let Some(action) = &required.action
        {
            printer.break_line()?;
            return Err(Error::undecided(action));
        }
    }
}
