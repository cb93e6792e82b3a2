//! What is known of one server.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::auth::{Authorizer, Vault};
use super::caller_tokens::CallerTokens;
use super::config::ServerConfig;
use super::gate::Gate;
use super::library::Shelf;
use super::session::{Session, unauthorized, unavailable};
use crate::run::catalogue::Tool;
use crate::run::error::Error;
use crate::run::library::Prompt;
use crate::run::pin::Quarantine;
use crate::run::places::Place;
use crate::run::ports::{Connection, ServerStatus};

/// One server and how it is now.
pub(super) struct Link {
    pub(super) config: ServerConfig,
    /// Gets its tokens, if it may need some.
    pub(super) authorizer: Option<Arc<Authorizer>>,
    /// What becomes of the tokens of callers.
    pub(super) caller_tokens: CallerTokens,
    pub(super) phase: RwLock<Phase>,
    /// What it has besides tools, once that was listed on the open connection.
    shelf: RwLock<Option<Shelf>>,
    pub(super) last_error_time: RwLock<Option<SystemTime>>,
    /// What does not work although it is connected.
    troubles: Mutex<BTreeMap<Trouble, String>>,
    /// How many of its tools are in the catalogue and can be called.
    pub(super) offered: AtomicUsize,
    /// The way to it, for calls and readings.
    pub(super) gate: Gate,
    /// Its supervisor ends.
    pub(super) stop: CancellationToken,
    /// It is configured no more, or differently.
    is_retired: AtomicBool,
    /// It is to be connected now, if it is not.
    hurry: Notify,
    /// The names that its tools had when they were last listed, with their names there; and those of its prompts.
    names: Mutex<Names>,
}

/// Names that are one server's, also while it is away: nobody else's tool or prompt is to be taken for its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) tools: HashMap<String, String>,
    pub(super) prompts: HashMap<String, String>,
}

/// What may not work of a server that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Fewer sessions are open than there are to be.
    Sessions,
    /// Calls break off, or are not answered in time.
    Calls,
    /// It gives no signs of life while calls go on.
    Pings,
    /// Its tools cannot be listed.
    Tools,
    /// It has more tools than are taken.
    ToolsCut,
    /// Some of its tools are left out.
    LeftOut,
    /// Some of its tools have schemas that check nothing.
    NotChecked,
    /// Some of its tools have names that others have.
    Names,
    /// The same of its prompts.
    PromptNames,
    /// Its resources, their templates or its prompts cannot be listed.
    Resources,
    /// See there.
    Templates,
    /// See there.
    Prompts,
    /// It has more of these than are taken.
    ResourcesCut,
    /// See there.
    TemplatesCut,
    /// See there.
    PromptsCut,
}

/// How a server is.
pub(super) enum Phase {
    Disabled,
    Connecting,
    Ready {
        /// Those that are open: at least one.
        sessions: Vec<Arc<Session>>,
        tools: Vec<Arc<Tool>>,
        /// Those of them that are held back.
        held: Held,
    },
    /// It does not let us in; the reason says what is to be done.
    Unauthorized(String),
    Down(String),
}

/// Tools of one server that are held back, by their names on the server.
pub(super) type Held = HashMap<String, Quarantine>;

impl Link {
    /// A server that is not connected yet; `stop` ends what is done for it, and logins are in the vault.
    pub(super) fn new(config: ServerConfig, vault: &Arc<Vault>, stop: CancellationToken) -> Arc<Self> {
        let phase = match (config.disabled, config.unsupported) {
            (true, _) => Phase::Disabled,
            (false, Some(reason)) => Phase::Down(reason.to_owned()),
            (false, None) => Phase::Connecting,
        };
        let last_error_time = matches!(phase, Phase::Down(_)).then(SystemTime::now);
        Arc::new(Self {
            offered: AtomicUsize::new(0),
            gate: Gate::new(config.max_concurrency),
            authorizer: Authorizer::new(&config, vault.clone()),
            caller_tokens: CallerTokens::of(&config),
            config,
            phase: RwLock::new(phase),
            shelf: RwLock::new(None),
            last_error_time: RwLock::new(last_error_time),
            troubles: Mutex::default(),
            stop,
            is_retired: AtomicBool::new(false),
            hurry: Notify::new(),
            names: Mutex::default(),
        })
    }

