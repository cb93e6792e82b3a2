//! One call of a tool: a run from its beginning, or from where it waits for a decision, to its answer.

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, InputRequiredResult, InputResponses, JsonObject,
    ProgressNotificationParam, ProgressToken, ProtocolVersion,
};
use rmcp::service::{Peer, RequestContext};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::approval::{self, Decision};
use super::tools::Addressee;
use super::{CallerOf, failure, result};
use crate::run::action::{Request, Submission};
use crate::run::assistant::AssistantRecord;
use crate::run::credentials::Credentials;
use crate::run::engine::{Begun, Engine, Finished, NewRun, OnDisconnect, RunHandle, Watch};
use crate::run::error::{Error, Reason};
use crate::run::event::{Body, Event};
use crate::run::id::{AssistantId, RunId, ThreadId};
use crate::run::message::Part;
use crate::run::record::{RunRecord, State};

/// How often the length of the text is reported, at most.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// What a caller says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    message: String,
    #[serde(default)]
    thread: Option<String>,
    #[serde(default)]
    assistant: Option<String>,
}

/// Answers a call.
///
/// # Errors
/// The request is no call of a tool: what it goes on with is not there.
pub(super) async fn answer(
    engine: &Engine,
    addressee: Addressee,
    request: CallToolRequestParams,
    caller: Result<String, Error>,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let cancelled = context.ct.clone();
    let answered = async {
        match request.request_state {
            Some(state) => {
                let responses = request.input_responses.unwrap_or_default();
                resume(engine, &state, &responses, context).await
            }
            None => {
                let arguments = request.arguments.unwrap_or_default();
                Ok(begin(engine, addressee, arguments, caller, context).await)
            }
        }
    };
    tokio::select! {
        biased;
        // What is dropped here calls its run off.
        () = cancelled.cancelled() => Ok(failure("the call was cancelled")),
        answered = answered => answered,
    }
}

async fn begin(
    engine: &Engine,
    addressee: Addressee,
    arguments: JsonObject,
    caller: Result<String, Error>,
    context: RequestContext<RoleServer>,
) -> CallToolResponse {
    let begun = async {
        let new = NewRun {
            caller: caller?,
            credentials: credentials(&context),
            ..new_run(engine, addressee, arguments).await?
        };
        engine.begin(new, OnDisconnect::Cancel).await
    };
    let talked = match begun.await {
        Ok(Begun::Live(handle)) => {
            Talk::of_handle(engine, handle, &context)
                .concluded(&context)
                .await
        }
        Ok(Begun::Past(finished)) => Ok(result::of(&finished).into()),
        Ok(Begun::Elsewhere(record)) => {
            let finished = engine.answered_elsewhere(&record.id).await;
            finished.map(|finished| result::of(&finished).into())
        }
        Err(error) => Err(error),
    };
    talked.unwrap_or_else(|error| refusal(&error))
}

/// Who makes the request; see [`CallerOf`].
pub(super) fn caller(of: CallerOf, context: &RequestContext<RoleServer>) -> Result<String, Error> {
    let head = context.extensions.get::<http::request::Parts>();
    head.map_or_else(|| Ok(String::new()), |head| of(&head.extensions))
}

/// The token of the request, as the front door has put it there.
fn credentials(context: &RequestContext<RoleServer>) -> Option<Credentials> {
    let head = context.extensions.get::<http::request::Parts>()?;
    head.extensions.get().cloned()
}

/// Goes on with a run that has asked something, with the answers. Whoever has not answered everything is asked again.
async fn resume(
    engine: &Engine,
    state: &str,
    responses: &InputResponses,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let unknown = || ErrorData::invalid_params("the request state names no run of this service", None);
    let (thread, run) = result::parse_run(state).ok_or_else(unknown)?;
    let record = engine.run(&thread, &run).await.map_err(|_| unknown())?;
    let resumed = async {
        let watch = engine.watch(&thread, &run, record.last_sequence).await?;
        if record.state == State::RequiresAction {
            match approval::decisions(&record, responses) {
                Some(submissions) => engine.submit(&thread, &run, submissions).await?,
                None if approval::is_dismissed(&record, responses) => {
                    return Ok(result::of(&Finished {
                        record: Arc::new(record),
                        answer: None,
                    })
                    .into());
                }
                None => return Ok(ask_again(&record)),
            }
        }
        Talk::of_watch(engine, watch, &context).concluded(&context).await
    };
    Ok(resumed.await.unwrap_or_else(|error| refusal(&error)))
}

