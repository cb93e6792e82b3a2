//! The HTTP client of a transport, with the token of its server on every request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, ClientRequest, JsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use sse_stream::Sse;

use super::challenge::Challenge;
use super::token::Tokens;
use super::{Authorizer, Refusal};
use crate::mcp::events;
use crate::mcp::secret::Hidden;
use crate::mcp::tap::Changes;

type HttpError = StreamableHttpError<reqwest::Error>;

/// How often a request is repeated: after a 401 with another token, and after a 403 with more scopes.
const REPEATS: usize = 2;

/// The token of one call, instead of our own: it lies beside the parameters of the request, in its extensions, which
/// travel with it to this client and are not written.
#[derive(Clone, Debug)]
pub(in crate::mcp) struct Bearer(pub(in crate::mcp) Hidden);

impl Bearer {
    /// The one of this message, if it is a call that has one.
    fn of(message: &ClientJsonRpcMessage) -> Option<String> {
        let JsonRpcMessage::Request(request) = message else {
            return None;
        };
        let ClientRequest::CallToolRequest(call) = &request.request else {
            return None;
        };
        let Self(token) = call.extensions.get()?;
        Some(token.reveal().to_owned())
    }
}

/// The client; without an authorizer it is as reqwest's own.
#[derive(Clone, Debug)]
pub(in crate::mcp) struct Authorized {
    http: Client,
    authorizer: Option<Arc<Authorizer>>,
    changes: Changes,
    /// How many sessions have begun.
    sessions: Arc<AtomicUsize>,
}

impl Authorized {
    /// Around `http`, for one connection; `changes` hear when its session is begun anew.
    pub(in crate::mcp) fn new(http: Client, authorizer: Option<Arc<Authorizer>>, changes: Changes) -> Self {
        Self {
            http,
            authorizer,
            changes,
            sessions: Arc::default(),
        }
    }

    /// A session has begun. Where a server has forgotten it, rmcp begins another one and sends again what was refused; it
    /// tells nobody else.
    fn begun(&self) {
        if self.sessions.fetch_add(1, Ordering::Relaxed) > 0 {
            self.changes.begun_anew();
        }
    }

    /// Makes a request with a token, and again with another one if it was turned away. A request that was turned away
    /// so has not been executed (RFC 9110, section 15.5.2).
    async fn with_token<T, Sent>(
        &self,
        mut request: impl FnMut(Client, Option<String>) -> Sent,
    ) -> Result<T, HttpError>
    where
        Sent: Future<Output = Result<T, HttpError>>,
    {
        let Some(authorizer) = &self.authorizer else {
            let outcome = request(self.http.clone(), None).await;
            // What such a server wants is not for the reader of an error: nobody can give it.
            return outcome.map_err(|error| match error {
                HttpError::AuthRequired(_) => turned_away(String::new()),
                error => error,
            });
        };
        let mut tokens = authorizer.token().await;
        for _ in 0..=REPEATS {
            let outcome = request(self.http.clone(), tokens.as_deref().map(text)).await;
            let Some(refusal) = outcome.as_ref().err().and_then(refusal) else {
                authorizer.let_in();
                return outcome;
            };
            let other = authorizer.answer(refusal, tokens.as_ref()).await;
            tokens = Some(other.map_err(turned_away)?);
        }
        let want = "the server refuses every token";
        authorizer.set_want(Some(want.to_owned()));
        Err(turned_away(want.to_owned()))
    }

    /// Sends a message with a token: the one that it has itself, or ours.
    async fn post(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        mut custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        if let Some(token) = Bearer::of(&message) {
            custom_headers.remove(&AUTHORIZATION);
            let token = Some(token);
            let posted = self.http.post_message_with_response_limits(
                uri,
                message,
                session_id,
                token,
                custom_headers,
                limits,
            );
            return posted.await.map_err(callers_refusal);
        }
        // A request that nothing can mend is sent once, and need not be kept.
        let is_kept = self.authorizer.as_ref().is_some_and(|one| one.may_mend());
        let mut parts = Some((message, custom_headers));
        self.with_token(move |http, token| {
            let parts = if is_kept { parts.clone() } else { parts.take() };
            let (uri, session_id) = (uri.clone(), session_id.clone());
            async move {
                let again = || turned_away("somebody has just logged in: try again".to_owned());
                let (message, headers) = parts.ok_or_else(again)?;
                http.post_message_with_response_limits(uri, message, session_id, token, headers, limits)
                    .await
            }
        })
        .await
    }
}

/// What becomes of a request that is turned away for good, with what is to be done about it.
fn turned_away(want: String) -> HttpError {
    HttpError::AuthRequired(AuthRequiredError::new(want))
}

fn text(tokens: &Tokens) -> String {
    tokens.access.reveal().to_owned()
}

/// What becomes of a call that is turned away with a token that is not ours: nothing here can mend it, and it says nothing
/// of our own authorization.
fn callers_refusal(error: HttpError) -> HttpError {
    match refusal(&error) {
        Some(Refusal::Unauthorized(_)) => turned_away("the server refuses the caller's token".to_owned()),
        Some(Refusal::InsufficientScope(challenge)) => turned_away(format!(
            "the server asks for more rights than the caller's token has ({})",
            challenge.scopes.join(" ")
        )),
        None => error,
    }
}

/// Whether a session has begun when the server has taken this.
fn begins(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Notification(notification)
        if matches!(notification.notification, ClientNotification::InitializedNotification(_)))
}

/// How the server has turned a request away, if that is what it did.
fn refusal(error: &HttpError) -> Option<Refusal> {
    match error {
        HttpError::AuthRequired(error) => Some(Refusal::Unauthorized(Challenge::parse(
            &error.www_authenticate_header,
        ))),
        HttpError::InsufficientScope(error) => {
            let challenge = Challenge::parse(&error.www_authenticate_header);
            // Any other 403 is a no.
            (challenge.error.as_deref() == Some("insufficient_scope"))
                .then_some(Refusal::InsufficientScope(challenge))
        }
        HttpError::Client(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
            Some(Refusal::Unauthorized(Challenge::default()))
        }
        HttpError::UnexpectedServerResponse(text) if text.starts_with("HTTP 401") => {
            Some(Refusal::Unauthorized(Challenge::default()))
        }
        _ => None,
    }
}

impl StreamableHttpClient for Authorized {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits)
            .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let id = match &message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        let begins = begins(&message);
        let limit_bytes = limits.max_sse_event_size;
        let posted = self
            .post(uri, message, session_id, custom_headers, limits)
            .await?;
        if begins {
            self.begun();
        }
        Ok(match (posted, id) {
            (StreamableHttpPostResponse::Sse(stream, session_id), Some(id)) => {
                StreamableHttpPostResponse::Sse(events::answering(id, limit_bytes, stream), session_id)
            }
            (posted, _) => posted,
        })
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, HttpError> {
        let limit = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            limit,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, HttpError> {
        self.with_token(move |http, token| {
            let (uri, session_id, headers) = (uri.clone(), session_id.clone(), custom_headers.clone());
            let last_event_id = last_event_id.clone();
            async move {
                http.get_stream_with_max_sse_event_size(
                    uri,
                    session_id,
                    last_event_id,
                    token,
                    headers,
                    max_sse_event_size,
                )
                .await
            }
        })
        .await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), HttpError> {
        // Worth no other token: the session is given up anyway.
        let tokens = self.authorizer.as_ref().and_then(|one| one.tokens());
        let token = tokens.as_deref().map(text);
        self.http
            .delete_session(uri, session_id, token, custom_headers)
            .await
    }
}
