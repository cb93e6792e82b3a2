//! Runs: create, get, list, watch, cancel, their steps, and the answers that they wait for.

use super::Handlers;
use super::asked::{model, named, of_run, on_busy, on_disconnect, options, request_key};
use super::events::{self, Events};
use crate::api::caller::Requester;
use crate::api::convert::page::{self, Question};
use crate::api::convert::{self, name};
use crate::api::pb;
use crate::run::engine::{Begun, NewRun, OnDisconnect};
use crate::run::error::Error;
use crate::run::id::ThreadId;
use crate::run::page::Order;
use crate::run::record::RunRecord;

impl Handlers {
    /// Starts a run that answers a thread as it stands.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` and those of [`Engine::begin`](crate::run::engine::Engine::begin).
    pub async fn create_run(
        &self,
        mut request: pb::CreateRunRequest,
        requester: Requester,
    ) -> Result<pb::Run, Error> {
        let id = std::mem::take(&mut request.request_id);
        let request_key = request_key(&id, "CreateRun", &request)?;
        let thread = name::parse_thread("parent", &request.parent)?;
        let run = request.run.ok_or_else(|| Error::invalid("run", "must be set"))?;
        // What it names may have changed since it was made before, or be gone.
        let names_others = !run.assistant.is_empty() || !run.client_tools.is_empty();
        if names_others
            && let Some(key) = &request_key
            && let Some(begun) = self.engine.begun_by(key).await?
        {
            return self.begun(&thread, begun).await;
        }
        let assistant = self.assistant("run.assistant", &run.assistant).await?;
        let on_busy = on_busy(request.on_busy)?;
        let catalogue = self.engine.ports().toolbox.catalogue();
        let client_tools = convert::tool::client_from_pb("run.client_tools", run.client_tools, &catalogue)?;
        convert::thread::check_labels("run.metadata", &run.metadata)?;
        let on_disconnect = on_disconnect(request.on_disconnect, OnDisconnect::GoOn)?;
        let limits = convert::run::limits_from_pb("run.limits", run.limits.as_ref())?;
        let truncation = convert::truncation::from_pb("run.truncation", run.truncation.as_ref())?;
        let model = model("run.model", run.model)?;
        self.check_model("run.model", model.as_deref().unwrap_or_default())?;
        let options = options(
            "run.options",
            run.options,
            assistant.as_ref(),
            &client_tools,
            &catalogue,
        )?;
        let new = NewRun {
            thread: Some(thread.clone()),
            content: Vec::new(),
            model,
            instructions: run.instructions,
            limits,
            truncation,
            options,
            assistant,
            client_tools,
            on_busy,
            request: request_key,
            metadata: run.metadata,
            caller: requester.name,
            credentials: requester.credentials,
        };
        let begun = self.engine.begin(new, on_disconnect).await;
        let begun = begun.map_err(|error| named(error, &thread))?;
        self.begun(&thread, begun).await
    }

    async fn begun(&self, thread: &ThreadId, begun: Begun) -> Result<pb::Run, Error> {
        match begun {
            Begun::Live(handle) => {
                let run = handle.id().clone();
                handle.let_go();
                let record = self.engine.run(thread, &run).await;
                record
                    .map(|record| self.shown(&record))
                    .map_err(|error| of_run(error, thread, &run))
            }
            Begun::Elsewhere(record) => Ok(self.shown(&record)),
            Begun::Past(finished) => Ok(self.shown(&finished.record)),
        }
    }

