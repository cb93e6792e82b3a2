//! A file that may change while the service runs.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Looks at a file again and again. It is told apart by its time and its size, so that nothing is read as long as
/// nothing changes.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    /// What it said when it was last read, or why it could not be read.
    text: Result<String, String>,
    /// How it was when it was last read, and when it was last looked at.
    read: Option<Stamp>,
    seen: Option<Stamp>,
}

type Stamp = (SystemTime, u64);

impl WatchedFile {
    /// A file that has been read before, and said this.
    pub fn new(path: PathBuf, text: String) -> Self {
        Self {
            path,
            text: Ok(text),
            read: None,
            seen: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at it; what it says, or why it cannot be read, if that is not what it was. A file that is being written
    /// is left alone until it has been the same twice, unless `now`.
    pub async fn look(&mut self, now: bool) -> Option<Result<String, String>> {
        let stamp = match tokio::fs::metadata(&self.path).await {
            Ok(found) => found.modified().ok().map(|time| (time, found.len())),
            Err(_) => None,
        };
        let is_settled = stamp == self.seen;
        self.seen = stamp;
        if !now && (!is_settled || (stamp.is_some() && stamp == self.read)) {
            return None;
        }
        let read = tokio::fs::read_to_string(&self.path).await;
        let text = read.map_err(|error| format!("cannot be read: {error}"));
        self.read = stamp;
        if text == self.text {
            return None;
        }
        self.text.clone_from(&text);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once_and_only_when_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list.json");
        std::fs::write(&path, "one").unwrap();
        let mut file = WatchedFile::new(path.clone(), "one".to_owned());
        for _ in 0..3 {
            assert_eq!(file.look(false).await, None);
        }
        std::fs::write(&path, "two and more").unwrap();
        assert_eq!(file.look(false).await, None, "it may still be written");
        assert_eq!(file.look(false).await, Some(Ok("two and more".to_owned())));
        assert_eq!(file.look(false).await, None);
        std::fs::write(&path, "3").unwrap();
        assert_eq!(file.look(true).await, Some(Ok("3".to_owned())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.look(false).await, None);
        assert!(matches!(file.look(false).await, Some(Err(reason)) if reason.starts_with("cannot be read")));
        assert_eq!(file.look(false).await, None);
        std::fs::write(&path, "3").unwrap();
        assert_eq!(file.look(true).await, Some(Ok("3".to_owned())));
    }
}
