//! So many at once, and so many more that wait; fair between those for whom they wait.
//!
//! Whoever waits for the same caller is served in the order in which they came. Callers take turns, so that one with many
//! requests does not keep another with one from being served; and where no more may wait, the newest of whoever has the
//! most waiting makes room for one who has fewer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// See the [module](self).
#[derive(Clone)]
pub struct Places(Arc<Room>);

/// One place, until it is dropped.
pub struct Place(Option<Arc<Room>>);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// As many wait as may.
    #[error("too many wait")]
    Crowded,
    /// None was free in time.
    #[error("no place was free in time")]
    Late,
}

struct Room {
    size: usize,
    max_waiting: usize,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    taken: usize,
    /// Those who wait, by caller; whose turn it is comes first. None of the lines is empty.
    lines: VecDeque<Line>,
    waiting: usize,
    /// The number of whoever waits next.
    next: u64,
}

/// Those who wait for one caller, in the order in which they came.
struct Line {
    caller: String,
    waiting: VecDeque<(u64, oneshot::Sender<Place>)>,
}

/// One who waits; dropped, it leaves its line.
struct Waiter<'a> {
    room: &'a Room,
    caller: &'a str,
    number: u64,
}

impl Places {
    /// So many places, for which so many may wait.
    pub fn new(size: usize, max_waiting: usize) -> Self {
        Self(Arc::new(Room {
            size,
            max_waiting,
            desk: Mutex::default(),
        }))
    }

    /// How many places there are.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// How many of them are taken.
    pub fn taken(&self) -> usize {
        self.0.desk().taken
    }

    /// How many wait for one.
    pub fn waiting(&self) -> usize {
        self.0.desk().waiting
    }

    /// A place, if one is free. Those who wait come first: one that becomes free is theirs before it can be taken here.
    pub fn enter_at_once(&self) -> Option<Place> {
        let mut desk = self.0.desk();
        let is_free = desk.taken < self.0.size;
        is_free.then(|| {
            desk.taken += 1;
            Place(Some(Arc::clone(&self.0)))
        })
    }

    /// A place, for this caller. Dropping the future leaves the line.
    ///
    /// # Errors
    /// That too many wait already, or that it takes longer than this.
    pub async fn enter(&self, caller: &str, patience: Option<Duration>) -> Result<Place, NoPlace> {
        if let Some(place) = self.enter_at_once() {
            return Ok(place);
        }
        let (number, place) = self.0.desk().line_up(caller, self.0.max_waiting)?;
        let _waiter = Waiter {
            room: &self.0,
            caller,
            number,
        };
        // One who is sent away again hears nothing more.
        let place = async { place.await.map_err(|_| NoPlace::Crowded) };
        match patience {
            None => place.await,
            Some(patience) => tokio::time::timeout(patience, place)
                .await
                .unwrap_or(Err(NoPlace::Late)),
        }
    }
}

impl Room {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place that is free again to whoever is next.
    fn give(self: Arc<Self>) {
        let mut place = Place(Some(self));
        while let Some(room) = place.0.take() {
            let next = room.desk().next_or_free();
            let Some(next) = next else { return };
            match next.send(Place(Some(room))) {
                Ok(()) => return,
                // It has just given up; its place is not dropped, but given to the one behind it.
                Err(back) => place = back,
            }
        }
    }
}

impl Desk {
    fn line_up(
        &mut self,
        caller: &str,
        max_waiting: usize,
    ) -> Result<(u64, oneshot::Receiver<Place>), NoPlace> {
        let is_theirs = |line: &Line| line.caller == caller;
        if self.waiting >= max_waiting {
            let own = self.lines.iter().find(|line| is_theirs(line));
            let own = own.map_or(0, |line| line.waiting.len());
            let longest = self.lines.iter_mut().max_by_key(|line| line.waiting.len());
            let longest = longest.filter(|line| line.waiting.len() > own + 1);
            // Two or more: the line does not become empty.
            let sent_away = longest.and_then(|line| line.waiting.pop_back());
            drop(sent_away.ok_or(NoPlace::Crowded)?);
            self.waiting -= 1;
        }
        let (number, (sender, receiver)) = (self.next, oneshot::channel());
        self.next += 1;
        self.waiting += 1;
        match self.lines.iter_mut().find(|line| is_theirs(line)) {
            Some(line) => line.waiting.push_back((number, sender)),
            None => self.lines.push_back(Line {
                caller: caller.to_owned(),
                waiting: VecDeque::from([(number, sender)]),
            }),
        }
        Ok((number, receiver))
    }

    /// Whoever is next; without anybody the place is free.
    fn next_or_free(&mut self) -> Option<oneshot::Sender<Place>> {
        let next = self.lines.pop_front().and_then(|mut line| {
            let (_, next) = line.waiting.pop_front()?;
            if !line.waiting.is_empty() {
                self.lines.push_back(line);
            }
            Some(next)
        });
        match &next {
            Some(_) => self.waiting -= 1,
            None => self.taken -= 1,
        }
        next
    }

