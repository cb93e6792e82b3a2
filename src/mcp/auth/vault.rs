//! Where the tokens of people's logins are kept: in a file, sealed with a key, or in memory.
//!
//! The command that logs in writes the file and the service reads it, so both look at it again when it changes, and
//! hold its lock while they write. Tokens that the service gets by itself are never in it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::challenge::Challenge;
use super::client::Client;
use super::token::Tokens;

/// What the file says that it is, and what its seal is bound to.
const FORM: &str = "assistd-mcp-tokens-1";
const KEY_BYTES: usize = 32;
/// Only its owner reads and writes it.
const MODE: u32 = 0o600;

/// Why the store of tokens cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {reason}", .path.display())]
pub struct VaultError {
    path: PathBuf,
    reason: String,
}

/// What is known of the authorization of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The address of the server, as the configuration had it: at another one the entry means nothing.
    pub(super) server: String,
    /// What it said when it last turned us away.
    pub(super) challenge: Option<Challenge>,
    /// The login, if somebody has logged in.
    pub(super) login: Option<Login>,
}

/// What a login has brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Login {
    /// The authorization server.
    pub(super) issuer: String,
    /// Who we are there.
    pub(super) client: Client,
    /// What we have got.
    pub(super) tokens: Tokens,
}

type Entries = BTreeMap<String, Entry>;
type Stamp = Option<(SystemTime, u64)>;

/// The store.
#[derive(Debug)]
pub struct Vault {
    file: Option<SealedFile>,
    seen: Mutex<Seen>,
}

/// What was last seen of it.
#[derive(Debug, Default)]
struct Seen {
    stamp: Stamp,
    entries: Entries,
}

#[derive(Debug)]
struct SealedFile {
    path: PathBuf,
    key: KeySource,
}

/// Where the key of the file is.
#[derive(Clone)]
pub enum KeySource {
    /// It is this text.
    Text(String),
    /// It is in this file, which is there.
    File(PathBuf),
    /// It is beside the tokens, in a file that is made when it is first needed.
    Beside,
}

/// The file, as JSON.
#[derive(Serialize, Deserialize)]
struct Envelope {
    form: String,
    /// In base64: a nonce, and what it seals.
    sealed: String,
}

impl Vault {
    /// One that is gone with the process.
    pub fn in_memory() -> Self {
        Self {
            file: None,
            seen: Mutex::default(),
        }
    }

    /// One in a file, which need not be there. Nothing is read yet.
    pub fn in_file(path: PathBuf, key: KeySource) -> Self {
        Self {
            file: Some(SealedFile { path, key }),
            seen: Mutex::default(),
        }
    }

    /// Where it is, if it is in a file.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a server.
    ///
    /// # Errors
    /// When the file cannot be read, or its key is another one.
    pub(super) fn entry(&self, name: &str, server: &str) -> Result<Option<Entry>, VaultError> {
        let mut seen = self.seen();
        if let Some(file) = &self.file {
            file.refresh(&mut seen)?;
        }
        let entry = seen.entries.get(name);
        Ok(entry.filter(|entry| entry.server == server).cloned())
    }

    /// Changes what is known of a server.
    ///
    /// # Errors
    /// When the file cannot be read or written, or its key is another one. Nothing has changed then.
    pub(super) fn change(
        &self,
        name: &str,
        server: &str,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), VaultError> {
        let mut seen = self.seen();
        let Some(file) = &self.file else {
            change(of_server(&mut seen.entries, name, server));
            return Ok(());
        };
        let _others_wait = file.lock()?;
        file.refresh(&mut seen)?;
        let mut entries = seen.entries.clone();
        change(of_server(&mut entries, name, server));
        if entries != seen.entries {
            file.write(&entries)?;
            *seen = Seen {
                stamp: file.stamp(),
                entries,
            };
        }
        Ok(())
    }
}

/// The entry of a server; a new one if it is at another address now.
fn of_server<'a>(entries: &'a mut Entries, name: &str, server: &str) -> &'a mut Entry {
    let entry = entries.entry(name.to_owned()).or_default();
    if entry.server != server {
        *entry = Entry {
            server: server.to_owned(),
            ..Entry::default()
        };
    }
    entry
}

