//! What servers ask while a call of theirs goes on, and who is asked.

// Roots and sampling are going out of the protocol, and the servers of today still ask for them.
#![expect(
    deprecated,
    reason = "the newest revision deprecates roots and sampling; servers of today use them"
)]

mod addresses;

pub(super) use addresses::Visited;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{
    CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction,
    InputRequest, ListRootsResult, RequestId, Root, SamplingMessage,
};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use addresses::Addresses;

use super::config::{Consent, SamplingPolicy, ServerConfig};
use super::convert;
use crate::run::action::{Question, Reply};
use crate::run::ports::{Caller, Finish};

/// The most that is shown of a question, and the largest schema of an answer.
const MESSAGE_LIMIT_BYTES: usize = 4 * 1024;
const SCHEMA_LIMIT_BYTES: usize = 64 * 1024;
const URL_LIMIT_BYTES: usize = 8 * 1024;

/// The calls that are open on one connection, by who made them.
pub(super) struct Desk {
    server: String,
    roots: Vec<String>,
    sampling: SamplingPolicy,
    open: Mutex<Vec<Arc<Visit>>>,
    /// A call has come to its end.
    left: Notify,
    addresses: Addresses,
}

/// One open call, as far as its server may turn to who made it.
pub(super) struct Visit {
    caller: Arc<dyn Caller>,
    /// The requests that it was sent as.
    requests: Mutex<Vec<RequestId>>,
    /// Whether the last of them was answered.
    is_answered: AtomicBool,
    /// Questions that wait for a person, or a model.
    asking: AtomicUsize,
    /// How often it has asked a model.
    sampled: AtomicU64,
    /// A question began or ended.
    pub(super) moved: Notify,
}

impl Desk {
    /// For a server of this configuration.
    pub(super) fn new(server: &ServerConfig) -> Self {
        Self {
            server: server.name.clone(),
            roots: server.roots.clone(),
            sampling: server.sampling.clone(),
            open: Mutex::default(),
            left: Notify::new(),
            addresses: Addresses::default(),
        }
    }

    /// A call begins; it ends when what is given back is dropped.
    pub(super) fn enter(self: &Arc<Self>, caller: Arc<dyn Caller>) -> Open {
        let visit = Arc::new(Visit {
            caller,
            requests: Mutex::default(),
            is_answered: AtomicBool::new(false),
            asking: AtomicUsize::new(0),
            sampled: AtomicU64::new(0),
            moved: Notify::new(),
        });
        self.visits().push(visit.clone());
        Open {
            desk: self.clone(),
            visit,
        }
    }

