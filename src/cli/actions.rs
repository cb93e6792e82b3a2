//! `assistd actions`.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use crate::api::pb;
use crate::api::pb::action_answer::Answer;
use crate::config::Settings;

use super::client::{self, Runs};
use super::decision::{self, Decision};
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::{brief, plain};
use super::tools::table;
use super::{printer, runs};

/// What `actions` takes.
#[derive(Debug, Args)]
pub struct ActionsArguments {
    /// Print what comes back as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Option<ActionsCommand>,
}

#[derive(Debug, Subcommand)]
enum ActionsCommand {
    /// Answer one of them
    Answer(AnswerArguments),
}

#[derive(Debug, Args)]
struct AnswerArguments {
    /// The run that waits, `threads/…/runs/…`
    run: String,

    /// The action, by its id
    action: String,

    #[command(flatten)]
    reply: Reply,

    /// Follow the run to its end and print its answer; exit 1 when it waits for something else first
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Reply {
    /// Make the call; of one of unknown outcome, make it again; or let a server ask a model
    #[arg(long)]
    approve: bool,

    /// Make the call with these arguments, a JSON object
    #[arg(long, value_name = "JSON")]
    edit: Option<String>,

    /// Do not make the call; the model is told why. Or do not let a server ask a model
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = "")]
    reject: Option<String>,

    /// The result of the call: a JSON object is data, everything else text
    #[arg(long, value_name = "TEXT_OR_JSON", allow_hyphen_values = true)]
    output: Option<String>,

    /// Answer a server's question with this JSON object; without one, for a question that sends you somewhere
    #[arg(long, value_name = "JSON", num_args = 0..=1, default_missing_value = "")]
    accept: Option<String>,

    /// Say no to a server's question
    #[arg(long)]
    decline: bool,

    /// Put a server's question away without an answer
    #[arg(long)]
    dismiss: bool,
}

impl Reply {
    /// The answer to this action; without one, only what needs no knowledge of it.
    fn answer(&self, action: Option<&pb::PendingAction>) -> Result<Answer, Error> {
        if let Some(result) = &self.output {
            let call = action.and_then(Decision::of).and_then(Decision::call);
            return match call {
                Some(call) => Ok(decision::output(call, result)),
                None => Err(Error::Run(
                    "the run does not wait for the result of a call under this action".to_owned(),
                )),
            };
        }
        if let Some(reason) = &self.reject {
            return Ok(decision::reject(reason));
        }
        let answer = match self.accept.as_deref() {
            Some("") => Ok(decision::reply(pb::ElicitationAction::Accept)),
            Some(content) => decision::filled_in(content),
            None if self.decline => Ok(decision::reply(pb::ElicitationAction::Decline)),
            None if self.dismiss => Ok(decision::reply(pb::ElicitationAction::Cancel)),
            None => decision::approve(self.edit.as_deref()),
        };
        answer.map_err(Error::Usage)
    }
}

const ARGUMENTS_CHARS: usize = 60;

