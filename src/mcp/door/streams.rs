//! What answers the requests of sessions, kept so that a client whose connection broke, or was closed on purpose, can be
//! given what it has missed (MCP 2025-11-25, Transports, Resumability and Redelivery; SEP-1699).
//!
//! rmcp keeps the events of a request until its answer has been said, whether anybody was there to hear it or not. Here
//! every stream is read to its end, and the answer waits for its client.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

/// The most events that are kept of one stream. Of more the oldest notifications are given up: a newer one says more.
const EVENTS_KEPT: usize = 64;
/// Places of a reader that notifications leave free: what is no notification, the answer and questions, is not left out.
const PLACES_LEFT: usize = 33;
/// How long the answer of a call waits for its client, and how many wait at most.
const ANSWER_KEPT: Duration = Duration::from_secs(60);
const ANSWERS_KEPT: usize = 256;

/// The number that rmcp gives the stream of a request, of its own in each session.
type Number = u64;
type Key = (SessionId, Number);

/// The streams of all sessions.
#[derive(Clone, Default)]
pub(super) struct Streams {
    kept: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    streams: HashMap<Key, CallStream>,
    /// Those whose answers have been said, oldest first, and until when they are kept.
    over: VecDeque<(Instant, Key)>,
    /// Somebody forgets them in time.
    is_swept: bool,
}

/// The stream of events that answers a request of a session. A tool finds it in the extensions of its request, if the
/// client is one that comes back: those of 2025-11-25 are.
#[derive(Clone, Default)]
pub struct CallStream {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    events: VecDeque<ServerSseMessage>,
    /// Whoever reads them now.
    reader: Option<mpsc::Sender<ServerSseMessage>>,
    is_over: bool,
}

impl fmt::Debug for CallStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallStream").finish_non_exhaustive()
    }
}

impl CallStream {
    /// Ends the client's connection, and not the request: the client comes back after a few seconds, which its first event
    /// has told it, and asks for what it has missed. For work that takes longer than connections are wont to live. The
    /// service's own tools keep theirs open, since they tell of their progress.
    pub fn close(&self) {
        self.state().reader = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: ServerSseMessage) {
        let mut state = self.state();
        if state.events.len() >= EVENTS_KEPT {
            let oldest = state.events.iter().position(is_notification).unwrap_or(0);
            state.events.remove(oldest);
        }
        if let Some(reader) = &state.reader {
            // A client that does not keep up misses notifications, and not the answer.
            let has_place = !is_notification(&event) || reader.capacity() > PLACES_LEFT;
            if has_place && reader.try_send(event.clone()).is_err() {
                state.reader = None;
            }
        }
        state.events.push_back(event);
    }

    /// Everything behind the event at this index, and what comes from now on. Whoever read before reads no more.
    pub(super) fn read_behind(&self, index: Option<usize>) -> ReceiverStream<ServerSseMessage> {
        let (sender, events) = mpsc::channel(2 * EVENTS_KEPT);
        let mut state = self.state();
        let place = |event: &ServerSseMessage| place(event).map(|(index, _)| index);
        let missed = state.events.iter().filter(|event| place(event) > index);
        for event in missed {
            // There is room for all that is kept.
            let _ = sender.try_send(event.clone());
        }
        state.reader = (!state.is_over).then_some(sender);
        ReceiverStream::new(events)
    }

    fn is_over(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.reader = None;
    }
}