    fn visits(&self) -> MutexGuard<'_, Vec<Arc<Visit>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call that a question belongs to: that of the request on whose answer it came, or of those that are open the
    /// only one, or the newest where all are of one run. Otherwise it is waited until enough of them have been answered
    /// that it is clear: a call that asks is not. None when it never becomes clear: nobody is asked then, since what one
    /// caller knows is not for another.
    async fn whose(&self, origin: Option<&RequestId>) -> Option<Arc<Visit>> {
        if let Some(request) = origin {
            let open = self.visits();
            return open.iter().find(|visit| visit.was_sent_as(request)).cloned();
        }
        // Whatever is called from now on has not asked this.
        let candidates = self.visits().clone();
        let mut is_told = false;
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let open: Vec<Arc<Visit>> = {
                let visits = self.visits();
                let is_open = |one: &&Arc<Visit>| visits.iter().any(|visit| Arc::ptr_eq(visit, one));
                candidates.iter().filter(is_open).cloned().collect()
            };
            // One that was given up may be the one that asked.
            let is_given_up = |one: &Arc<Visit>| {
                !one.is_answered.load(Ordering::Acquire) && !open.iter().any(|visit| Arc::ptr_eq(visit, one))
            };
            let newest = open.last()?;
            if candidates.iter().any(is_given_up) {
                return None;
            }
            let run = newest.caller.run();
            if open.len() == 1 || (run.is_some() && open.iter().all(|visit| visit.caller.run() == run)) {
                return Some(newest.clone());
            }
            if !std::mem::replace(&mut is_told, true) {
                let (server, calls) = (&self.server, open.len());
                tracing::info!(
                    server,
                    calls,
                    "a question of the server waits until it is clear whose it is"
                );
            }
            left.await;
        }
    }

    /// Asks a person what the server wants to know, during the call of this request, or it does not say which.
    pub(super) async fn elicit(
        &self,
        origin: Option<&RequestId>,
        params: ElicitRequestParams,
    ) -> ElicitResult {
        match self.whose(origin).await {
            Some(visit) => visit.elicit(self, params).await,
            None => {
                let server = &self.server;
                tracing::warn!(
                    server,
                    "a question of the server is put away: it is not clear who it is for"
                );
                ElicitResult::new(ElicitationAction::Cancel)
            }
        }
    }

    /// Asks a model what the server wants to know, during the call of this request, or it does not say which.
    ///
    /// # Errors
    /// Why it is not told, in words for the server.
    pub(super) async fn sample(
        &self,
        origin: Option<&RequestId>,
        params: CreateMessageRequestParams,
    ) -> Result<CreateMessageResult, String> {
        match self.whose(origin).await {
            Some(visit) => visit.sample(&self.server, &self.sampling, params).await,
            None => Err("it is not clear for which call this is".to_owned()),
        }
    }

    /// A person has done what they were sent to an address for.
    pub(super) fn completed(&self, elicitation: &str) {
        self.addresses.completed(elicitation);
    }

    /// Gives the server what it wants before it answers something that is no call: what nobody need be asked for.
    ///
    /// # Errors
    /// What it wants and cannot have, behind its name.
    pub(super) fn fulfil_alone(&self, request: InputRequest) -> Result<Value, &'static str> {
        match request {
            InputRequest::ListRoots(_) => {
                serde_json::to_value(self.roots()).map_err(|_| "wants to know its roots")
            }
            InputRequest::Elicitation(_) => {
                Err("wants to ask a person something first, which it can only during a call of a run")
            }
            InputRequest::CreateMessage(_) => {
                Err("wants to ask a model something first, which it can only during a call of a run")
            }
            _ => Err("wants something first that this service does not know"),
        }
    }

    /// The places that the server is to work in.
    pub(super) fn roots(&self) -> ListRootsResult {
        ListRootsResult::new(self.roots.iter().map(Root::new).collect())
    }
}

/// An open call, until it is dropped.
pub(super) struct Open {
    desk: Arc<Desk>,
    pub(super) visit: Arc<Visit>,
}

impl Open {
    /// Gives the server what it wants before it goes on with this call.
    ///
    /// # Errors
    /// What it wants and cannot have, in words for the model.
    pub(super) async fn fulfil(&self, request: InputRequest) -> Result<Value, String> {
        let given = match request {
            InputRequest::Elicitation(request) => {
                let result = self.visit.elicit(&self.desk, request.params).await;
                serde_json::to_value(result)
            }
            InputRequest::ListRoots(_) => serde_json::to_value(self.desk.roots()),
            InputRequest::CreateMessage(request) => {
                let desk = &self.desk;
                let sampled = self
                    .visit
                    .sample(&desk.server, &desk.sampling, request.params)
                    .await;
                let refused =
                    |reason| format!("the tool asks for a model's answer and is not given it: {reason}");
                serde_json::to_value(sampled.map_err(refused)?)
            }
            _ => return Err("the tool asks for something that this service does not know".to_owned()),
        };
        given.map_err(|error| error.to_string())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.desk
            .visits()
            .retain(|visit| !Arc::ptr_eq(visit, &self.visit));
        self.desk.left.notify_waiters();
    }
}

impl Visit {
    /// The call is sent as this request.
    pub(super) fn sent_as(&self, request: RequestId) {
        self.is_answered.store(false, Ordering::Release);
        self.requests().push(request);
    }

    /// The server has answered it.
    pub(super) fn answered(&self) {
        self.is_answered.store(true, Ordering::Release);
    }

