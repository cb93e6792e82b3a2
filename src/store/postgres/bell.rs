//! Hears what other processes write: LISTEN on a connection of its own, and whoever waits in this process is woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::run::id::RunId;
use crate::run::ports::Topic;

use super::connect::CONNECT_TIMEOUT;

/// Where it is told that something was written: a run's name, that there are letters, or that runs were left.
const CHANNEL: &str = "assistd";
const LETTERS: &str = "letters";
const LEFT: &str = "left";

/// How long to wait before connecting again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Topics that are kept before it is looked who still listens.
const ROOM: usize = 256;

/// See the [module](self).
pub(super) struct Bell {
    ropes: Arc<Ropes>,
    _listening: AbortOnDropHandle<()>,
}

/// Who is to be woken.
#[derive(Default)]
struct Ropes {
    topics: Mutex<HashMap<Topic, watch::Sender<()>>>,
}

impl Bell {
    /// Listens to this database until it is dropped.
    pub(super) fn hung(options: PgConnectOptions) -> Self {
        let ropes = Arc::new(Ropes::default());
        let listening = tokio::spawn(listen(options, Arc::clone(&ropes)));
        Self {
            ropes,
            _listening: AbortOnDropHandle::new(listening),
        }
    }

    /// Hears of this from now on.
    pub(super) fn listen(&self, topic: &Topic) -> watch::Receiver<()> {
        self.ropes.listen(topic)
    }
}

impl Ropes {
    fn listen(&self, topic: &Topic) -> watch::Receiver<()> {
        let mut topics = self.topics();
        if topics.len() >= ROOM && topics.len() == topics.capacity() {
            topics.retain(|_, sender| sender.receiver_count() > 0);
        }
        match topics.get(topic) {
            Some(sender) => sender.subscribe(),
            None => {
                let sender = watch::Sender::new(());
                let receiver = sender.subscribe();
                topics.insert(topic.clone(), sender);
                receiver
            }
        }
    }

    fn ring(&self, topic: &Topic) {
        if let Some(sender) = self.topics().get(topic) {
            sender.send_replace(());
        }
    }

    /// Something may have been missed.
    fn ring_all(&self) {
        for sender in self.topics().values() {
            sender.send_replace(());
        }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, watch::Sender<()>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(options: PgConnectOptions, ropes: Arc<Ropes>) {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(options);
    loop {
        let failure = match PgListener::connect_with(&pool).await {
            Ok(listener) => hear(listener, &ropes).await,
            Err(error) => error,
        };
        tracing::warn!(error = %failure, "what other processes write is only seen by looking for now");
        tokio::time::sleep(RETRY_INTERVAL).await;
        // For as long as nothing is heard, everybody looks now and then.
        ropes.ring_all();
    }
}

/// Wakes whoever is to be woken, until the connection cannot be had again.
async fn hear(mut listener: PgListener, ropes: &Ropes) -> sqlx::Error {
    if let Err(error) = listener.listen(CHANNEL).await {
        return error;
    }
    ropes.ring_all();
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) => match notification.payload() {
                LETTERS => ropes.ring(&Topic::Letters),
                LEFT => ropes.ring(&Topic::Left),
                run => {
                    if let Ok(run) = RunId::parse(run) {
                        ropes.ring(&Topic::Run(run));
                    }
                }
            },
            // It was connected anew.
            Ok(None) => ropes.ring_all(),
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_woken_and_who_has_gone_is_forgotten() {
        let ropes = Ropes::default();
        let run = |index: usize| Topic::Run(RunId::parse(&format!("run_{index}")).unwrap());
        let mut kept = ropes.listen(&run(0));
        for index in 1..10_000 {
            drop(ropes.listen(&run(index)));
        }
        assert!(ropes.topics().len() < 10 * ROOM);
        kept.mark_unchanged();
        ropes.ring(&run(1));
        assert!(!kept.has_changed().unwrap());
        ropes.ring(&run(0));
        assert!(kept.has_changed().unwrap());
        kept.mark_unchanged();
        ropes.ring_all();
        assert!(kept.has_changed().unwrap());
    }
}
