//! Authorization at MCP servers over HTTP (MCP 2025-11-25 and 2026-07-28, Authorization).
//!
//! A server that wants a token answers 401, or 403 when the token is good for less than what was asked. Its
//! [`Authorizer`] then finds out whose tokens it takes ([`discovery`]), and gets one: by itself for the service, or
//! from the [`Vault`], where a person's [`Login`] has put it. The [`transport`] adds it to every request, and repeats
//! the one that was turned away, which was not executed. Nothing is sent to a host that the configuration does not
//! name ([`hosts`]).

mod assertion;
mod challenge;
mod client;
mod clock;
mod discovery;
mod error;
mod exchange;
mod fetch;
mod hosts;
mod login;
mod metadata;
mod redirect;
mod token;
mod transport;
mod vault;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

pub use error::AuthError;
pub(super) use exchange::Exchange;
pub use login::{Login, logout};
pub use redirect::Redirect;
pub(super) use transport::{Authorized, Bearer};
pub use vault::{KeySource, Vault, VaultError};

use challenge::Challenge;
use client::Client;
use discovery::{Discovered, discover};
use fetch::{Fetch, Form};
use hosts::Hosts;
use token::{Tokens, union};
use vault::Entry;

use super::config::{Endpoint, Grant, OAuth, ServerConfig};

/// How often it is looked whether somebody has logged in, while a server waits for that.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long an authorization server that has refused, or does not answer, is left in peace.
const REST: Duration = Duration::from_secs(5);
/// A token that is refused within so many seconds of its making is refused for good: another would be too.
const FRESH_SECONDS: u64 = 5;

/// Gets the tokens for one server.
#[derive(Debug)]
pub(super) struct Authorizer {
    place: Place,
    vault: Arc<Vault>,
    state: RwLock<State>,
    /// Whoever gets a token holds it; the others then take the one that was got.
    turn: Mutex<Turn>,
}

/// A server, and how we are authorized there.
#[derive(Debug)]
struct Place {
    /// Its name in the configuration.
    name: String,
    url: Url,
    oauth: OAuth,
    fetch: Fetch,
}

#[derive(Debug, Default)]
struct State {
    tokens: Option<Arc<Tokens>>,
    /// Those of a login that is over.
    over: Option<Arc<Tokens>>,
    /// Why the server cannot be used without more authorization.
    want: Option<String>,
}

#[derive(Debug, Default)]
struct Turn {
    discovered: Option<Arc<Discovered>>,
    /// What went wrong last, and when.
    failed: Option<(Instant, AuthError)>,
}

/// How a server turns a request away.
#[derive(Debug)]
enum Refusal {
    /// 401: without a token, or with one that is not good any more.
    Unauthorized(Challenge),
    /// 403: the token is good for less.
    InsufficientScope(Challenge),
}

impl Turn {
    /// Whether the authorization server may be asked again.
    ///
    /// # Errors
    /// What went wrong, a moment ago.
    fn rested(&self) -> Result<(), AuthError> {
        match &self.failed {
            Some((at, error)) if at.elapsed() < REST => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn note(&mut self, failed: Option<&AuthError>) {
        self.failed = failed.map(|error| (Instant::now(), error.clone()));
    }
}

impl Place {
    /// Of a server at an address; none for another, and for one whose headers authorize us.
    fn of(config: &ServerConfig) -> Option<Self> {
        let Endpoint::Http(remote) = &config.endpoint else {
            return None;
        };
        let is_authorized = remote
            .headers
            .iter()
            .any(|(name, _)| *name == http::header::AUTHORIZATION);
        let url = Url::parse(&remote.url).ok().filter(|_| !is_authorized)?;
        let oauth = remote.oauth.clone();
        let origins = std::iter::once(url.clone()).chain(oauth.authorization_servers.iter().cloned());
        let hosts = Hosts::new(origins.collect(), oauth.allowed_hosts.clone());
        Some(Self {
            name: config.name.clone(),
            url,
            oauth,
            fetch: Fetch::new(hosts),
        })
    }

    /// The scopes to ask for: those of before, what the configuration and the challenge say, and if neither does,
    /// what the server's metadata says (MCP 2026-07-28, Authorization, Scope Selection Strategy). One that brings a
    /// refresh token, too, where the authorization server has it.
    fn scopes(&self, before: &[String], challenge: &Challenge, found: &Discovered) -> Vec<String> {
        const OFFLINE: &str = "offline_access";
        let said = union(&self.oauth.scopes, &challenge.scopes);
        let mut scopes = match said.is_empty() {
            true => union(before, &found.scopes),
            false => union(before, &said),
        };
        let has_offline = found.server.scopes_supported.iter().any(|scope| scope == OFFLINE);
        if self.oauth.grant == Grant::AuthorizationCode && has_offline {
            scopes = union(&scopes, &[OFFLINE.to_owned()]);
        }
        scopes
    }

    async fn discover(&self, challenge: &Challenge) -> Result<Discovered, AuthError> {
        discover(&self.fetch, &self.url, &self.oauth, challenge).await
    }
}

impl Authorizer {
    /// For a server at an address, unless its headers authorize us already.
    pub(super) fn new(config: &ServerConfig, vault: Arc<Vault>) -> Option<Arc<Self>> {
        let place = Place::of(config)?;
        Some(Arc::new(Self {
            place,
            vault,
            state: RwLock::default(),
            turn: Mutex::default(),
        }))
    }

    /// Why the server cannot be used without more authorization, if so.
    pub(super) fn want(&self) -> Option<String> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .want
            .clone()
    }

    fn set_want(&self, want: Option<String>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).want = want;
    }