impl SealedFile {
    fn unfit(&self, reason: impl Into<String>) -> VaultError {
        VaultError {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    fn broken(&self, error: &io::Error) -> VaultError {
        self.unfit(error.to_string())
    }

    fn stamp(&self) -> Stamp {
        let found = fs::metadata(&self.path).ok()?;
        Some((found.modified().ok()?, found.len()))
    }

    /// The path with something behind it.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// Keeps other processes from writing, until it is dropped.
    fn lock(&self) -> Result<File, VaultError> {
        if let Some(directory) = self.path.parent().filter(|path| !path.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(|error| self.broken(&error))?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(MODE);
        let file = options.open(self.beside(".lock"));
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| self.broken(&error))
    }

    /// Reads it if it has changed.
    fn refresh(&self, seen: &mut Seen) -> Result<(), VaultError> {
        let stamp = self.stamp();
        if stamp == seen.stamp {
            return Ok(());
        }
        let entries = match fs::read(&self.path) {
            Ok(bytes) => self.opened(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Entries::new(),
            Err(error) => return Err(self.broken(&error)),
        };
        *seen = Seen { stamp, entries };
        Ok(())
    }

    fn opened(&self, bytes: &[u8]) -> Result<Entries, VaultError> {
        let envelope: Envelope = serde_json::from_slice(bytes)
            .ok()
            .filter(|envelope: &Envelope| envelope.form == FORM)
            .ok_or_else(|| self.unfit("is not a file of tokens that this version knows"))?;
        let mut sealed = STANDARD.decode(envelope.sealed).unwrap_or_default();
        let wrong_key = || {
            self.unfit("is sealed with another key, or damaged: give its key, or remove it and log in again")
        };
        let nonce = sealed.get(..NONCE_LEN).and_then(|nonce| nonce.try_into().ok());
        let nonce = Nonce::assume_unique_for_key(nonce.ok_or_else(wrong_key)?);
        let key = self.key(false)?;
        let plain = key
            .open_within(nonce, Aad::from(FORM), &mut sealed, NONCE_LEN..)
            .map_err(|_| wrong_key())?;
        serde_json::from_slice(plain).map_err(|_| self.unfit("is not what this version writes"))
    }

    fn write(&self, entries: &Entries) -> Result<(), VaultError> {
        let mut nonce = [0; NONCE_LEN];
        let no_seal = || self.unfit("cannot be sealed");
        SystemRandom::new().fill(&mut nonce).map_err(|_| no_seal())?;
        let mut sealed = serde_json::to_vec(entries).map_err(|_| no_seal())?;
        let key = self.key(true)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(FORM), &mut sealed)
            .map_err(|_| no_seal())?;
        sealed.splice(0..0, nonce);
        let envelope = Envelope {
            form: FORM.to_owned(),
            sealed: STANDARD.encode(sealed),
        };
        let text = serde_json::to_string(&envelope).map_err(|_| no_seal())?;
        write_whole(&self.path, &self.beside(".new"), &text).map_err(|error| self.broken(&error))
    }

    fn key(&self, may_be_made: bool) -> Result<LessSafeKey, VaultError> {
        let text = match &self.key {
            KeySource::Text(text) => text.clone(),
            KeySource::File(path) => self.key_in(path)?,
            KeySource::Beside => {
                let path = self.beside(".key");
                if may_be_made && !path.exists() {
                    let mut bytes = [0; KEY_BYTES];
                    let filled = SystemRandom::new().fill(&mut bytes);
                    filled.map_err(|_| self.unfit("no key can be made"))?;
                    write_whole(&path, &self.beside(".key.new"), &STANDARD.encode(bytes))
                        .map_err(|error| self.broken(&error))?;
                }
                self.key_in(&path)?
            }
        };
        let key = UnboundKey::new(&AES_256_GCM, digest(&SHA256, text.trim().as_bytes()).as_ref());
        key.map(LessSafeKey::new)
            .map_err(|_| self.unfit("its key cannot be used"))
    }

    fn key_in(&self, path: &Path) -> Result<String, VaultError> {
        let read = fs::read_to_string(path);
        let text =
            read.map_err(|error| self.unfit(format!("its key {} cannot be read: {error}", path.display())))?;
        match text.trim() {
            "" => Err(self.unfit(format!("its key {} is empty", path.display()))),
            _ => Ok(text),
        }
    }
}

/// Writes a file so that whoever reads it meanwhile sees the old one or the new one, and nobody but its owner does.
fn write_whole(path: &Path, draft: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, path)
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Beside => f.write_str("Beside"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn challenge(scope: &str) -> Option<Challenge> {
        Some(Challenge {
            scopes: vec![scope.to_owned()],
            ..Challenge::default()
        })
    }

    #[test]
    fn what_one_process_keeps_another_finds_and_nobody_else_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/tokens.json");
        let open = |key: KeySource| Vault::in_file(path.clone(), key);
        let (writer, reader) = (open(KeySource::Beside), open(KeySource::Beside));
        assert_eq!(reader.entry("a", "https://h/").unwrap(), None);
        writer
            .change("a", "https://h/", |entry| {
                entry.challenge = challenge("very-secret")
            })
            .unwrap();
        let found = reader.entry("a", "https://h/").unwrap().unwrap();
        assert_eq!(found.challenge, challenge("very-secret"));
        assert_eq!(
            reader.entry("a", "https://other/").unwrap(),
            None,
            "of another address"
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("very-secret"), "{text}");
        for name in ["tokens.json", "tokens.json.key", "tokens.json.lock"] {
            let file = fs::metadata(path.with_file_name(name)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, MODE, "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let text = |key: &str| Vault::in_file(path.clone(), KeySource::Text(key.to_owned()));
        text("one")
            .change("a", "s", |entry| entry.challenge = challenge("x"))
            .unwrap();
        let before = fs::read(&path).unwrap();
        let other = text("two");
        let refused = other
            .change("a", "s", |entry| entry.challenge = None)
            .unwrap_err();
        assert!(
            refused.to_string().contains("sealed with another key"),
            "{refused}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
        let missing = Vault::in_file(path.clone(), KeySource::File(directory.path().join("none")));
        let refused = missing.entry("a", "s").unwrap_err().to_string();
        assert!(refused.contains("none cannot be read"), "{refused}");
        let cases: [&[u8]; 4] = [
            b"",
            b"{}",
            br#"{"form":"assistd-mcp-tokens-1","sealed":""}"#,
            &before[..before.len() - 9],
        ];
        for bytes in cases {
            fs::write(&path, bytes).unwrap();
            assert!(text("one").entry("a", "s").is_err(), "{bytes:?}");
        }
    }
}
