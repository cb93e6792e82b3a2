//! Sends an answer's bytes: at a pace, and with the faults that are wanted.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::fault::Fault;
use super::pace::Waits;
use super::sse::Events;

/// How long a hang lasts when the client does not go away: every wait has an end.
pub(super) const LONGEST_HANG: Duration = Duration::from_secs(600);

/// A response body that plays its steps one after the other.
#[derive(Debug)]
pub(super) struct Playback {
    steps: std::vec::IntoIter<Step>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What `content-length` promises, also when less is sent; unknown for a stream.
    length: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send(Bytes),
    Wait(Duration),
    /// Lets the bytes before it reach the socket: the server drops what it holds when a body fails.
    Flush,
    Abort,
}

/// What happens at an offset, in the order in which it happens there.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Insert(Bytes),
    Stop,
    Cut,
    Hang,
    Wait(Duration),
}

impl Playback {
    /// A whole body, at once.
    pub fn whole(body: Vec<u8>, faults: &[Fault]) -> Self {
        let length = body.len() as u64;
        let bytes = Bytes::from(body);
        let marks = fault_marks(faults, bytes.len(), None);
        // A body that ends early or has insertions must say its real length to be a proper one.
        let proper = marks
            .iter()
            .all(|(_, mark)| !matches!(mark, Mark::Insert(_) | Mark::Stop));
        Playback::new(trickled(steps(bytes, marks), faults), proper.then_some(length))
    }

    /// A stream, each token after its wait.
    pub fn stream(events: Events, faults: &[Fault], mut waits: Waits) -> Self {
        let Events { bytes, deltas } = events;
        let bytes = Bytes::from(bytes);
        let mut marks = fault_marks(faults, bytes.len(), Some(&deltas));
        if !waits.is_none() {
            marks.extend(deltas.iter().map(|delta| (delta.start, Mark::Wait(waits.next()))));
        }
        Playback::new(trickled(steps(bytes, marks), faults), None)
    }

    /// These pieces, each after its wait; the connection may break behind the last.
    pub fn pieces<'a>(pieces: impl Iterator<Item = (Duration, &'a str)>, broken: bool) -> Self {
        let mut steps = Vec::new();
        for (wait, piece) in pieces {
            let bytes = Bytes::copy_from_slice(piece.as_bytes());
            steps.extend([Step::Wait(wait), Step::Send(bytes)]);
        }
        if broken {
            steps.extend([Step::Flush, Step::Abort]);
        }
        Playback::new(steps, None)
    }

    fn new(steps: Vec<Step>, length: Option<u64>) -> Self {
        Playback {
            steps: steps.into_iter(),
            timer: None,
            length,
        }
    }

    /// Waits for `duration`; with zero, only until the next time this task is polled.
    fn wait(&mut self, duration: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if duration.is_zero() {
            return Poll::Ready(());
        }
        let until = Instant::now() + duration;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(until),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
        }
        self.poll_timer(cx)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) if !timer.is_elapsed() => timer.as_mut().poll(cx),
            _ => Poll::Ready(()),
        }
    }
}

fn fault_marks(faults: &[Fault], length: usize, deltas: Option<&[Range<usize>]>) -> Vec<(usize, Mark)> {
    let mark = |fault: &Fault| match fault {
        Fault::Cut(at) => Some((at.offset(length, deltas), Mark::Cut)),
        Fault::Stop(at) => Some((at.offset(length, deltas), Mark::Stop)),
        Fault::Hang(at) => Some((at.offset(length, deltas), Mark::Hang)),
        Fault::Insert { at, raw } => Some((
            at.offset(length, deltas),
            Mark::Insert(Bytes::copy_from_slice(raw.as_bytes())),
        )),
        Fault::Without(_) | Fault::With(_) | Fault::Trickle { .. } => None,
    };
    faults.iter().filter_map(mark).collect()
}

fn steps(bytes: Bytes, mut marks: Vec<(usize, Mark)>) -> Vec<Step> {
    marks.sort();
    let mut steps = Vec::with_capacity(2 * marks.len() + 1);
    let mut sent = 0;
    for (offset, mark) in marks {
        if offset > sent {
            steps.push(Step::Send(bytes.slice(sent..offset)));
            sent = offset;
        }
        match mark {
            Mark::Insert(raw) => steps.push(Step::Send(raw)),
            Mark::Wait(duration) => steps.push(Step::Wait(duration)),
            Mark::Stop => return steps,
            Mark::Cut => {
                steps.extend([Step::Flush, Step::Abort]);
                return steps;
            }
            Mark::Hang => {
                steps.extend([Step::Wait(LONGEST_HANG), Step::Abort]);
                return steps;
            }
        }
    }
    if sent < bytes.len() {
        steps.push(Step::Send(bytes.slice(sent..)));
    }
    steps
}