    /// One run.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `RUN_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn get_run(&self, request: pb::GetRunRequest) -> Result<pb::Run, Error> {
        let (thread, run) = name::parse_run("name", &request.name)?;
        let record = self.engine.run(&thread, &run).await;
        record
            .map(|record| self.shown(&record))
            .map_err(|error| of_run(error, &thread, &run))
    }

    /// The runs of a thread, a page of them.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `THREAD_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn list_runs(&self, request: pb::ListRunsRequest) -> Result<pb::ListRunsResponse, Error> {
        let thread = name::parse_thread("parent", &request.parent)?;
        let order = page::order(&request.order_by, Order::NewestFirst)?;
        let states = request.states.iter().enumerate();
        let states: Vec<&'static str> = states
            .map(|(index, &state)| convert::run::state_name(&format!("states[{index}]"), state))
            .collect::<Result<_, _>>()?;
        let question = Question::new(&[
            "ListRuns",
            &request.parent,
            page::spelled(order),
            &states.join(","),
        ]);
        let page = question.page(request.page_size, &request.page_token, order)?;
        let listed = self.store().runs(&thread, &states, page).await;
        let listed = listed.map_err(|error| named(error, &thread))?;
        Ok(pb::ListRunsResponse {
            runs: listed.items.iter().map(|record| self.shown(record)).collect(),
            next_page_token: question.token(listed.next),
        })
    }

    /// The events of a run after a sequence, those that have happened first.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `RUN_NOT_FOUND`, `EVENTS_EXPIRED`, `STORE_UNAVAILABLE`.
    pub async fn watch_run(&self, request: pb::WatchRunRequest) -> Result<Events, Error> {
        let (thread, run) = name::parse_run("name", &request.name)?;
        let after = u64::try_from(request.after_sequence)
            .map_err(|_| Error::invalid("after_sequence", "must not be negative"))?;
        let watch = self.engine.watch(&thread, &run, after).await;
        watch
            .map(|watch| events::of_watch(watch, self.slow_watcher_limit))
            .map_err(|error| of_run(error, &thread, &run))
    }

    /// Calls a run off.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `RUN_NOT_FOUND`, `RUN_NOT_CANCELLABLE`, `STORE_UNAVAILABLE`.
    pub async fn cancel_run(&self, request: pb::CancelRunRequest) -> Result<pb::Run, Error> {
        let (thread, run) = name::parse_run("name", &request.name)?;
        let record = self.engine.cancel(&thread, &run).await;
        record
            .map(|record| self.shown(&record))
            .map_err(|error| of_run(error, &thread, &run))
    }

    /// Answers what a run waits for.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `RUN_NOT_FOUND`, `ACTION_NOT_PENDING`, `STORE_UNAVAILABLE`.
    pub async fn submit_actions(&self, request: pb::SubmitActionsRequest) -> Result<pb::Run, Error> {
        let (thread, run) = name::parse_run("name", &request.name)?;
        if request
            .answers
            .iter()
            .any(|answer| convert::action::call_of(answer).is_some())
        {
            let record = self.engine.run(&thread, &run).await;
            let record = record.map_err(|error| of_run(error, &thread, &run))?;
            convert::action::check_calls(&record.pending, &request.answers)?;
        }
        let submissions = convert::action::submissions(request.answers)?;
        let submitted = self.engine.submit(&thread, &run, submissions).await;
        submitted.map_err(|error| of_run(error, &thread, &run))?;
        self.get_run(pb::GetRunRequest { name: request.name }).await
    }

    /// What runs wait for, a page of it, the oldest first.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `STORE_UNAVAILABLE`.
    pub async fn list_pending_actions(
        &self,
        request: pb::ListPendingActionsRequest,
    ) -> Result<pb::ListPendingActionsResponse, Error> {
        let question = Question::new(&["ListPendingActions"]);
        let page = question.page(request.page_size, &request.page_token, Order::OldestFirst)?;
        let listed = self.store().pending_actions(page).await?;
        let pending = listed.items.iter();
        Ok(pb::ListPendingActionsResponse {
            pending_actions: pending
                .map(|pending| convert::action::to_pb(&pending.thread, &pending.run, &pending.action))
                .collect(),
            next_page_token: question.token(listed.next),
        })
    }

    /// What a run did, a page of it.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`, `RUN_NOT_FOUND`, `STORE_UNAVAILABLE`.
    pub async fn list_run_steps(
        &self,
        request: pb::ListRunStepsRequest,
    ) -> Result<pb::ListRunStepsResponse, Error> {
        let (thread, run) = name::parse_run("parent", &request.parent)?;
        let question = Question::new(&["ListRunSteps", &request.parent]);
        let page = question.page(request.page_size, &request.page_token, Order::OldestFirst)?;
        let found = self.engine.run(&thread, &run).await;
        found.map_err(|error| of_run(error, &thread, &run))?;
        let listed = self.store().run_steps(&run, page).await?;
        let steps = listed.items.iter();
        Ok(pb::ListRunStepsResponse {
            steps: steps
                .map(|step| convert::step::to_pb(&thread, &run, step))
                .collect(),
            next_page_token: question.token(listed.next),
        })
    }

    /// A run as the contract has it, with the newest of its sequences.
    fn shown(&self, record: &RunRecord) -> pb::Run {
        pb::Run {
            last_sequence: convert::count(self.engine.last_sequence(record)),
            ..convert::run::to_pb(record)
        }
    }
}