impl Streams {
    /// Reads the stream of a request of this session to its end, for whoever wants to hear it. Afterwards the answer waits
    /// for its client, if it is worth that.
    pub(super) async fn keep(
        &self,
        session: &SessionId,
        stream: CallStream,
        events: impl Stream<Item = ServerSseMessage> + Send + 'static,
        waits: bool,
    ) {
        let mut events = Box::pin(events);
        let first = events.next().await;
        let number = first.as_ref().and_then(place).map(|(_, number)| number);
        first.into_iter().for_each(|event| stream.push(event));
        let key = number.map(|number| (session.clone(), number));
        if let Some(key) = &key {
            self.table().streams.insert(key.clone(), stream.clone());
        }
        let streams = self.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                stream.push(event);
            }
            stream.is_over();
            // From now on it belongs to the table alone.
            drop((stream, events));
            match key {
                Some(key) if waits => streams.retire(key).await,
                Some(key) => drop(streams.table().streams.remove(&key)),
                None => {}
            }
        });
    }

    /// What a client has missed that has seen everything up to this event, and what comes from now on; none where nothing is
    /// known of such a stream.
    pub(super) fn resume(
        &self,
        session: &SessionId,
        last_event_id: &str,
    ) -> Option<ReceiverStream<ServerSseMessage>> {
        let (index, number) = parse(last_event_id)?;
        let stream = self.table().streams.get(&(session.clone(), number))?.clone();
        Some(stream.read_behind(Some(index)))
    }

    /// Keeps an answer for a while. Of all who come here at a time, one stays and forgets the answers of the others too.
    async fn retire(&self, key: Key) {
        let mut next = {
            let mut table = self.table();
            let until = Instant::now() + ANSWER_KEPT;
            table.over.push_back((until, key));
            if table.over.len() > ANSWERS_KEPT
                && let Some((_, oldest)) = table.over.pop_front()
            {
                table.streams.remove(&oldest);
            }
            (!std::mem::replace(&mut table.is_swept, true)).then_some(until)
        };
        while let Some(until) = next {
            sleep_until(until).await;
            next = self.table().forget(Instant::now());
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets the answers whose time is over, and says when that of the next one is; none when there is no other.
    fn forget(&mut self, now: Instant) -> Option<Instant> {
        while let Some((until, _)) = self.over.front() {
            if *until > now {
                return Some(*until);
            }
            if let Some((_, key)) = self.over.pop_front() {
                self.streams.remove(&key);
            }
        }
        self.is_swept = false;
        None
    }
}

fn is_notification(event: &ServerSseMessage) -> bool {
    matches!(
        event.message.as_deref(),
        Some(ServerJsonRpcMessage::Notification(_))
    )
}

/// The index of an event in its stream, and the number of that.
fn place(event: &ServerSseMessage) -> Option<(usize, Number)> {
    parse(event.event_id.as_deref()?)
}

/// As rmcp writes it: the index, and behind it the number of the stream, unless it is the session's own.
fn parse(event_id: &str) -> Option<(usize, Number)> {
    let (index, number) = event_id.split_once('/')?;
    Some((index.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use rmcp::model::{
        EmptyResult, NumberOrString, ProgressNotification, ProgressNotificationParam, ProgressToken,
        RequestId, ServerNotification, ServerResult,
    };

    use super::*;

    const RETRY: Duration = Duration::from_secs(3);

    fn session() -> SessionId {
        "session".into()
    }

    fn report(index: usize) -> ServerSseMessage {
        let token = ProgressToken(NumberOrString::Number(1));
        let report = ProgressNotification::new(ProgressNotificationParam::new(token, index as f64));
        let report = ServerJsonRpcMessage::notification(ServerNotification::ProgressNotification(report));
        ServerSseMessage::new(format!("{index}/7"), report)
    }

    fn answer(index: usize) -> ServerSseMessage {
        let result = ServerResult::EmptyResult(EmptyResult {});
        let answer = ServerJsonRpcMessage::response(result, RequestId::Number(1));
        ServerSseMessage::new(format!("{index}/7"), answer)
    }

    /// A stream that says what is sent here, and its first reader.
    async fn kept(
        streams: &Streams,
        stream: &CallStream,
    ) -> (mpsc::Sender<ServerSseMessage>, ReceiverStream<ServerSseMessage>) {
        let (sender, events) = mpsc::channel(1);
        sender
            .send(ServerSseMessage::priming("0/7", RETRY))
            .await
            .unwrap();
        let events = ReceiverStream::new(events);
        let reader = stream.read_behind(None);
        streams.keep(&session(), stream.clone(), events, true).await;
        (sender, reader)
    }

    async fn ids(reader: ReceiverStream<ServerSseMessage>) -> Vec<String> {
        let ids = reader.map(|event| event.event_id.unwrap_or_default());
        ids.collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_a_client_that_was_away() {
        let streams = Streams::default();
        let (sender, reader) = kept(&streams, &CallStream::default()).await;
        drop(reader);
        for event in [report(1), report(2), answer(3)] {
            sender.send(event).await.unwrap();
        }
        drop(sender);
        tokio::time::sleep(ANSWER_KEPT / 2).await;
        for (last, missed) in [
            ("0/7", &["1/7", "2/7", "3/7"][..]),
            ("2/7", &["3/7"]),
            ("3/7", &[]),
        ] {
            let resumed = streams.resume(&session(), last).expect("it is kept");
            assert_eq!(ids(resumed).await, missed, "{last}");
        }
        for (session, last) in [
            (session(), "0/8"),
            (session(), "0"),
            (session(), "nonsense"),
            ("another".into(), "0/7"),
        ] {
            assert!(streams.resume(&session, last).is_none(), "{last}");
        }
        tokio::time::sleep(ANSWER_KEPT).await;
        assert!(
            streams.resume(&session(), "0/7").is_none(),
            "it is not kept for ever"
        );
        assert!(streams.table().over.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_closed_goes_on_for_whoever_comes_back() {
        let streams = Streams::default();
        let stream = CallStream::default();
        let (sender, reader) = kept(&streams, &stream).await;
        stream.close();
        assert_eq!(ids(reader).await, ["0/7"], "what was said before is heard");
        let first = streams.resume(&session(), "0/7").expect("it goes on");
        let second = streams.resume(&session(), "0/7").expect("it goes on");
        sender.send(report(1)).await.unwrap();
        sender.send(answer(2)).await.unwrap();
        drop(sender);
        assert_eq!(ids(first).await, [""; 0], "the newest reader reads");
        assert_eq!(ids(second).await, ["1/7", "2/7"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded_and_the_answer_is_not_given_up() {
        let streams = Streams::default();
        let (sender, reader) = kept(&streams, &CallStream::default()).await;
        for index in 1..=1_000 {
            sender.send(report(index)).await.unwrap();
        }
        sender.send(answer(1_001)).await.unwrap();
        drop(sender);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let heard = ids(reader).await;
        assert_eq!(
            heard.len(),
            2 * EVENTS_KEPT - PLACES_LEFT + 1,
            "nobody has read meanwhile"
        );
        assert_eq!(heard.last().unwrap(), "1001/7", "the answer had a place");
        let resumed = streams.resume(&session(), "0/7").expect("it is kept");
        let ids = ids(resumed).await;
        assert_eq!(ids.len(), EVENTS_KEPT - 1, "all but the first event");
        assert_eq!(ids.last().unwrap(), "1001/7");

        let mut calls = Vec::new();
        for number in 0..2 * ANSWERS_KEPT {
            let first = ServerSseMessage::priming(format!("0/{}", number + 100), RETRY);
            let (stream, events) = (CallStream::default(), futures::stream::iter([first]));
            calls.push(Arc::downgrade(&stream.state));
            // Every other one is none whose answer waits.
            streams.keep(&session(), stream, events, number % 2 == 0).await;
        }
        let kept = || calls.iter().filter(|call| call.strong_count() > 0).count();
        tokio::time::sleep(Duration::from_millis(1)).await;
        // The first stream of this test is over too, and was the oldest.
        assert_eq!(
            (streams.table().streams.len(), kept()),
            (ANSWERS_KEPT, ANSWERS_KEPT)
        );
        tokio::time::sleep(ANSWER_KEPT).await;
        assert_eq!((streams.table().streams.len(), kept()), (0, 0));
    }
}
