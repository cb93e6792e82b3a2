//! What a child process writes, without messages that are larger than is taken.
//!
//! rmcp throws such a message away, and the request that it answers would wait until its time is up. Here an answer that
//! is too large becomes one that says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde_json::json;
use tokio::io::{AsyncRead, ReadBuf};

/// The largest message that is taken from a server, in bytes: from a child process, and as rmcp has it over HTTP.
pub const MESSAGE_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// How much of the two ends of a message is looked at for the request that it answers.
const END_BYTES: usize = 256;

/// A reader of lines, each a message.
pub(super) struct Lines<R> {
    inner: R,
    limit: usize,
    /// How much of a line has been passed on, and how it begins.
    length: usize,
    head: Vec<u8>,
    /// The rest of a line that is too large is thrown away: how it ends so far.
    skipped: Option<Skipped>,
    /// What is to be passed on before anything more is read, and how much of it has been.
    out: Vec<u8>,
    given: usize,
}

struct Skipped {
    tail: Vec<u8>,
    is_answered: bool,
}

impl<R> Lines<R> {
    /// The lines of `inner`.
    pub(super) fn new(inner: R) -> Self {
        Self::with_limit(inner, MESSAGE_LIMIT_BYTES)
    }

    fn with_limit(inner: R, limit: usize) -> Self {
        Self {
            inner,
            limit,
            length: 0,
            head: Vec::new(),
            skipped: None,
            out: Vec::new(),
            given: 0,
        }
    }

    /// Takes note of what is passed on as it is; says whether it can be.
    fn pass(&mut self, read: &[u8]) -> bool {
        let first = memchr::memchr(b'\n', read);
        if self.skipped.is_some() || self.length + first.map_or(read.len(), |end| end + 1) > self.limit {
            return false;
        }
        match memchr::memrchr(b'\n', read) {
            // A line within it is no longer than it.
            Some(_) if read.len() > self.limit => return false,
            Some(end) => {
                self.head.clear();
                self.length = 0;
                self.begin(&read[end + 1..]);
            }
            None => self.begin(read),
        }
        true
    }

    fn begin(&mut self, piece: &[u8]) {
        let room = END_BYTES.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend_from_slice(&piece[..room]);
        self.length += piece.len();
    }

    /// Puts what is to be passed on into `out`.
    fn sift(&mut self, read: &[u8]) {
        for piece in read.split_inclusive(|byte| *byte == b'\n') {
            let is_end = piece.ends_with(b"\n");
            if let Some(skipped) = &mut self.skipped {
                keep_end(&mut skipped.tail, piece);
            } else {
                // Also that which is too much: rmcp is to see it.
                self.out.extend_from_slice(piece);
                self.begin(piece);
                if self.length > self.limit {
                    self.skip(piece, is_end);
                }
            }
            if is_end {
                if let Some(skipped) = self.skipped.take()
                    && !skipped.is_answered
                {
                    self.out.push(b'\n');
                    self.refuse(answered(&self.head, &skipped.tail));
                }
                self.length = 0;
                self.head.clear();
            }
        }
    }

    /// A line has become too large with this piece: what follows of it is thrown away.
    fn skip(&mut self, piece: &[u8], is_end: bool) {
        let mut tail = Vec::new();
        keep_end(&mut tail, piece);
        let answered = answered(&self.head, &tail);
        if !is_end {
            let is_answered = answered.is_some();
            if is_answered {
                self.out.push(b'\n');
            }
            self.skipped = Some(Skipped { tail, is_answered });
        }
        self.refuse(answered);
    }

    /// Says, in place of an answer that is too large, that it is; nothing where it is not known what it answers.
    fn refuse(&mut self, id: Option<u64>) {
        let Some(id) = id else {
            return;
        };
        let error = json!({"code": -32603, "message": too_large(self.limit)});
        let refusal = json!({"jsonrpc": "2.0", "id": id, "error": error});
        self.out.extend_from_slice(format!("{refusal}\n").as_bytes());
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.out.len() {
                let count = buffer.remaining().min(this.out.len() - this.given);
                buffer.put_slice(&this.out[this.given..this.given + count]);
                this.given += count;
                return Poll::Ready(Ok(()));
            }
            this.out.clear();
            this.given = 0;
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            let read = &buffer.filled()[before..];
            if read.is_empty() || this.pass(read) {
                return Poll::Ready(Ok(()));
            }
            let read = read.to_vec();
            buffer.set_filled(before);
            this.sift(&read);
        }
    }
}