/// The steps with every piece cut into the small ones of a [`Fault::Trickle`], if there is one.
fn trickled(steps: Vec<Step>, faults: &[Fault]) -> Vec<Step> {
    let trickle = faults.iter().find_map(|fault| match fault {
        Fault::Trickle { bytes, ms } => Some((bytes.get(), Duration::from_millis(*ms))),
        _ => None,
    });
    let Some((size, wait)) = trickle else { return steps };
    let mut slow = Vec::with_capacity(steps.len());
    for step in steps {
        let Step::Send(mut bytes) = step else {
            slow.push(step);
            continue;
        };
        while !bytes.is_empty() {
            let piece = bytes.split_to(size.min(bytes.len()));
            slow.extend([Step::Wait(wait), Step::Send(piece)]);
        }
    }
    slow
}

impl Body for Playback {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.poll_timer(cx).is_pending() {
            return Poll::Pending;
        }
        while let Some(step) = self.steps.next() {
            match step {
                Step::Send(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Step::Abort => return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
                Step::Flush => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Wait(duration) => {
                    if self.wait(duration, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.steps.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::{At, Pace};
    use http_body_util::BodyExt;

    fn events() -> Events {
        Events {
            bytes: b"headAABBtail".to_vec(),
            deltas: vec![4..6, 6..8],
        }
    }

    fn at_once() -> Waits {
        Pace::default().waits(0)
    }

    async fn played(mut playback: Playback) -> (Vec<String>, Option<io::ErrorKind>) {
        let mut frames = Vec::new();
        while let Some(frame) = playback.frame().await {
            match frame {
                Ok(frame) => frames.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()),
                Err(error) => return (frames, Some(error.kind())),
            }
        }
        (frames, None)
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_come_at_their_pace() {
        let start = Instant::now();
        let waits = Pace::constant(100, 7).waits(0);
        let (frames, error) = played(Playback::stream(events(), &[], waits)).await;
        assert_eq!((frames.join("|").as_str(), error), ("head|AA|BBtail", None));
        assert_eq!(start.elapsed(), Duration::from_millis(107));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pace_all_is_one_frame() {
        let (frames, error) = played(Playback::stream(events(), &[], at_once())).await;
        assert_eq!((frames.join("|").as_str(), error), ("headAABBtail", None));
    }

    #[tokio::test(start_paused = true)]
    async fn faults_happen_where_they_should() {
        let cut = Some(io::ErrorKind::ConnectionAborted);
        let insert = |at| Fault::Insert {
            at,
            raw: "??".to_owned(),
        };
        for (faults, expected, error) in [
            (vec![Fault::Cut(At::Deltas(1))], "headAA", cut),
            (vec![Fault::Cut(At::Deltas(0))], "head", cut),
            (vec![Fault::Cut(At::Deltas(9))], "headAABBtail", cut),
            (vec![Fault::Cut(At::Within(2))], "headAAB", cut),
            (vec![Fault::Cut(At::Within(9))], "headAABBtail", cut),
            (vec![Fault::Cut(At::Bytes(5))], "headA", cut),
            (vec![Fault::Cut(At::Bytes(0))], "", cut),
            (vec![Fault::Stop(At::Deltas(2))], "headAABB", None),
            (vec![Fault::Hang(At::Deltas(1))], "headAA", cut),
            (vec![insert(At::Deltas(1))], "headAA??BBtail", None),
            (
                vec![
                    Fault::Cut(At::Deltas(1)),
                    insert(At::Deltas(1)),
                    insert(At::Deltas(2)),
                ],
                "headAA??",
                cut,
            ),
        ] {
            let (frames, kind) = played(Playback::stream(events(), &faults, at_once())).await;
            assert_eq!((frames.concat().as_str(), kind), (expected, error), "{faults:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_lasts_ten_minutes_at_most() {
        let start = Instant::now();
        let playback = Playback::stream(events(), &[Fault::Hang(At::Deltas(0))], at_once());
        let (_, error) = played(playback).await;
        assert_eq!(
            (start.elapsed(), error),
            (LONGEST_HANG, Some(io::ErrorKind::ConnectionAborted))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_comes_piece_by_piece() {
        let start = Instant::now();
        let trickle = |bytes| Fault::Trickle {
            bytes: std::num::NonZeroUsize::new(bytes).unwrap(),
            ms: 10,
        };
        let faults = [trickle(5), Fault::Cut(At::Bytes(11))];
        let (frames, error) = played(Playback::stream(events(), &faults, at_once())).await;
        let cut = Some(io::ErrorKind::ConnectionAborted);
        assert_eq!((frames.join("|").as_str(), error), ("headA|ABBta|i", cut));
        assert_eq!(start.elapsed(), Duration::from_millis(30));
        let (frames, _) = played(Playback::whole(b"abc".to_vec(), &[trickle(2)])).await;
        assert_eq!(frames, ["ab", "c"]);
    }

    #[test]
    fn a_cut_whole_answer_still_promises_its_length() {
        let length = |faults: &[Fault]| {
            Playback::whole(b"0123456789".to_vec(), faults)
                .size_hint()
                .exact()
        };
        assert_eq!(length(&[]), Some(10));
        assert_eq!(length(&[Fault::Cut(At::Deltas(1))]), Some(10));
        assert_eq!(length(&[Fault::Stop(At::Deltas(1))]), None);
    }
}
