//! Stands between the service and a PostgreSQL server, and counts what the service asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Every message but the first: a letter, then its length, of which the letter is no part.
const TYPE: usize = 1;
const LENGTH: usize = 4;

#[derive(Default)]
pub struct Counts {
    round_trips: AtomicU64,
    commits: AtomicU64,
}

/// What was asked.
#[derive(Clone, Copy)]
pub struct Asked {
    /// Messages that the server answers before it is asked again.
    pub round_trips: u64,
    pub commits: u64,
}

impl Counts {
    pub fn asked(&self) -> Asked {
        Asked {
            round_trips: self.round_trips.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }

    fn count(&self, kind: u8, body: &[u8]) {
        // Q is a query of its own; S ends a group of others.
        if matches!(kind, b'Q' | b'S') {
            self.round_trips.fetch_add(1, Ordering::Relaxed);
        }
        if kind == b'Q' && body.starts_with(b"COMMIT") {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts it, in tasks that end with the runtime. Its port.
pub async fn start(server: (&'static str, u16), counts: Arc<Counts>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(carry(from_client, to_server, Arc::clone(&counts)));
        }
    });
    port
}

/// Carries what the client says, whole messages together.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: Arc<Counts>) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 16);
    let mut has_begun = false;
    while from.read_buf(&mut buffer).await? > 0 {
        let mut place = 0;
        while let Some(end) = end_of_message(&buffer[place..], has_begun) {
            if has_begun {
                let message = &buffer[place..place + end];
                counts.count(message[0], &message[TYPE + LENGTH..]);
            }
            has_begun = true;
            place += end;
        }
        to.write_all(&buffer[..place]).await?;
        buffer.drain(..place);
    }
    Ok(())
}

/// Where the first message of the bytes ends; none when it is not whole.
fn end_of_message(bytes: &[u8], has_type: bool) -> Option<usize> {
    let start = if has_type { TYPE } else { 0 };
    let length = bytes.get(start..start + LENGTH)?.try_into().unwrap();
    let end = start + u32::from_be_bytes(length) as usize;
    (bytes.len() >= end).then_some(end)
}