    fn tokens(&self) -> Option<Arc<Tokens>> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .tokens
            .clone()
    }

    fn set_tokens(&self, tokens: Option<Tokens>) -> Option<Arc<Tokens>> {
        let tokens = tokens.map(Arc::new);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.tokens.clone_from(&tokens);
        tokens
    }

    /// The login is over: its tokens are good for nothing.
    fn end_login(&self, tokens: Option<Tokens>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.tokens = None;
        state.over = tokens.map(Arc::new);
    }

    /// Whether these tokens are of a login that is over.
    fn is_over(&self, tokens: &Tokens) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.over.as_deref() == Some(tokens)
    }

    /// A request was not turned away.
    fn let_in(&self) {
        if self.want().is_some() {
            self.set_want(None);
        }
    }

    /// Whether requests can be turned away in a way that this mends, so that they have to be kept.
    fn may_mend(&self) -> bool {
        self.place.oauth.grant != Grant::AuthorizationCode || self.tokens().is_some()
    }

    /// The token for the next request, if there is one: from memory, except at its end.
    async fn token(&self) -> Option<Arc<Tokens>> {
        let tokens = self.tokens()?;
        if !tokens.is_due() {
            return Some(tokens);
        }
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            // Somebody is at it.
            Err(_) if !tokens.is_over() => return Some(tokens),
            Err(_) => self.turn.lock().await,
        };
        let renewed = self.renew(turn, &tokens, &Challenge::default()).await;
        match renewed {
            Ok(renewed) => Some(renewed),
            Err(error) => {
                tracing::warn!(server = self.place.name, %error, "the token cannot be renewed");
                Some(tokens)
            }
        }
    }

    /// What to send a request with that was turned away with this token, or without one.
    ///
    /// # Errors
    /// There is nothing for it: this is what is to be done.
    async fn answer(&self, refusal: Refusal, sent: Option<&Arc<Tokens>>) -> Result<Arc<Tokens>, String> {
        self.mended(&refusal, sent).await.map_err(|error| {
            tracing::debug!(server = self.place.name, %error, "not authorized");
            let want = self.explained(&error, &refusal);
            self.set_want(Some(want.clone()));
            want
        })
    }

    fn explained(&self, error: &AuthError, refusal: &Refusal) -> String {
        let login = format!("run `assistd mcp login {}`", self.place.name);
        match (error, refusal) {
            (AuthError::LoginNeeded, Refusal::InsufficientScope(challenge)) => {
                let scopes = challenge.scopes.join(" ");
                format!("the server asks for more rights ({scopes}): {login}")
            }
            (AuthError::LoginNeeded, _) => format!("the server asks for authorization: {login}"),
            (error, _) => format!("not authorized: {error}"),
        }
    }

    async fn mended(&self, refusal: &Refusal, sent: Option<&Arc<Tokens>>) -> Result<Arc<Tokens>, AuthError> {
        let mut turn = self.turn.lock().await;
        let is_news = |tokens: &Arc<Tokens>| sent.is_none_or(|sent| sent.access != tokens.access);
        if let Some(tokens) = self.tokens().filter(is_news) {
            return Ok(tokens);
        }
        match refusal {
            Refusal::Unauthorized(challenge) => {
                if sent.is_some_and(|sent| sent.is_fresh(FRESH_SECONDS)) && self.is_own() {
                    return Err(AuthError::Response(
                        "the server refuses the token that its authorization server has just given"
                            .to_owned(),
                    ));
                }
                // It may take the tokens of another one by now.
                turn.discovered = None;
                match sent {
                    Some(sent) => self.renew(turn, sent, challenge).await,
                    None => self.first(turn, challenge).await,
                }
            }
            Refusal::InsufficientScope(challenge) => {
                let asked = sent.map(|sent| sent.asked.as_slice()).unwrap_or_default();
                if let Some(tokens) = self.kept().await?.map(Arc::new).filter(is_news) {
                    self.set_tokens(Some(Tokens::clone(&tokens)));
                    return Ok(tokens);
                }
                if challenge.scopes.iter().all(|scope| asked.contains(scope)) {
                    return Err(AuthError::Response(
                        "the server denies access, also with all the scopes that it asks for".to_owned(),
                    ));
                }
                match self.is_own() {
                    true => self.own(&mut turn, asked, challenge).await,
                    false => self.wanting(challenge).await,
                }
            }
        }
    }

    /// Whether the service gets its tokens by itself.
    fn is_own(&self) -> bool {
        self.place.oauth.grant != Grant::AuthorizationCode
    }

    /// The first token since the start.
    async fn first(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        challenge: &Challenge,
    ) -> Result<Arc<Tokens>, AuthError> {
        if self.is_own() {
            return self.own(&mut turn, &[], challenge).await;
        }
        match self.kept().await? {
            Some(tokens) => self.installed(tokens),
            None => self.wanting(challenge).await,
        }
    }

    /// Another token in place of one that is at its end or refused.
    async fn renew(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        sent: &Arc<Tokens>,
        challenge: &Challenge,
    ) -> Result<Arc<Tokens>, AuthError> {
        if let Some(tokens) = self.tokens().filter(|tokens| tokens.access != sent.access) {
            return Ok(tokens);
        }
        if self.is_own() {
            return self.own(&mut turn, &sent.asked, challenge).await;
        }
        // Somebody may have logged in again, or another process has renewed it.
        let Some(kept) = self.kept().await? else {
            self.end_login(None);
            return self.wanting(challenge).await;
        };
        if kept.access != sent.access && !kept.is_over() {
            return self.installed(kept);
        }
        turn.rested()?;
        let refreshed = self.refreshed(&mut turn, challenge).await;
        turn.note(refreshed.as_ref().err());
        match refreshed {
            Ok(tokens) => self.installed(tokens),
            Err(error @ (AuthError::Unreachable { .. } | AuthError::Vault(_))) => Err(error),
            Err(error) => {
                tracing::info!(server = self.place.name, %error, "the login is over");
                self.end_login(Some(kept));
                self.wanting(challenge).await
            }
        }
    }

    fn installed(&self, tokens: Tokens) -> Result<Arc<Tokens>, AuthError> {
        self.set_tokens(Some(tokens)).ok_or(AuthError::LoginNeeded)
    }

    /// Gets a token for the service itself.
    async fn own(
        &self,
        turn: &mut Turn,
        before: &[String],
        challenge: &Challenge,
    ) -> Result<Arc<Tokens>, AuthError> {
        turn.rested()?;
        let got = self.requested(turn, before, challenge).await;
        turn.note(got.as_ref().err());
        self.installed(got?)
    }

    async fn requested(
        &self,
        turn: &mut Turn,
        before: &[String],
        challenge: &Challenge,
    ) -> Result<Tokens, AuthError> {
        let oauth = &self.place.oauth;
        let found = self.discovered(turn, challenge).await?;
        let client = Client::configured(oauth, &found.server)?;
        let client =
            client.ok_or_else(|| AuthError::Configuration("`oauth.client_id` is missing".to_owned()))?;
        let mut form = Form::new();
        match &oauth.assertion_file {
            Some(path) if oauth.grant == Grant::JwtBearer => {
                form.push((
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned(),
                ));
                form.push(("assertion", client::read(path)?.reveal().to_owned()));
            }
            _ => form.push(("grant_type", "client_credentials".to_owned())),
        }
        let scopes = self.place.scopes(before, challenge, &found);
        if !scopes.is_empty() {
            form.push(("scope", scopes.join(" ")));
        }
        let fetch = &self.place.fetch;
        token::request(fetch, &found.server, &client, &found.resource, form, scopes).await
    }

    /// Exchanges the refresh token of a login. A server that rotates them takes each only once, so that the next one
    /// is written before it is used.
    async fn refreshed(&self, turn: &mut Turn, challenge: &Challenge) -> Result<Tokens, AuthError> {
        let entry = self.entry().await?.unwrap_or_default();
        let login = entry.login.ok_or(AuthError::LoginNeeded)?;
        let refresh = login.tokens.refresh.clone().ok_or(AuthError::LoginNeeded)?;
        let challenge = match entry.challenge {
            Some(before) if *challenge == Challenge::default() => before,
            _ => challenge.clone(),
        };
        let found = self.discovered(turn, &challenge).await?;
        if found.server.issuer != login.issuer {
            // What one issuer has given must not be shown to another (MCP 2026-07-28, Client Registration,
            // Authorization Server Binding).
            return Err(AuthError::LoginNeeded);
        }
        let form = vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", refresh.reveal().to_owned()),
        ];
        let asked = login.tokens.asked.clone();
        let fetch = &self.place.fetch;
        let mut tokens =
            token::request(fetch, &found.server, &login.client, &found.resource, form, asked).await?;
        tokens.refresh = tokens.refresh.or(Some(refresh));
        let kept = tokens.clone();
        self.change(move |entry| {
            if let Some(login) = &mut entry.login {
                login.tokens = kept;
            }
        })
        .await?;
        Ok(tokens)
    }

    async fn discovered(&self, turn: &mut Turn, challenge: &Challenge) -> Result<Arc<Discovered>, AuthError> {
        if let Some(found) = &turn.discovered {
            return Ok(found.clone());
        }
        let found = Arc::new(self.place.discover(challenge).await?);
        turn.discovered = Some(found.clone());
        Ok(found)
    }

    /// A person has to log in; what the server has said is kept for that, if it has said something.
    async fn wanting<T>(&self, challenge: &Challenge) -> Result<T, AuthError> {
        let before = self.entry().await?.unwrap_or_default().challenge;
        let says_more = *challenge != Challenge::default() && before.as_ref() != Some(challenge);
        if says_more {
            let challenge = challenge.clone();
            self.change(move |entry| entry.challenge = Some(challenge))
                .await?;
        }
        Err(AuthError::LoginNeeded)
    }

    /// The tokens of the login, if somebody has logged in.
    async fn kept(&self) -> Result<Option<Tokens>, AuthError> {
        let entry = self.entry().await?;
        Ok(entry.and_then(|entry| entry.login).map(|login| login.tokens))
    }

    async fn entry(&self) -> Result<Option<Entry>, AuthError> {
        entry_of(&self.vault, &self.place).await
    }

    async fn change(&self, change: impl FnOnce(&mut Entry) + Send + 'static) -> Result<(), AuthError> {
        change_of(&self.vault, &self.place, change).await
    }

    /// Takes notice of a login or a logout since. What cannot be read is as if nothing had changed: the next request
    /// that needs it says so.
    pub(super) async fn look(&self) {
        if self.is_own() {
            return;
        }
        let _turn = self.turn.lock().await;
        let Ok(kept) = self.kept().await else {
            return;
        };
        let is_news = kept.as_ref() != self.tokens().as_deref();
        if is_news && !kept.as_ref().is_some_and(|kept| self.is_over(kept)) {
            self.set_tokens(kept);
        }
    }

    /// Waits until somebody has logged in, if that is what the server needs.
    pub(super) async fn changed(&self) {
        if self.is_own() || self.want().is_none() {
            return std::future::pending().await;
        }
        loop {
            if let Ok(Some(kept)) = self.kept().await
                && self.tokens().as_deref() != Some(&kept)
                && !self.is_over(&kept)
            {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// What is kept of a server; read beside the tasks, since it may be in a file.
async fn entry_of(vault: &Arc<Vault>, place: &Place) -> Result<Option<Entry>, AuthError> {
    let (vault, name, url) = (vault.clone(), place.name.clone(), place.url.to_string());
    let read = tokio::task::spawn_blocking(move || vault.entry(&name, &url)).await;
    Ok(read.map_err(|_| AuthError::Response("the store of tokens broke".to_owned()))??)
}

/// Changes what is kept of a server.
async fn change_of(
    vault: &Arc<Vault>,
    place: &Place,
    change: impl FnOnce(&mut Entry) + Send + 'static,
) -> Result<(), AuthError> {
    let (vault, name, url) = (vault.clone(), place.name.clone(), place.url.to_string());
    let written = tokio::task::spawn_blocking(move || vault.change(&name, &url, change)).await;
    Ok(written.map_err(|_| AuthError::Response("the store of tokens broke".to_owned()))??)
}
