//! Addresses that servers send people to: who has been there, and calls that are refused until somebody has.

use std::collections::HashSet;
use std::time::Duration;

use rmcp::model::{ElicitRequestParams, ElicitationAction, ErrorData};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Open;

/// Addresses that one refusal may name.
const ADDRESSES: usize = 8;
/// How long it is waited before a call is made again whose server does not know yet that somebody has been there; doubled
/// each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// Visits whose end may be known before anybody waits for it.
const REMEMBERED: usize = 256;

/// The visits that are known to be over, the newest last.
#[derive(Debug, Default)]
pub(super) struct Addresses(watch::Sender<Vec<String>>);

impl Addresses {
    /// The server says that this visit is over.
    pub(super) fn completed(&self, elicitation: &str) {
        self.0.send_modify(|over| {
            if over.len() == REMEMBERED {
                over.remove(0);
            }
            over.push(elicitation.to_owned());
        });
    }

    /// Waits until this visit is over; for ever when there is none.
    pub(super) async fn visited(&self, elicitation: Option<&str>) {
        let Some(elicitation) = elicitation else {
            return std::future::pending().await;
        };
        let mut over = self.0.subscribe();
        let is_over = |over: &Vec<String>| over.iter().any(|one| one == elicitation);
        if over.wait_for(is_over).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn is_over(&self, elicitation: &str) -> bool {
        self.0.borrow().iter().any(|one| one == elicitation)
    }
}

/// Where a refusal sends people; none when it does not say, or not only to addresses.
fn wanted(refusal: &ErrorData) -> Option<Vec<ElicitRequestParams>> {
    let listed = refusal.data.as_ref()?.get("elicitations")?.as_array()?;
    let read = |one: &Value| serde_json::from_value::<ElicitRequestParams>(one.clone()).ok();
    let read: Vec<_> = listed.iter().take(ADDRESSES).map(read).collect::<Option<_>>()?;
    let are_addresses = read
        .iter()
        .all(|one| matches!(one, ElicitRequestParams::UrlElicitationParams { .. }));
    (are_addresses && !read.is_empty()).then_some(read)
}

/// What tells one visit from another.
fn key(params: &ElicitRequestParams) -> String {
    match params {
        ElicitRequestParams::UrlElicitationParams { url, .. } => id_of(params).unwrap_or_else(|| url.clone()),
        _ => String::new(),
    }
}

/// The name of the visit that a server asks for, if it is one that it may tell the end of.
pub(super) fn id_of(params: &ElicitRequestParams) -> Option<String> {
    match params {
        ElicitRequestParams::UrlElicitationParams { elicitation_id, .. } if !elicitation_id.is_empty() => {
            Some(elicitation_id.clone())
        }
        _ => None,
    }
}

/// Where the person behind one call has been already, and how long it was waited last.
#[derive(Debug, Default)]
pub(in crate::mcp) struct Visited {
    addresses: HashSet<String>,
    pause: Duration,
}

impl Open {
    /// A server does not take the call until somebody has been to some addresses: asks the person to go there. Where they
    /// have been already, it is waited a while: the server may not know yet.
    ///
    /// # Errors
    /// Why the call cannot be made again, in words for the model.
    pub(in crate::mcp) async fn send_to_addresses(
        &self,
        refusal: &ErrorData,
        visited: &mut Visited,
    ) -> Result<(), String> {
        let wanted = wanted(refusal).ok_or_else(|| refusal.message.to_string())?;
        let (mut is_new, mut last) = (false, None);
        for params in wanted {
            let key = key(&params);
            last = id_of(&params);
            if visited.addresses.contains(&key) {
                continue;
            }
            is_new = true;
            let result = self.visit.elicit(&self.desk, params).await;
            if result.action != ElicitationAction::Accept {
                return Err(format!("{}: nobody has been where it points", refusal.message));
            }
            visited.addresses.insert(key);
        }
        if !is_new {
            visited.pause = (visited.pause * 2).clamp(PAUSE_FIRST, PAUSE_LONGEST);
            match last.filter(|id| !self.desk.addresses.is_over(id)) {
                Some(id) => drop(timeout(visited.pause, self.desk.addresses.visited(Some(&id))).await),
                None => sleep(visited.pause).await,
            }
        }
        Ok(())
    }
}
