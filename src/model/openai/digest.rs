//! What tells one history from another, in short.

use sha2::{Digest, Sha256};

use crate::run::message::Message;

/// The digest of these messages. They never change, so that their names say it all.
pub(super) fn of_messages<'a>(messages: impl Iterator<Item = &'a Message>) -> String {
    let mut hasher = Sha256::new();
    for message in messages {
        hasher.update(message.id.as_str());
        hasher.update([0]);
    }
    hex(&hasher.finalize())
}

/// Enough of a digest to tell two apart.
pub(super) fn hex(bytes: &[u8]) -> String {
    const ENOUGH_BYTES: usize = 16;
    let bytes = bytes.iter().take(ENOUGH_BYTES);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