    fn leave(&mut self, caller: &str, number: u64) {
        let Some(place) = self.lines.iter().position(|line| line.caller == caller) else {
            return;
        };
        let line = &mut self.lines[place];
        let before = line.waiting.len();
        line.waiting.retain(|(other, _)| *other != number);
        self.waiting -= before - line.waiting.len();
        if line.waiting.is_empty() {
            self.lines.remove(place);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(room) = self.0.take() {
            room.give();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.room.desk().leave(self.caller, self.number);
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} taken", self.taken(), self.size())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    type Waiting = BoxFuture<'static, Result<Place, NoPlace>>;

    /// One who waits for this caller, in line already unless there was a place.
    fn one(places: &Places, caller: char) -> (Waiting, Option<Result<Place, NoPlace>>) {
        let (places, caller) = (places.clone(), caller.to_string());
        let mut waiting = async move { places.enter(&caller, None).await }.boxed();
        let entered = (&mut waiting).now_or_never();
        (waiting, entered)
    }

    /// In which order those are served who come in this one, a letter for the caller of each, when there is one place
    /// and so many may wait. Who is sent away is not among them.
    fn served(callers: &str, max_waiting: usize) -> String {
        let places = Places::new(1, max_waiting);
        let mut place = places.enter_at_once();
        let mut waiting: Vec<(char, Waiting)> = Vec::new();
        for caller in callers.chars() {
            let (future, entered) = one(&places, caller);
            match entered {
                None => waiting.push((caller, future)),
                Some(entered) => assert_eq!(entered.err(), Some(NoPlace::Crowded)),
            }
        }
        let mut order = String::new();
        while place.take().is_some() {
            waiting.retain_mut(|(caller, future)| match future.now_or_never() {
                None => true,
                Some(Ok(given)) => {
                    assert!(place.is_none(), "one at a time");
                    place = Some(given);
                    order.push(*caller);
                    false
                }
                Some(Err(why)) => {
                    assert_eq!(why, NoPlace::Crowded);
                    false
                }
            });
        }
        assert!(waiting.is_empty());
        assert_eq!((places.taken(), places.waiting()), (0, 0));
        order
    }

    #[test]
    fn callers_take_turns_and_each_is_served_in_its_order() {
        for (callers, max_waiting, expected) in [
            ("", 9, ""),
            ("aaa", 9, "aaa"),
            ("aaab", 9, "abaa"),
            ("aaabbc", 9, "abcaba"),
            ("ab", 0, ""),
            ("ab", 1, "a"),
            // Who has the most waiting makes room for who has fewer, until both have as many.
            ("aaaab", 4, "abaa"),
            ("aaaabbb", 4, "abab"),
            ("aaaabc", 4, "abca"),
            ("aabbc", 4, "abcb"),
            ("aaaaa", 4, "aaaa"),
        ] {
            let mut order = served(callers, max_waiting);
            // Whichever of two that have as many.
            if callers == "aabbc" {
                assert!(["abcb", "abca"].contains(&order.as_str()), "{order}");
                order = expected.to_owned();
            }
            assert_eq!(order, expected, "{callers} {max_waiting}");
        }
    }

    #[test]
    fn places_are_given_in_order_and_nobody_takes_one_from_under_who_waits() {
        let places = Places::new(1, 2);
        let (_, first) = one(&places, 'a');
        let (mut second, none) = one(&places, 'a');
        assert!(none.is_none());
        let (mut third, none) = one(&places, 'a');
        assert!(none.is_none());
        assert_eq!(one(&places, 'a').1.unwrap().err(), Some(NoPlace::Crowded));
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "the second is first");
        assert!(places.enter_at_once().is_none());
        drop((&mut second).now_or_never().unwrap().unwrap());
        assert!(places.enter_at_once().is_none());
        drop((&mut third).now_or_never().unwrap().unwrap());
        assert!(places.enter_at_once().is_some());
        assert_eq!((places.size(), places.taken(), places.waiting()), (1, 0, 0));
    }

    #[test]
    fn one_that_gives_up_leaves_its_line_and_a_place_that_it_was_given() {
        let places = Places::new(1, 1);
        let place = places.enter_at_once();
        for _ in 0..3 {
            assert!(one(&places, 'a').1.is_none());
        }
        assert_eq!(places.waiting(), 0);
        let (given, _) = one(&places, 'a');
        drop(place);
        assert_eq!((places.taken(), places.waiting()), (1, 0), "it is given");
        drop(given);
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_patience() {
        let places = Places::new(1, 1);
        let _place = places.enter("a", None).await.unwrap();
        let late = places.enter("a", Some(Duration::from_secs(9))).await;
        assert_eq!(late.err(), Some(NoPlace::Late));
        assert_eq!(places.waiting(), 0);
    }

    proptest! {
        /// Those who come, wait, give up and go in any order: no place is lost, none is given twice.
        #[test]
        fn no_place_is_lost(size in 1..3usize, max_waiting in 0..4usize, moves in prop::collection::vec((0..3u8, 0..8usize), 0..60)) {
            let places = Places::new(size, max_waiting);
            let (mut inside, mut outside): (Vec<Place>, Vec<Waiting>) = (Vec::new(), Vec::new());
            for (kind, which) in moves {
                match kind {
                    0 => match one(&places, if which < 5 { 'a' } else { 'b' }) {
                        (_, Some(entered)) => inside.extend(entered.ok()),
                        (waiting, None) => outside.push(waiting),
                    },
                    1 if which < inside.len() => drop(inside.remove(which)),
                    2 if which < outside.len() => drop(outside.remove(which)),
                    _ => {}
                }
                // Some look only later.
                if which % 2 == 0 {
                    outside.retain_mut(|waiting| match waiting.now_or_never() {
                        None => true,
                        Some(entered) => {
                            inside.extend(entered.ok());
                            false
                        }
                    });
                    prop_assert_eq!(places.taken(), inside.len());
                    prop_assert!(places.waiting() == 0 || places.taken() == size);
                }
                prop_assert!(places.taken() <= size && places.waiting() <= max_waiting);
            }
            drop((inside, outside));
            prop_assert_eq!((places.taken(), places.waiting()), (0, 0));
        }
    }
}