    fn was_sent_as(&self, request: &RequestId) -> bool {
        self.requests().contains(request)
    }

    fn requests(&self) -> MutexGuard<'_, Vec<RequestId>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a person is being asked.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    async fn elicit(&self, desk: &Desk, params: ElicitRequestParams) -> ElicitResult {
        let server = &desk.server;
        let elicitation = addresses::id_of(&params);
        let question = match question(server, params) {
            Ok(question) => question,
            Err(reason) => {
                tracing::warn!(server, reason, "a question of the server is declined");
                return ElicitResult::new(ElicitationAction::Decline);
            }
        };
        let is_form = question.requested_schema.is_some();
        let _asking = Asking::new(self);
        let reply = tokio::select! {
            reply = self.caller.ask(question) => reply,
            // Whoever has been there need not say so.
            () = desk.addresses.visited(elicitation.as_deref()) => Reply::Accept(Map::new()),
        };
        match reply {
            Reply::Accept(content) if is_form => {
                ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(content))
            }
            Reply::Accept(_) => ElicitResult::new(ElicitationAction::Accept),
            Reply::Decline => ElicitResult::new(ElicitationAction::Decline),
            Reply::Cancel => ElicitResult::new(ElicitationAction::Cancel),
        }
    }
}

impl Visit {
    /// Asks a model, within what the operator allows.
    async fn sample(
        &self,
        server: &str,
        policy: &SamplingPolicy,
        params: CreateMessageRequestParams,
    ) -> Result<CreateMessageResult, String> {
        if policy.allow == Consent::Deny {
            return Err("this service does not ask models for tools".to_owned());
        }
        let sampling = convert::sampling(server, policy, params)?;
        if self.sampled.fetch_add(1, Ordering::Relaxed) >= policy.max_requests {
            return Err(format!(
                "more than {} answers during one call",
                policy.max_requests
            ));
        }
        let _asking = Asking::new(self);
        let sampled = self.caller.sample(sampling).await.map_err(|error| {
            tracing::info!(server, %error, "a model does not answer a server");
            error.message().to_owned()
        })?;
        let reason = match sampled.finish {
            Finish::Stop => CreateMessageResult::STOP_REASON_END_TURN,
            Finish::Length => CreateMessageResult::STOP_REASON_END_MAX_TOKEN,
            Finish::ContentFilter => "contentFilter",
        };
        let message = SamplingMessage::assistant_text(sampled.text);
        Ok(CreateMessageResult::new(message, sampled.model).with_stop_reason(reason))
    }
}

/// A question that waits for a person or a model.
struct Asking<'a>(&'a Visit);

impl<'a> Asking<'a> {
    fn new(visit: &'a Visit) -> Self {
        visit.asking.fetch_add(1, Ordering::Relaxed);
        visit.moved.notify_one();
        Self(visit)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
        self.0.moved.notify_one();
    }
}

/// What a person is shown.
fn question(server: &str, params: ElicitRequestParams) -> Result<Question, &'static str> {
    let (mut message, requested_schema, url) = match params {
        ElicitRequestParams::FormElicitationParams {
            message,
            requested_schema,
            ..
        } => {
            let schema = serde_json::to_value(requested_schema).map_err(|_| "its form cannot be read")?;
            if schema.to_string().len() > SCHEMA_LIMIT_BYTES {
                return Err("its form is too large");
            }
            (message, Some(Arc::new(schema)), String::new())
        }
        ElicitRequestParams::UrlElicitationParams { message, url, .. } => {
            let is_address = url.starts_with("https://") || url.starts_with("http://");
            if !is_address || url.len() > URL_LIMIT_BYTES {
                return Err("it sends people to something that is not an address");
            }
            (message, None, url)
        }
        _ => return Err("it is of an unknown kind"),
    };
    message.truncate(message.floor_char_boundary(MESSAGE_LIMIT_BYTES));
    Ok(Question {
        server: server.to_owned(),
        message,
        requested_schema,
        url,
    })
}

#[cfg(test)]
mod tests;
