//! The key of a provider, which may be changed in its file while the service runs.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::model::Secret;

/// How long a key counts as current before its file is looked at again.
const FRESH: Duration = Duration::from_secs(5);

/// A key in a file.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    key: Secret,
    /// What the provider may still quote.
    previous: Option<Secret>,
    read: Instant,
}

impl KeyFile {
    /// Reads the key for the first time.
    ///
    /// # Errors
    /// Why it cannot be used, for people.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let bytes =
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let key = parse(bytes)?;
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(State {
                key,
                previous: None,
                read: Instant::now(),
            }),
        })
    }

    /// The key. Looks at the file when it has not done so for a while; a file that cannot be used then leaves the
    /// key as it is.
    pub(super) async fn current(&self) -> Secret {
        let (key, is_fresh) = {
            let state = self.state();
            (state.key.clone(), state.read.elapsed() < FRESH)
        };
        if is_fresh { key } else { self.read().await }
    }

    /// Whether the file has another key than this one by now.
    pub(super) async fn has_changed_from(&self, key: &Secret) -> bool {
        self.read().await != *key
    }

    /// Every text that must not be logged.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Secret> {
        let state = self.state();
        [Some(state.key.clone()), state.previous.clone()]
            .into_iter()
            .flatten()
    }

    async fn read(&self) -> Secret {
        let read = tokio::fs::read(&self.path).await;
        let read = read.map_err(|error| error.to_string()).and_then(parse);
        let mut state = self.state();
        state.read = Instant::now();
        match read {
            Ok(key) if key != state.key => {
                tracing::info!(path = %self.path.display(), "a model's key has changed");
                state.previous = Some(std::mem::replace(&mut state.key, key));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "a model's key cannot be read again");
            }
        }
        state.key.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key without the line end that editors add.
fn parse(bytes: Vec<u8>) -> Result<Secret, String> {
    let unusable = "the key is empty or holds a character that a header cannot hold";
    let text = String::from_utf8(bytes).map_err(|_| unusable.to_owned())?;
    let text = text.trim();
    if text.is_empty() || HeaderValue::from_str(text).is_err() {
        return Err(unusable.to_owned());
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_is_looked_at_again_after_a_while_and_one_that_is_broken_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(KeyFile::open(&path).is_err());
        std::fs::write(&path, "one\n").unwrap();
        let key = KeyFile::open(&path).unwrap();
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(key.current().await.expose(), "one");
        tokio::time::advance(FRESH).await;
        assert_eq!(key.current().await.expose(), "two");
        let quoted: Vec<_> = key.secrets().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(quoted, ["two", "one"]);
        for broken in ["", "\n", "a\nb"] {
            std::fs::write(&path, broken).unwrap();
            assert!(!key.has_changed_from(&Secret::new("two")).await, "{broken:?}");
        }
        std::fs::write(&path, "three").unwrap();
        assert!(key.has_changed_from(&Secret::new("two")).await);
    }
}
