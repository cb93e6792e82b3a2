//! How often a server is tried, in a time that passes only when everybody waits.

use std::sync::PoisonError;

use super::super::auth::Vault;
use super::super::config::ServerConfig;
use super::*;
use crate::run::error::Error;

/// Approvals of nobody: a server that cannot be started has no tools.
struct NoPins;

#[async_trait::async_trait]
impl Pins for NoPins {
    async fn pinned(&self, _: &str) -> Result<Pinned, Error> {
        Ok(Pinned::new())
    }

    async fn pin(&self, _: &str, now: &Pinned) -> Result<Pinned, Error> {
        Ok(now.clone())
    }

    async fn accept(&self, _: &str, _: &Pinned) -> Result<(), Error> {
        Ok(())
    }
}

fn absent() -> Arc<Link> {
    let process = Process {
        command: "/no/such/command".into(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
    };
    let config = ServerConfig::new("absent", Endpoint::Stdio(process));
    Link::new(config, &Arc::new(Vault::in_memory()), CancellationToken::new())
}

/// How long it is until the server is tried again.
async fn until_next(link: &Link) -> Duration {
    let began = Instant::now();
    let has_failed = || {
        let mut time = link
            .last_error_time
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        time.take().is_some()
    };
    while !has_failed() {
        sleep(Duration::from_millis(1)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_tried_ever_more_rarely_up_to_a_bound() {
    let link = absent();
    let pacing = Pacing::default();
    let supervisor = Supervisor {
        role: Role::First,
        link: link.clone(),
        roster: Arc::new(Roster::new(vec![link.clone()])),
        pins: Arc::new(NoPins),
        pacing,
        stop: link.stop.clone(),
        tasks: TaskTracker::new(),
        watchdog: None,
        has_warned: false,
        known: Vec::new(),
    };
    let supervised = tokio::spawn(supervisor.run());
    until_next(&link).await;
    // A wait is cut by up to a half by chance, so that servers are not all tried at once.
    let slack = Duration::from_millis(10);
    let is_about = |waited: Duration, wait: Duration| waited + slack >= wait / 2 && waited <= wait + slack;
    let mut wait = pacing.retry_first;
    let mut at_most = 0;
    while at_most < 3 {
        let waited = until_next(&link).await;
        assert!(is_about(waited, wait), "{waited:?}, of {wait:?}");
        at_most += usize::from(wait == pacing.retry_longest);
        wait = (wait * 2).min(pacing.retry_longest);
    }
    // Somebody wants to know it now; and from there on as at first.
    link.hurry();
    assert!(until_next(&link).await <= slack);
    let waited = until_next(&link).await;
    assert!(is_about(waited, pacing.retry_first), "{waited:?}");
    link.stop.cancel();
    supervised.await.expect("it ends");
}
