//! The place on this machine to which a login leads back (RFC 8252, section 7.3).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATH: &str = "/callback";
/// The longest request that is read, and how long it may take.
const REQUEST_LIMIT_BYTES: usize = 16 << 10;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A listener for one answer.
#[derive(Debug)]
pub struct Redirect {
    listener: TcpListener,
    uri: String,
}

impl Redirect {
    /// Listens on a port of the loopback interface; 0 for any that is free.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let uri = format!("http://127.0.0.1:{}{PATH}", listener.local_addr()?.port());
        Ok(Self { listener, uri })
    }

    /// The address that the person comes back to.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits for the person; gives the query with which they come. Whatever else is asked of this place is not found.
    ///
    /// # Errors
    /// When connections cannot be accepted any more.
    pub async fn answer(&self) -> io::Result<String> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if let Ok(Ok(Some(query))) = timeout(REQUEST_TIMEOUT, query_of(stream)).await {
                return Ok(query);
            }
        }
    }
}

/// Reads one request; its query, if it is for our path and has one that answers a login.
async fn query_of(mut stream: TcpStream) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece).await?;
        if read == 0 || request.len() + read > REQUEST_LIMIT_BYTES {
            return Ok(None);
        }
        request.extend_from_slice(&piece[..read]);
    }
    let head = String::from_utf8_lossy(&request);
    let target = head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let query = target
        .and_then(|target| target.strip_prefix(PATH))
        .and_then(|rest| rest.strip_prefix('?'))
        .filter(|query| query.split('&').any(|pair| pair.starts_with("state=")));
    let (status, text) = match query {
        Some(_) => (
            "200 OK",
            "Thank you. You can close this page and go back to the terminal.",
        ),
        None => ("404 Not Found", "Not found."),
    };
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{text}"
    );
    let query = query.map(str::to_owned);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(query)
}