/// Lists what runs wait for, or answers it.
pub async fn run(settings: &Settings, arguments: ActionsArguments) -> Result<(), Error> {
    let mut runs = client::runs(client::channel(settings).await?);
    if let Some(ActionsCommand::Answer(answer)) = arguments.command {
        return answered(runs, answer, arguments.json).await;
    }
    let list = list(&mut runs).await?;
    let text = if arguments.json {
        ProtoJson::of("ListPendingActionsResponse")?.line(&list)? + "\n"
    } else if list.pending_actions.is_empty() {
        "no run waits for anything\n".to_owned()
    } else {
        let rows: Vec<[String; 7]> = list.pending_actions.iter().map(cells).collect();
        let head = ["RUN", "ACTION", "KIND", "TOOL", "SINCE", "EXPIRES", "ARGUMENTS"];
        table(head, &rows) + &details(&list.pending_actions)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn list(runs: &mut Runs) -> Result<pb::ListPendingActionsResponse, Error> {
    let mut list = pb::ListPendingActionsResponse::default();
    loop {
        let request = pb::ListPendingActionsRequest {
            page_token: std::mem::take(&mut list.next_page_token),
            ..Default::default()
        };
        let page = runs.list_pending_actions(request).await?.into_inner();
        list.pending_actions.extend(page.pending_actions);
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            return Ok(list);
        }
    }
}

async fn answered(mut runs: Runs, arguments: AnswerArguments, json: bool) -> Result<(), Error> {
    let request = pb::GetRunRequest {
        name: arguments.run.clone(),
    };
    let before = runs.get_run(request).await?.into_inner();
    let action = before
        .pending_actions
        .iter()
        .find(|action| action.id == arguments.action);
    let answer = pb::ActionAnswer {
        answer: Some(arguments.reply.answer(action)?),
        digest: action.map(|action| action.digest.clone()).unwrap_or_default(),
        action_id: arguments.action,
    };
    let request = pb::SubmitActionsRequest {
        name: arguments.run,
        answers: vec![answer],
    };
    // The same answer may be given again: then all that happened is to be seen, not what comes after the end.
    let seen = action.map_or(0, |_| before.last_sequence);
    let after = runs.submit_actions(request).await?.into_inner();
    match after.pending_actions.first() {
        Some(next) if arguments.watch => Err(Error::undecided(next)),
        None if arguments.watch => runs::follow(runs, after, seen, json).await,
        _ => runs::print(&after, json),
    }
}

/// What servers ask, in full: one cell is too narrow for what has to be known before it is answered.
fn details(actions: &[pb::PendingAction]) -> String {
    let asked = actions.iter().filter_map(|action| {
        let whole = Decision::of(action)?.whole()?;
        Some(format!("\n{}\n{}\n", action.id, plain(whole.trim_end())))
    });
    asked.collect()
}

fn cells(action: &pb::PendingAction) -> [String; 7] {
    let decision = Decision::of(action);
    let (tool, about) = match decision {
        Some(Decision::Question(asked)) => (asked.server.as_str(), asked.message.clone()),
        Some(Decision::Sampling(asked)) => (asked.server.as_str(), asked.prompt.clone()),
        Some(Decision::Approval(call) | Decision::Outcome(call, _) | Decision::Function(call)) => {
            (call.tool.as_str(), printer::arguments(call))
        }
        None => ("", String::new()),
    };
    let time = |time: Option<prost_types::Timestamp>| {
        let whole = time.map(|time| prost_types::Timestamp { nanos: 0, ..time });
        whole.map(|time| time.to_string()).unwrap_or_default()
    };
    [
        action.run.clone(),
        action.id.clone(),
        decision.map_or("unknown", Decision::kind).to_owned(),
        brief(tool, usize::MAX),
        time(action.create_time),
        time(action.expire_time),
        brief(&about, ARGUMENTS_CHARS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pb::pending_action::Request;

    #[test]
    fn a_row_says_what_is_asked_since_when() {
        let call = pb::ToolCall {
            tool: "pay".into(),
            arguments_json: "{\"euros\":3}".into(),
            ..Default::default()
        };
        let time = |seconds| {
            Some(prost_types::Timestamp {
                seconds,
                nanos: 500_000_000,
            })
        };
        let mut action = pb::PendingAction {
            id: "act_1".into(),
            run: "threads/t/runs/r".into(),
            create_time: time(1_000_000_000),
            expire_time: time(1_000_000_060),
            request: Some(Request::ClientTool(pb::ClientToolRequest {
                tool_call: Some(call),
            })),
            ..Default::default()
        };
        let expected = [
            "threads/t/runs/r",
            "act_1",
            "function",
            "pay",
            "2001-09-09T01:46:40Z",
            "2001-09-09T01:47:40Z",
            "{\"euros\":3}",
        ];
        assert_eq!(cells(&action), expected);
        action.request = Some(Request::Elicitation(pb::ElicitationRequest {
            server: "shop".into(),
            message: "Which size?\nReally?".into(),
            ..Default::default()
        }));
        assert_eq!(cells(&action)[2..4], ["question", "shop"]);
        assert_eq!(cells(&action)[6], "Which size? …");
        assert_eq!(
            details(&[action]),
            "\nact_1\n? shop asks: Which size?\nReally?\n  go to\n"
        );
    }

    #[test]
    fn flags_answer_a_servers_question() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            reply: Reply,
        }
        for (flags, action, has_content) in [
            (&["--accept"][..], pb::ElicitationAction::Accept, false),
            (
                &["--accept", "{\"size\": 4}"],
                pb::ElicitationAction::Accept,
                true,
            ),
            (&["--decline"], pb::ElicitationAction::Decline, false),
            (&["--dismiss"], pb::ElicitationAction::Cancel, false),
        ] {
            let words = std::iter::once(&"x").chain(flags);
            let line = <Line as clap::Parser>::parse_from(words);
            let Ok(Answer::Elicitation(answer)) = line.reply.answer(None) else {
                panic!("{flags:?}")
            };
            assert_eq!((answer.action(), answer.content.is_some()), (action, has_content));
        }
    }
}
