//! The Assistants dialect: requests here, answers in [`events`], what a thread there has in [`history`].
//!
//! Everything that a run needs is sent with the run, over one assistant of ours; a thread there stays bound to
//! the conversation here for as long as its history is the same. See `docs/adr/0010-assistants-dialect.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use reqwest::Response;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::run::ports::ModelRequest;

use super::allowance::Allowance;
use super::decode::Decoder;
use super::digest::hex;
use super::error::Failure;
use super::options;
use super::reader::{Reader, Source};
use super::tools::Offer;
use super::upstream::Upstream;
use super::upstream::aside::Aside;
use events::Place;
use history::Way;
pub(super) use turn::Turn;

pub(super) mod events;
mod history;
mod turn;

/// How many messages a request may bring.
const MOST_MESSAGES: usize = 32;
/// The least that this API takes for a token limit.
const LEAST_TOKENS: u64 = 256;
/// How many threads are remembered as being where they were left.
const MOST_THREADS: usize = 10_000;
/// How long a cancel may take.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// What our assistant is known by among others.
const MARK: &str = "assistd";
/// Options that a run does not have; nothing is lost without them.
const NOT_HERE: [&str; 3] = ["seed", "verbosity", "service_tier"];
/// What requests say of the API's version.
const BETA: Option<&str> = Some("assistants=v2");

/// A server that speaks the Assistants API.
#[derive(Debug)]
pub(super) struct Assistants {
    upstream: Arc<Upstream>,
    /// The assistant that all runs are made with.
    assistant: tokio::sync::Mutex<Option<String>>,
    /// Threads that nobody has touched since this run of theirs, as far as is known here.
    untouched: Mutex<HashMap<String, String>>,
    /// Cancels on their way.
    cancels: Mutex<JoinSet<()>>,
}