    /// This is the same server as another one, configured anew: the names that were its own are so still.
    pub(super) fn take_over(&self, before: &Self) {
        if self.config.prefix == before.config.prefix && !self.config.disabled {
            *self.names() = before.names().clone();
        }
    }

    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is configured no more, or differently: what goes on goes on, and nothing more begins.
    pub(super) fn set_retired(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// Whether that was said.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    /// A place for a call or a reading of this caller, which is given back when it is dropped. As long as there is one, the
    /// server stays connected, even if it is configured no more.
    ///
    /// # Errors
    /// `OVERLOADED` when too many wait already; `MCP_UNAVAILABLE` when it is not configured any more.
    pub(super) async fn enter(&self, caller: &str) -> Result<Place, Error> {
        let place = self.gate.pass(&self.config.name, caller).await?;
        // It may have waited for long.
        match self.is_retired() {
            false => Ok(place),
            true => Err(gone(&self.config.name)),
        }
    }

    /// Whoever waits to connect it again is to wait no longer.
    pub(super) fn hurry(&self) {
        self.hurry.notify_waiters();
    }

    /// Waits until that is said.
    pub(super) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    pub(super) fn troubles(&self) -> MutexGuard<'_, BTreeMap<Trouble, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is known already that something does not work, for this reason.
    pub(super) fn has_noted(&self, trouble: Trouble, reason: &str) -> bool {
        self.troubles().get(&trouble).is_some_and(|known| known == reason)
    }

    /// Something does not work, for this reason; none when it works.
    pub(super) fn note(&self, trouble: Trouble, reason: Option<String>) {
        match reason {
            Some(reason) => drop(self.troubles().insert(trouble, reason)),
            None => drop(self.troubles().remove(&trouble)),
        }
    }

    /// The same, of a connection that may be over meanwhile: then it says nothing of the server as it is now.
    pub(super) fn note_of(&self, session: &Arc<Session>, trouble: Trouble, reason: Option<String>) {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*phase, Phase::Ready { sessions, .. } if has(sessions, session)) {
            self.note(trouble, reason);
        }
    }

    /// The open session with the fewest calls.
    ///
    /// # Errors
    /// `MCP_AUTHORIZATION_REQUIRED` or `MCP_UNAVAILABLE`, and why there is none.
    pub(super) fn session(&self) -> Result<Arc<Session>, Error> {
        let name = &self.config.name;
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        let reason = match &*phase {
            Phase::Ready { sessions, .. } => {
                match sessions.iter().min_by_key(|session| session.open_calls()) {
                    Some(least_busy) => return Ok(Arc::clone(least_busy)),
                    None => "not connected",
                }
            }
            Phase::Unauthorized(want) => return Err(unauthorized(name, want)),
            Phase::Connecting => "not connected yet",
            Phase::Disabled => "switched off",
            Phase::Down(reason) => reason,
        };
        Err(unavailable(name, format!("MCP server '{name}': {reason}")))
    }

    /// What Health says of it.
    pub(super) fn status(&self) -> ServerStatus {
        let (connection, tool_count) = match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Disabled => (Connection::Disabled, 0),
            Phase::Connecting => (Connection::Connecting, 0),
            Phase::Ready { tools, held, .. } => {
                let troubles: Vec<String> = held_back(tools, held)
                    .into_iter()
                    .chain(self.troubles().values().cloned())
                    .collect();
                let connection = match (held.is_empty(), troubles.is_empty()) {
                    (_, true) => Connection::Ready,
                    (true, false) => Connection::Degraded(troubles.join("; ")),
                    (false, false) => Connection::Quarantined(troubles.join("; ")),
                };
                (connection, self.offered.load(Ordering::Relaxed))
            }
            Phase::Unauthorized(want) => (Connection::Unauthorized(want.clone()), 0),
            Phase::Down(reason) => (Connection::Down(reason.clone()), 0),
        };
        ServerStatus {
            name: self.config.name.clone(),
            transport: self.config.endpoint.transport(),
            connection,
            tool_count,
            waiting_calls: self.gate.waiting(),
            last_error_time: *self
                .last_error_time
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Whether it can be used.
    pub(super) fn is_ready(&self) -> bool {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*phase, Phase::Ready { .. })
    }