fn refusal(error: &Error) -> CallToolResponse {
    failure(format!("{}: {}", error.reason().as_str(), error.message()))
}

fn ask_again(record: &RunRecord) -> CallToolResponse {
    let state = result::run_name(&record.thread, &record.id);
    InputRequiredResult::new(Some(approval::questions(record)), Some(state)).into()
}

async fn new_run(engine: &Engine, addressee: Addressee, arguments: JsonObject) -> Result<NewRun, Error> {
    let said: Said = serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Error::invalid("arguments", error.to_string()))?;
    if said.message.is_empty() {
        return Err(Error::invalid("message", "must not be empty"));
    }
    let assistant = match (addressee, said.assistant) {
        (Addressee::One(assistant), None) => Some(*assistant),
        (Addressee::One(_), Some(_)) => return Err(Error::invalid("assistant", "is the tool's own")),
        (Addressee::Named, None) => None,
        (Addressee::Named, Some(name)) => assistant(engine, &name).await?,
    };
    let thread = said.thread.filter(|thread| !thread.is_empty());
    let thread = thread.map(|thread| ThreadId::parse(thread.strip_prefix("threads/").unwrap_or(&thread)));
    Ok(NewRun {
        thread: thread.transpose()?,
        content: vec![Part::Text(said.message)],
        assistant,
        ..NewRun::default()
    })
}

/// The assistant of this name; none for the default one.
async fn assistant(engine: &Engine, name: &str) -> Result<Option<AssistantRecord>, Error> {
    match name.strip_prefix("assistants/").unwrap_or(name) {
        "" | "default" => Ok(None),
        id => {
            let id = AssistantId::parse(id)?;
            engine.ports().store.assistant(&id).await.map(Some)
        }
    }
}

/// A run that a client waits for. Dropped before its end, it is called off, unless it waits for an answer that the
/// client knows of.
struct Talk<'a> {
    engine: &'a Engine,
    watch: Watch,
    hold: Hold,
    reports: Reports,
}

/// What calls the run off.
enum Hold {
    /// The handle of a run that began with this call.
    Handle(RunHandle),
    /// The run goes on after an answer: it is called off by its name.
    Name(CallOff),
    /// Nothing: it is over, or waits.
    Nothing,
}

impl<'a> Talk<'a> {
    fn of_handle(engine: &'a Engine, handle: RunHandle, context: &RequestContext<RoleServer>) -> Self {
        Self {
            engine,
            watch: handle.watch(),
            hold: Hold::Handle(handle),
            reports: Reports::of(context),
        }
    }

    fn of_watch(engine: &'a Engine, watch: Watch, context: &RequestContext<RoleServer>) -> Self {
        let call_off = CallOff {
            engine: engine.clone(),
            run: (watch.thread().clone(), watch.run().clone()),
            is_armed: true,
        };
        Self {
            engine,
            watch,
            hold: Hold::Name(call_off),
            reports: Reports::of(context),
        }
    }

    async fn concluded(mut self, context: &RequestContext<RoleServer>) -> Result<CallToolResponse, Error> {
        loop {
            let finished = self.stands().await?;
            let record = &finished.record;
            let can_ask = record.state == State::RequiresAction
                && approval::is_possible(record, context.client_capabilities().as_ref());
            if !can_ask {
                self.let_go();
                return Ok(result::of(&finished).into());
            }
            if is_stateless(context) {
                self.let_go();
                return Ok(ask_again(record));
            }
            match self.ask(record, &context.peer).await? {
                Asked::Decided(submissions) => {
                    let submitted = self.engine.submit(&record.thread, &record.id, submissions).await;
                    match submitted {
                        Ok(()) => {}
                        // Somebody else has answered a part of it meanwhile: what is left is theirs too.
                        Err(error) if error.reason() == Reason::ActionNotPending => {
                            self.let_go();
                            let finished = self.engine.answered_elsewhere(&record.id).await?;
                            return Ok(result::of(&finished).into());
                        }
                        Err(error) => return Err(error),
                    }
                }
                Asked::Overtaken => {}
                Asked::Undecided => {
                    self.let_go();
                    return Ok(result::of(&finished).into());
                }
            }
        }
    }

