//! Tokens for a server in exchange for those of callers (RFC 8693).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::Place;
use super::challenge::Challenge;
use super::client::Client;
use super::discovery::Discovered;
use super::error::AuthError;
use super::fetch::Form;
use super::token::{self, Tokens};
use crate::mcp::config::ServerConfig;
use crate::mcp::secret::Hidden;

/// The callers whose tokens are kept.
const CALLERS: usize = 1024;
/// How long a token is kept of which nobody says how long it is good for.
const LIFETIME_SECONDS: u64 = 60;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a token was given for: not that token itself.
type Key = [u8; 32];

/// What was given for one token; whoever gets it holds it, and the others take what it got.
type Slot = tokio::sync::Mutex<Option<Tokens>>;

/// Gets tokens for one server in exchange for those of callers, and keeps them in memory until shortly before their end.
#[derive(Debug)]
pub(in crate::mcp) struct Exchange {
    place: Place,
    discovered: tokio::sync::Mutex<Option<Arc<Discovered>>>,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

impl Exchange {
    /// For a server at an address, unless its headers authorize us.
    pub(in crate::mcp) fn new(config: &ServerConfig) -> Option<Self> {
        Some(Self {
            place: Place::of(config)?,
            discovered: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
        })
    }

    /// The token to call the server with for a caller who has come with this one.
    ///
    /// # Errors
    /// Why none is given.
    pub(in crate::mcp) async fn token(&self, subject: &str) -> Result<Hidden, AuthError> {
        let slot = self.slot(key(subject));
        let mut kept = slot.lock().await;
        if let Some(tokens) = kept.as_ref().filter(|tokens| can_be_sent(tokens)) {
            return Ok(tokens.access.clone());
        }
        *kept = None;
        let tokens = self.exchanged(subject).await?;
        let access = tokens.access.clone();
        *kept = Some(tokens);
        Ok(access)
    }

    /// What was given for this token is good for nothing.
    pub(in crate::mcp) fn forget(&self, subject: &str) {
        self.slots().remove(&key(subject));
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the token is kept that is given for this one. A new place takes that of one at its end, or of any other.
    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(&key) {
            return slot.clone();
        }
        slots.retain(|_, slot| {
            let is_worth_it = |kept: &Option<Tokens>| kept.as_ref().is_some_and(can_be_sent);
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|kept| is_worth_it(&kept))
        });
        if slots.len() >= CALLERS
            && let Some(any) = slots.keys().next().copied()
        {
            slots.remove(&any);
        }
        slots.entry(key).or_default().clone()
    }

    async fn exchanged(&self, subject: &str) -> Result<Tokens, AuthError> {
        let found = self.discovered().await?;
        let asked = self.asked(&found, subject).await;
        if asked.is_err() {
            // The server may take the tokens of another authorization server by now.
            *self.discovered.lock().await = None;
        }
        asked
    }

    async fn asked(&self, found: &Discovered, subject: &str) -> Result<Tokens, AuthError> {
        let oauth = &self.place.oauth;
        let client = Client::configured(oauth, &found.server)?;
        let client =
            client.ok_or_else(|| AuthError::Configuration("`oauth.client_id` is missing".to_owned()))?;
        let mut form: Form = vec![
            ("grant_type", GRANT.to_owned()),
            ("subject_token", subject.to_owned()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
            ("requested_token_type", ACCESS_TOKEN.to_owned()),
        ];
        if let Some(audience) = &oauth.audience {
            form.push(("audience", audience.clone()));
        }
        // Otherwise the authorization server says what a caller may do there.
        if !oauth.scopes.is_empty() {
            form.push(("scope", oauth.scopes.join(" ")));
        }
        let (fetch, scopes) = (&self.place.fetch, oauth.scopes.clone());
        let mut tokens = token::request(fetch, &found.server, &client, &found.resource, form, scopes).await?;
        // The caller's next token brings the next one.
        tokens.refresh = None;
        Ok(tokens)
    }

    async fn discovered(&self) -> Result<Arc<Discovered>, AuthError> {
        let mut discovered = self.discovered.lock().await;
        if let Some(found) = &*discovered {
            return Ok(found.clone());
        }
        let found = Arc::new(self.place.discover(&Challenge::default()).await?);
        *discovered = Some(found.clone());
        Ok(found)
    }
}

fn key(subject: &str) -> Key {
    Sha256::digest(subject.as_bytes()).into()
}

fn can_be_sent(tokens: &Tokens) -> bool {
    !tokens.is_due() && (tokens.says_its_end() || tokens.is_fresh(LIFETIME_SECONDS))
}