impl Assistants {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self {
            upstream,
            assistant: tokio::sync::Mutex::default(),
            untouched: Mutex::default(),
            cancels: Mutex::default(),
        }
    }

    /// Asks for one turn.
    ///
    /// # Errors
    /// The provider's refusal, or that it cannot be reached.
    pub(super) async fn open(
        self: &Arc<Self>,
        order: &Arc<Order>,
        offer: Option<Arc<Offer>>,
    ) -> Result<Turn, Failure> {
        let response = self.begin(order, offer.as_deref()).await?;
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            offer,
            identity: String::new(),
            // The decoder tells of none: the turn itself knows how to go on.
            is_kept: false,
            bond: None,
            allowance: Allowance::below(order.request.max_output_tokens, LEAST_TOKENS),
        };
        let decoder = Decoder::Assistants(Box::default());
        let reader = Reader::new(response, decoder, source);
        Ok(Turn::new(reader, Arc::clone(order), Arc::clone(self)))
    }

    /// What continuations are marked with: whoever has this address can go on from them.
    fn name(&self) -> String {
        format!("assistants {}", self.upstream.endpoint())
    }

    async fn begin(&self, order: &Order, offer: Option<&Offer>) -> Result<Response, Failure> {
        let begun = match history::way(&order.request, &self.name(), &order.digest) {
            Way::Begin(messages) => return self.anew(order, offer, messages).await,
            Way::Submit(place, outputs) => return self.submit(order, offer, &place, &outputs).await,
            Way::Continue(place, messages) if messages.len() <= MOST_MESSAGES => {
                if !self.is_untouched(&place).await? {
                    return self.anew(order, offer, history::whole(&order.request)).await;
                }
                self.run(&place.thread, order, offer, messages).await
            }
            Way::Continue(..) => return self.anew(order, offer, history::whole(&order.request)).await,
        };
        match begun {
            // The thread is gone, or another run has it: the history is here.
            Err(failure) if failure.is_about_a_lost_thread() => {
                tracing::debug!(
                    status = failure.status,
                    "the model's thread cannot be gone on with"
                );
                self.anew(order, offer, history::whole(&order.request)).await
            }
            begun => begun,
        }
    }

    /// Gives a run the outputs that it waits for.
    ///
    /// A run that was lost meanwhile, with its thread or because it waited too long, could be told all of it anew. The
    /// calls stand in words there, and a model may well make them again. Nobody would be asked about that, so it is
    /// left to calls that do no harm; of any others the turn fails.
    async fn submit(
        &self,
        order: &Order,
        offer: Option<&Offer>,
        place: &Place,
        outputs: &[Value],
    ) -> Result<Response, Failure> {
        let body = json!({"tool_outputs": outputs, "stream": true});
        let (thread, run) = (place.thread.as_str(), place.run.as_str());
        let path = ["threads", thread, "runs", run, "submit_tool_outputs"];
        self.untouched().remove(thread);
        let failure = match self.post(order, &path, &body, 0).await {
            Err(failure) if failure.is_about_a_lost_thread() => failure,
            submitted => return submitted,
        };
        if self.is_waiting(place).await? {
            // It is the outputs that are refused.
            return Err(failure);
        }
        let are_harmless = order.calls_do_no_harm();
        tracing::warn!(
            thread,
            run,
            status = failure.status,
            are_harmless,
            "the model provider has lost a run that waited for the outputs of its calls"
        );
        match are_harmless {
            true => self.anew(order, offer, history::whole(&order.request)).await,
            false => Err(failure.of_a_lost_run()),
        }
    }

    /// Whether the run still waits for outputs.
    async fn is_waiting(&self, place: &Place) -> Result<bool, Failure> {
        let path = ["threads", &place.thread, "runs", &place.run];
        match self.get(&path, &[]).await {
            Ok(run) => Ok(run["status"] == "requires_action"),
            Err(failure) if failure.status == Some(404) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the run is still the newest of its thread. Remembered, so that nothing is asked in the usual case.
    async fn is_untouched(&self, place: &Place) -> Result<bool, Failure> {
        // Taken out until the turn has ended well: one that breaks off leaves the thread in an unknown state.
        if let Some(run) = self.untouched().remove(&place.thread) {
            return Ok(run == place.run);
        }
        let path = ["threads", &place.thread, "runs"];
        let newest = match self.get(&path, &[("limit", "1"), ("order", "desc")]).await {
            Ok(list) => list,
            Err(failure) if failure.status == Some(404) => return Ok(false),
            Err(failure) => return Err(failure),
        };
        let run = &newest["data"][0];
        Ok(run["id"] == *place.run && run["status"] == "completed")
    }

    /// A run in a thread of its own.
    async fn anew(
        &self,
        order: &Order,
        offer: Option<&Offer>,
        mut messages: Vec<Value>,
    ) -> Result<Response, Failure> {
        let fit = messages.len() <= MOST_MESSAGES;
        if fit && !order.needs_a_thread() {
            return self
                .with_assistant(order, offer, |mut body| {
                    body["thread"] = json!({"messages": messages});
                    (vec!["threads".to_owned(), "runs".to_owned()], body)
                })
                .await;
        }
        let last = match fit {
            true => Vec::new(),
            false => messages.split_off(messages.len() - MOST_MESSAGES),
        };
        let thread = self.thread_of(order, &messages).await?;
        self.run(&thread, order, offer, last).await
    }

    /// A new thread with these messages, in as many requests as that takes. One that fails before anything came of it
    /// is gone on from when the turn is tried again.
    async fn thread_of(&self, order: &Order, messages: &[Value]) -> Result<String, Failure> {
        let (mut thread, mut posted) = match order.posted().take() {
            Some(Posted { thread, messages }) => (Some(thread), messages),
            None => (None, 0),
        };
        while thread.is_none() || posted < messages.len() {
            let (next, sent) = match &thread {
                None => {
                    let first = &messages[..messages.len().min(MOST_MESSAGES)];
                    let new = json!({ "messages": first });
                    (first.len(), self.posted(order, &["threads"], &new, 0).await)
                }
                Some(thread) => {
                    let path = ["threads", thread, "messages"];
                    (
                        posted + 1,
                        self.posted(order, &path, &messages[posted], posted).await,
                    )
                }
            };
            match sent {
                Ok(object) => {
                    posted = next;
                    thread.get_or_insert_with(|| object["id"].as_str().unwrap_or_default().to_owned());
                }
                Err(failure) => {
                    // After any other failure a message might be there twice.
                    if failure.was_never_taken() {
                        *order.posted() = thread.map(|thread| Posted {
                            thread,
                            messages: posted,
                        });
                    }
                    return Err(failure);
                }
            }
        }
        Ok(thread.unwrap_or_default())
    }

    /// A run in this thread.
    async fn run(
        &self,
        thread: &str,
        order: &Order,
        offer: Option<&Offer>,
        messages: Vec<Value>,
    ) -> Result<Response, Failure> {
        self.with_assistant(order, offer, |mut body| {
            if !messages.is_empty() {
                body["additional_messages"] = json!(messages);
            }
            let path = ["threads", thread, "runs"].map(str::to_owned);
            (path.to_vec(), body)
        })
        .await
    }

    /// Makes a run with our assistant; with a new one where the one that is remembered is gone.
    async fn with_assistant(
        &self,
        order: &Order,
        offer: Option<&Offer>,
        request: impl Fn(Value) -> (Vec<String>, Value),
    ) -> Result<Response, Failure> {
        let mut retried = false;
        loop {
            let assistant = self.assistant(order, retried).await?;
            let (path, body) = request(order.body(&assistant, offer)?);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match self.post(order, &path, &body, 0).await {
                Err(failure)
                    if !retried && failure.status == Some(404) && failure.text.contains(&assistant) =>
                {
                    retried = true;
                    *self.assistant.lock().await = None;
                }
                outcome => return outcome,
            }
        }
    }

    /// Our assistant: remembered, or found by its mark, or created, for the second time where the first is gone.
    async fn assistant(&self, order: &Order, is_second: bool) -> Result<String, Failure> {
        let mut known = self.assistant.lock().await;
        if let Some(id) = &*known {
            return Ok(id.clone());
        }
        let list = self
            .get(&["assistants"], &[("limit", "100"), ("order", "desc")])
            .await?;
        let ours = list["data"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|assistant| assistant["metadata"]["made_by"] == MARK);
        let object = match ours {
            Some(assistant) => assistant.clone(),
            None => {
                let new = json!({"model": order.request.model, "name": MARK, "metadata": {"made_by": MARK}});
                self.posted(order, &["assistants"], &new, usize::from(is_second))
                    .await?
            }
        };
        let id = object["id"].as_str().filter(|id| !id.is_empty());
        let id = id
            .ok_or_else(|| Failure::broken("an assistant without an id"))?
            .to_owned();
        *known = Some(id.clone());
        Ok(id)
    }

    async fn posted(
        &self,
        order: &Order,
        path: &[&str],
        body: &Value,
        number: usize,
    ) -> Result<Value, Failure> {
        let response = self.post(order, path, body, number).await?;
        self.upstream.object(response).await
    }

    /// Sends what is a part of this order. Of those that are alike, each has its own number.
    async fn post(
        &self,
        order: &Order,
        path: &[&str],
        body: &Value,
        number: usize,
    ) -> Result<Response, Failure> {
        let body = Bytes::from(body.to_string());
        let aside = Aside {
            method: Method::POST,
            path,
            query: &[],
            idempotency_key: order.idempotency_key(path, &body, number),
            body: Some(body),
            beta: BETA,
        };
        self.upstream.aside(&aside).await
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let aside = Aside {
            method: Method::GET,
            path,
            query,
            body: None,
            idempotency_key: None,
            beta: BETA,
        };
        self.upstream.object(self.upstream.aside(&aside).await?).await
    }

    /// Tells the server to stop. Nobody waits for it.
    fn cancel(self: &Arc<Self>, place: Place) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let upstream = Arc::clone(&self.upstream);
        let mut cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        while cancels.try_join_next().is_some() {}
        cancels.spawn(async move {
            let aside = Aside {
                method: Method::POST,
                path: &["threads", &place.thread, "runs", &place.run, "cancel"],
                query: &[],
                body: None,
                // Cancelled twice is cancelled.
                idempotency_key: None,
                beta: BETA,
            };
            let cancelled = tokio::time::timeout(CANCEL_LIMIT, upstream.aside(&aside)).await;
            if !matches!(cancelled, Ok(Ok(_))) {
                tracing::debug!("the model's run could not be cancelled");
            }
        });
    }

    fn untouched(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.untouched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers where a thread was left. Forgetting costs one question each.
    fn leave(&self, place: &Place) {
        let mut untouched = self.untouched();
        if untouched.len() >= MOST_THREADS {
            untouched.clear();
        }
        untouched.insert(place.thread.clone(), place.run.clone());
    }
}

/// What is asked for, apart from the messages.
pub(super) struct Order {
    request: ModelRequest,
    instructions: String,
    digest: String,
    /// What the keys of its requests are made of, if the provider takes any.
    idempotency_key: Option<HeaderValue>,
    /// The thread that an attempt has begun to fill.
    posted: Mutex<Option<Posted>>,
}

/// A new thread, and how many of the messages it has.
#[derive(Debug)]
struct Posted {
    thread: String,
    messages: usize,
}

impl Order {
    /// What is asked for, under this key of its own.
    pub(super) fn new(
        request: ModelRequest,
        offer: Option<&Offer>,
        idempotency_key: Option<HeaderValue>,
    ) -> Self {
        let instructions = history::instructions(&request);
        Self {
            digest: history::orders(&request.model, &instructions, offer),
            instructions,
            request,
            idempotency_key,
            posted: Mutex::default(),
        }
    }

    /// What the provider knows one of the requests by: the same whenever an attempt sends the same. See
    /// [`Assistants::post`].
    fn idempotency_key(&self, path: &[&str], body: &[u8], number: usize) -> Option<HeaderValue> {
        let mut hasher = Sha256::new();
        hasher.update(self.idempotency_key.as_ref()?);
        hasher.update(format!(" {} {number} ", path.join("/")));
        hasher.update(body);
        HeaderValue::from_str(&hex(&hasher.finalize())).ok()
    }

    fn posted(&self) -> std::sync::MutexGuard<'_, Option<Posted>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it does no harm when the calls that were answered last are made again, by what their servers say.
    fn calls_do_no_harm(&self) -> bool {
        let is_harmless = |tool: &str| {
            let tools = self.request.tools.as_ref();
            tools
                .and_then(|tools| tools.get(tool))
                .is_some_and(|tool| tool.is_repeatable())
        };
        let mut newest = self.request.messages.iter().rev();
        let caller = newest.find(|message| message.tool_calls().next().is_some());
        caller.is_none_or(|message| message.tool_calls().all(|call| is_harmless(&call.tool)))
    }

    /// A run's own fields: they win over the assistant's.
    fn body(&self, assistant: &str, offer: Option<&Offer>) -> Result<Value, Failure> {
        let unwritable = |error| Failure::broken(format!("the request is not valid json: {error}"));
        // The options are written as in Chat Completions, as far as this API has them.
        let options = options::for_chat_completions(&self.request, offer.is_some());
        let mut body = serde_json::to_value(options).map_err(unwritable)?;
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|name, _| !NOT_HERE.contains(&name.as_str()));
        }
        body["assistant_id"] = json!(assistant);
        body["model"] = json!(self.request.model);
        body["instructions"] = json!(self.instructions);
        body["stream"] = json!(true);
        body["tools"] = match offer {
            Some(offer) => serde_json::from_str(offer.json.get()).map_err(unwritable)?,
            None => json!([]),
        };
        if let Some(limit) = self.request.max_output_tokens {
            body["max_completion_tokens"] = json!(limit.max(LEAST_TOKENS));
        }
        Ok(body)
    }

    /// Whether it says what only a run in a thread that is there can be told, and not one that comes with its thread.
    fn needs_a_thread(&self) -> bool {
        self.request.options.reasoning_effort.is_some()
    }
}