    /// Follows the run until it is over or waits for people.
    async fn stands(&mut self) -> Result<Finished, Error> {
        while let Some(event) = self.watch.next().await? {
            self.reports.hear(&event).await;
            let waits = matches!(
                event.body,
                Body::StateChanged {
                    to: State::RequiresAction,
                    ..
                }
            );
            if waits {
                break;
            }
        }
        self.engine.answered_elsewhere(self.watch.run()).await
    }

    /// Asks the client's user about everything that the run waits for, as long as it does.
    async fn ask(&mut self, record: &RunRecord, peer: &Peer<RoleServer>) -> Result<Asked, Error> {
        let asking = async {
            let mut submissions = Vec::with_capacity(record.pending.len());
            for action in &record.pending {
                let Some(question) = approval::question(action) else {
                    return Asked::Undecided;
                };
                match peer.create_elicitation(question).await {
                    Ok(result) => match approval::decision(action, &result) {
                        Decision::Made(submission) => submissions.push(submission),
                        Decision::Open => return Asked::Undecided,
                    },
                    Err(error) => {
                        tracing::debug!(%error, "an mcp client did not ask its user");
                        return Asked::Undecided;
                    }
                }
            }
            Asked::Decided(submissions)
        };
        tokio::pin!(asking);
        loop {
            let event = tokio::select! {
                asked = &mut asking => return Ok(asked),
                event = self.watch.next() => event?,
            };
            match event {
                Some(event) => {
                    self.reports.hear(&event).await;
                    if matches!(event.body, Body::StateChanged { .. } | Body::Ended(_)) {
                        return Ok(Asked::Overtaken);
                    }
                }
                None => return Ok(Asked::Overtaken),
            }
        }
    }

    fn let_go(&mut self) {
        match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Handle(handle) => handle.let_go(),
            Hold::Name(mut call_off) => call_off.is_armed = false,
            Hold::Nothing => {}
        }
    }
}

/// What came of asking.
enum Asked {
    /// There is an answer to everything.
    Decided(Vec<Submission>),
    /// The user does not say.
    Undecided,
    /// The run waits no more: somebody else has answered, or it is over.
    Overtaken,
}

/// Calls a run off when it is dropped.
struct CallOff {
    engine: Engine,
    run: (ThreadId, RunId),
    is_armed: bool,
}

impl Drop for CallOff {
    fn drop(&mut self) {
        if self.is_armed {
            let (engine, (thread, run)) = (self.engine.clone(), self.run.clone());
            // Bounded by the engine, which knows the run's end.
            tokio::spawn(async move { engine.cancel(&thread, &run).await });
        }
    }
}

/// Whether the request is of the era in which a server answers with questions instead of asking.
fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Tells the client how far the run is, if it has asked for that.
struct Reports {
    to: Option<(Peer<RoleServer>, ProgressToken)>,
    sent: u32,
    characters: usize,
    last_length: Option<Instant>,
}

impl Reports {
    fn of(context: &RequestContext<RoleServer>) -> Self {
        let token = context.meta.get_progress_token();
        Self {
            to: token.map(|token| (context.peer.clone(), token)),
            sent: 0,
            characters: 0,
            last_length: None,
        }
    }

    async fn hear(&mut self, event: &Arc<Event>) {
        let Some((peer, token)) = &self.to else {
            return;
        };
        let message = match &event.body {
            Body::StateChanged { to, .. } => format!("the run is {}", to.name()),
            Body::Ended(record) => format!("the run is {}", record.state.name()),
            Body::ToolCallStarted { tool, .. } => format!("the assistant asks for the tool {tool}"),
            Body::ToolCallProgress { progress, .. } if !progress.message.is_empty() => {
                progress.message.clone()
            }
            Body::ToolCallCompleted { tool, output, .. } if output.is_error => {
                format!("the tool {tool} has failed")
            }
            Body::ToolCallCompleted { tool, .. } => format!("the tool {tool} has answered"),
            Body::ActionRequired(action) => match &action.request {
                Request::Elicitation(asked) => format!("the server {} asks something", asked.server),
                _ => format!("the run waits for a decision about the tool {}", action.call.tool),
            },
            Body::TextDelta { text, .. } => {
                self.characters += text.chars().count();
                if self.last_length.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
                    return;
                }
                self.last_length = Some(Instant::now());
                format!("{} characters written", self.characters)
            }
            _ => return,
        };
        self.sent += 1;
        let report =
            ProgressNotificationParam::new(token.clone(), f64::from(self.sent)).with_message(message);
        // A client that is gone is noticed by its request.
        let _ = peer.notify_progress(report).await;
    }
}