    /// One more session is open with a server that can be used; says whether it can.
    pub(super) fn join(&self, session: &Arc<Session>) -> bool {
        let mut phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        let Phase::Ready { sessions, .. } = &mut *phase else {
            return false;
        };
        sessions.push(session.clone());
        if sessions.len() >= self.config.connections {
            self.note(Trouble::Sessions, None);
        }
        true
    }

    /// A session is over, or could not be had, for this reason; says whether the server can be used without it.
    pub(super) fn leave(&self, session: Option<&Arc<Session>>, reason: &str) -> bool {
        let mut phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *phase {
            Phase::Ready { sessions, .. } => {
                sessions.retain(|open| !session.is_some_and(|session| Arc::ptr_eq(open, session)));
                sessions.len()
            }
            _ => 0,
        };
        if open == 0 {
            let want = self.authorizer.as_ref().and_then(|authorizer| authorizer.want());
            *phase = match want {
                Some(want) => Phase::Unauthorized(want),
                None => Phase::Down(reason.to_owned()),
            };
            return false;
        }
        let all = self.config.connections;
        self.note(
            Trouble::Sessions,
            Some(format!("{open} of {all} sessions are open: {reason}")),
        );
        true
    }

    /// Whether the first attempt to connect is over, with everything listed if it succeeded.
    pub(super) fn is_settled(&self) -> bool {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Connecting => false,
            Phase::Ready { .. } => self.shelf().is_some(),
            Phase::Unauthorized(_) | Phase::Down(_) | Phase::Disabled => true,
        }
    }

    /// What it has besides tools, as far as that is known.
    pub(super) fn shelf(&self) -> Option<Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_shelf(&self, shelf: Option<Shelf>) {
        if let Some(shelf) = &shelf {
            let names = |prompt: &Arc<Prompt>| (prompt.name.clone(), prompt.about.name.clone());
            self.names().prompts = shelf.prompts.iter().map(names).collect();
        }
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = shelf;
    }

    /// Its tools, each with what it is held back for.
    pub(super) fn tools(&self) -> Vec<(Arc<Tool>, Option<Quarantine>)> {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Ready { tools, held, .. } => {
                let held = |tool: &Tool| held.get(&tool.description().remote_name).cloned();
                tools.iter().map(|tool| (tool.clone(), held(tool))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether any of its tools are held back.
    pub(super) fn is_holding(&self) -> bool {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*phase, Phase::Ready { held, .. } if !held.is_empty())
    }
}

/// `MCP_UNAVAILABLE` of a server that is not configured any more, or as another one.
pub(super) fn gone(server: &str) -> Error {
    let text = format!(
        "MCP server '{server}' was taken out of the configuration, or changed there, before the request was made"
    );
    unavailable(server, text)
}

/// Whether this session is one of them.
pub(super) fn has(sessions: &[Arc<Session>], session: &Arc<Session>) -> bool {
    sessions.iter().any(|open| Arc::ptr_eq(open, session))
}

/// Which of a server's tools are held back, and for what.
pub(super) fn held_back(tools: &[Arc<Tool>], held: &Held) -> Option<String> {
    let remarks = tools.iter().filter_map(|tool| {
        let changed = held.get(&tool.description().remote_name)?.changed.join(", ");
        Some(format!(
            "{} is held back until it is accepted: its {changed} changed",
            tool.name()
        ))
    });
    let remarks: Vec<String> = remarks.collect();
    (!remarks.is_empty()).then(|| some_of(&remarks))
}

/// The first few of many remarks.
pub(super) fn some_of(remarks: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = remarks[..remarks.len().min(SHOWN)].join("; ");
    match remarks.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