/// What is said in place of an answer that is larger than so many bytes.
pub(super) fn too_large(limit_bytes: usize) -> String {
    format!("its answer is larger than the {limit_bytes} bytes that are taken")
}

fn keep_end(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(&piece[piece.len().saturating_sub(END_BYTES)..]);
    tail.drain(..tail.len().saturating_sub(END_BYTES));
}

/// The request that a message answers, by how it begins and ends: in the order of keys that servers have.
fn answered(head: &[u8], tail: &[u8]) -> Option<u64> {
    let plain = |bytes: &[u8]| -> String {
        let bytes = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
        bytes.map(|byte| char::from(*byte)).collect()
    };
    let (head, tail) = (plain(head), plain(tail));
    let version = "\"jsonrpc\":\"2.0\"";
    let is_result = |text: &str| text.starts_with("\"result\":") || text.starts_with("\"error\":");
    let rest = head.strip_prefix('{')?;
    let rest = rest
        .strip_prefix(version)
        .and_then(|rest| rest.strip_prefix(','))
        .unwrap_or(rest);
    if let Some(rest) = rest.strip_prefix("\"id\":") {
        let (id, rest) = rest.split_once(',')?;
        let rest = rest
            .strip_prefix(version)
            .and_then(|rest| rest.strip_prefix(','))
            .unwrap_or(rest);
        return is_result(rest).then(|| id.parse().ok())?;
    }
    if !is_result(rest) {
        return None;
    }
    let end = tail.strip_suffix('}')?;
    let end = end
        .strip_suffix(version)
        .and_then(|end| end.strip_suffix(','))
        .unwrap_or(end);
    let (_, id) = end.rsplit_once("\"id\":")?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What is passed on of this, read in pieces of this size, as messages.
    async fn passed_on(text: &str, piece: usize) -> Vec<String> {
        let chunks = text
            .as_bytes()
            .chunks(piece)
            .map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk)));
        let reader =
            tokio_util::io::StreamReader::new(futures::stream::iter(chunks.collect::<Vec<io::Result<_>>>()));
        let mut read = String::new();
        let mut lines = Lines::with_limit(reader, 64);
        lines.read_to_string(&mut read).await.unwrap();
        read.lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_becomes_one_that_says_so() {
        let long = "x".repeat(100);
        let refused = |id: u64| {
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32603,\"message\":\"its answer is larger \
                 than the 64 bytes that are taken\"}}}}"
            )
        };
        for (message, expected) in [
            (
                format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"a":"{long}"}}}}"#),
                Some(7),
            ),
            (
                format!(r#"{{"jsonrpc": "2.0", "id": 7, "error": {{"a":"{long}"}}}}"#),
                Some(7),
            ),
            (
                format!(r#"{{"id":7,"jsonrpc":"2.0","result":{{"a":"{long}"}}}}"#),
                Some(7),
            ),
            (
                format!(r#"{{"result":{{"a":"{long}"}},"jsonrpc":"2.0","id":8}}"#),
                Some(8),
            ),
            (
                format!(r#"{{"jsonrpc":"2.0","result":{{"a":"{long}"}},"id":9}}"#),
                Some(9),
            ),
            // A request of the server, whose numbers are its own.
            (format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{long}"}}"#), None),
            (format!(r#"{{"jsonrpc":"2.0","method":"{long}","id":7}}"#), None),
            (long.clone(), None),
        ] {
            let text = format!("first\n\n{message}\nsecond\nthird");
            for piece in [1, 5, 60, 64, 65, 1000] {
                let lines = passed_on(&text, piece).await;
                let is_cut = |line: &String| message.starts_with(line.as_str());
                assert!(lines[..2] == ["first", ""] && is_cut(&lines[2]), "{lines:?}");
                assert!(lines[2].len() > 64, "rmcp is to throw it away: {lines:?}");
                let mut rest = lines[3..].iter().map(String::as_str);
                if let Some(id) = expected {
                    assert_eq!(rest.next(), Some(refused(id).as_str()), "{piece}: {lines:?}");
                }
                assert_eq!(
                    rest.collect::<Vec<_>>(),
                    ["second", "third"],
                    "{piece}: {lines:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_too_large_is_passed_on_as_it_is() {
        let line = "y".repeat(63);
        let text = format!("{line}\n{line}\n\n{line}\n");
        for piece in [1, 7, 64, 100, 1000] {
            assert_eq!(passed_on(&text, piece).await, [&line, &line, "", &line]);
        }
    }
}
