//! What servers ask while a call of theirs goes on, and who is asked.

// Roots and sampling are going out of the protocol, and the servers of today still ask for them.
#![expect(
    deprecated,
    reason = "the newest revision deprecates roots and sampling; servers of today use them"
)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction,
    InputRequest, ListRootsResult, Root, SamplingMessage,
};
use serde_json::Value;
use tokio::sync::Notify;

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
}

/// One open call, as far as its server may turn to who made it.
pub(super) struct Visit {
    caller: Arc<dyn Caller>,
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
        }
    }

    /// A call begins; it ends when what is given back is dropped.
    pub(super) fn enter(self: &Arc<Self>, caller: Arc<dyn Caller>) -> Open {
        let visit = Arc::new(Visit {
            caller,
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

    fn visits(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Visit>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call that a question which does not say so belongs to: the only one, or the newest where all are of one
    /// run. Otherwise nobody is asked: what one caller knows is not for another.
    fn only(&self) -> Option<Arc<Visit>> {
        let open = self.visits();
        let newest = open.last()?;
        let run = newest.caller.run();
        let is_clear =
            open.len() == 1 || (run.is_some() && open.iter().all(|visit| visit.caller.run() == run));
        is_clear.then(|| newest.clone())
    }

    /// Asks a person what the server wants to know; it does not say during which call.
    pub(super) async fn elicit(&self, params: ElicitRequestParams) -> ElicitResult {
        match self.only() {
            Some(visit) => visit.elicit(&self.server, params).await,
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

    /// Asks a model what the server wants to know; it does not say during which call.
    ///
    /// # Errors
    /// Why it is not told, in words for the server.
    pub(super) async fn sample(
        &self,
        params: CreateMessageRequestParams,
    ) -> Result<CreateMessageResult, String> {
        match self.only() {
            Some(visit) => visit.sample(&self.server, &self.sampling, params).await,
            None => Err("it is not clear for which call this is".to_owned()),
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
                let result = self.visit.elicit(&self.desk.server, request.params).await;
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
    }
}

impl Visit {
    /// Whether a person is being asked.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    async fn elicit(&self, server: &str, params: ElicitRequestParams) -> ElicitResult {
        let question = match question(server, params) {
            Ok(question) => question,
            Err(reason) => {
                tracing::warn!(server, reason, "a question of the server is declined");
                return ElicitResult::new(ElicitationAction::Decline);
            }
        };
        let is_form = question.requested_schema.is_some();
        let _asking = Asking::new(self);
        match self.caller.ask(question).await {
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
mod tests {
    use serde_json::json;

    use super::super::config::{CallerToken, Endpoint, OAuth, Remote};
    use super::*;
    use crate::run::event::Progress;
    use crate::run::id::{Mint, RunId};

    struct Asked(Option<RunId>);

    #[async_trait::async_trait]
    impl Caller for Asked {
        fn progress(&self, _: Progress) {}

        fn run(&self) -> Option<&RunId> {
            self.0.as_ref()
        }

        async fn ask(&self, question: Question) -> Reply {
            Reply::Accept(serde_json::Map::from_iter([(
                "asked".to_owned(),
                json!(question.message),
            )]))
        }
    }

    fn server() -> ServerConfig {
        let remote = Remote {
            url: "http://127.0.0.1:1/mcp".to_owned(),
            headers: Vec::new(),
            oauth: OAuth::default(),
            caller_token: CallerToken::Ignore,
        };
        ServerConfig::new("a", Endpoint::Http(remote))
    }

    fn form(message: &str) -> ElicitRequestParams {
        let schema = json!({"type": "object", "properties": {"asked": {"type": "string"}}});
        serde_json::from_value(json!({"mode": "form", "message": message, "requestedSchema": schema}))
            .unwrap()
    }

    #[tokio::test]
    async fn a_question_goes_to_the_only_caller_that_it_can_be_for() {
        let run = || Some(RunId::new(&mut Mint::System));
        let same = run();
        for (callers, expected) in [
            (vec![], ElicitationAction::Cancel),
            (vec![run()], ElicitationAction::Accept),
            (vec![None], ElicitationAction::Accept),
            (vec![same.clone(), same], ElicitationAction::Accept),
            (vec![run(), run()], ElicitationAction::Cancel),
            (vec![None, None], ElicitationAction::Cancel),
        ] {
            let desk = Arc::new(Desk::new(&server()));
            let open: Vec<_> = callers
                .into_iter()
                .map(|run| desk.enter(Arc::new(Asked(run))))
                .collect();
            assert_eq!(desk.elicit(form("who?")).await.action, expected);
            drop(open);
            assert!(desk.visits().is_empty());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_shown_is_declined() {
        let desk = Arc::new(Desk::new(&server()));
        let _open = desk.enter(Arc::new(Asked(None)));
        let url = |url: &str| {
            let params = json!({"mode": "url", "message": "go", "url": url, "elicitationId": "1"});
            serde_json::from_value::<ElicitRequestParams>(params).unwrap()
        };
        for (params, action, content) in [
            (
                form("who?"),
                ElicitationAction::Accept,
                Some(json!({"asked": "who?"})),
            ),
            (url("https://a.example/"), ElicitationAction::Accept, None),
            (url("javascript:alert(1)"), ElicitationAction::Decline, None),
        ] {
            let result = desk.elicit(params).await;
            assert_eq!((result.action, result.content), (action, content));
        }
    }
}
