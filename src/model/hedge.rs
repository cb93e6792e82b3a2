//! A second request beside one whose answer is slow to begin. What is sent, and whether it may be, is decided
//! elsewhere; this only says who spoke first.

use std::pin::pin;
use std::time::Duration;

/// What became of one of two requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lane<T> {
    /// It came to this.
    Over(T),
    /// It was dropped, because the other one was answered.
    Overtaken,
}

/// What became of a request, and of the second one, if it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Race<T> {
    pub(super) first: Lane<T>,
    pub(super) second: Option<Lane<T>>,
}

/// Waits for a request; when nothing has come of it for so long, for a second one too, if there may be one. The first
/// that is answered is the answer, and the other one is dropped. One that fails leaves the other one to be waited for.
pub(super) async fn race<A, E, F>(
    first: F,
    after: Option<Duration>,
    second: impl FnOnce() -> Option<F>,
) -> Race<Result<A, E>>
where
    F: Future<Output = Result<A, E>>,
{
    let alone = |over| Race {
        first: Lane::Over(over),
        second: None,
    };
    let mut first = pin!(first);
    let Some(after) = after else {
        return alone(first.await);
    };
    tokio::select! {
        biased;
        over = &mut first => return alone(over),
        () = tokio::time::sleep(after) => {}
    }
    let Some(second) = second() else {
        return alone(first.await);
    };
    let mut second = pin!(second);
    let (one, other) = tokio::select! {
        biased;
        over = &mut first => match over {
            Ok(_) => (Lane::Over(over), Lane::Overtaken),
            Err(_) => (Lane::Over(over), Lane::Over(second.await)),
        },
        over = &mut second => match over {
            Ok(_) => (Lane::Overtaken, Lane::Over(over)),
            Err(_) => (Lane::Over(first.await), Lane::Over(over)),
        },
    };
    Race {
        first: one,
        second: Some(other),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const AFTER: Duration = Duration::from_millis(100);

    /// A request that is answered, or refused, so many milliseconds after it was sent.
    async fn request(
        ms: u64,
        outcome: Result<&'static str, &'static str>,
    ) -> Result<&'static str, &'static str> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        outcome
    }

    #[tokio::test(start_paused = true)]
    async fn who_speaks_first_is_heard_and_a_refusal_is_no_answer() {
        use Lane::{Over, Overtaken};
        let answer = |ms| (ms, Ok("answer"));
        let refusal = |ms| (ms, Err("refusal"));
        // The first request, the second if there may be one, what becomes of them, and when.
        let table = [
            // What is quick, well or not, is alone.
            (answer(99), Some(answer(0)), Over(Ok("answer")), None, 99),
            (refusal(99), Some(answer(0)), Over(Err("refusal")), None, 99),
            // So is what may have nothing beside it.
            (answer(500), None, Over(Ok("answer")), None, 500),
            (
                answer(500),
                Some(answer(50)),
                Overtaken,
                Some(Over(Ok("answer"))),
                150,
            ),
            (
                answer(120),
                Some(answer(50)),
                Over(Ok("answer")),
                Some(Overtaken),
                120,
            ),
            // At the same moment the first counts.
            (
                answer(150),
                Some(answer(50)),
                Over(Ok("answer")),
                Some(Overtaken),
                150,
            ),
            (
                refusal(120),
                Some(answer(50)),
                Over(Err("refusal")),
                Some(Over(Ok("answer"))),
                150,
            ),
            (
                answer(500),
                Some(refusal(50)),
                Over(Ok("answer")),
                Some(Over(Err("refusal"))),
                500,
            ),
            (
                refusal(120),
                Some(refusal(50)),
                Over(Err("refusal")),
                Some(Over(Err("refusal"))),
                150,
            ),
        ];
        for (one, other, first, second, ms) in table {
            let began = Instant::now();
            let beside = || other.map(|(ms, outcome)| request(ms, outcome));
            let raced = race(request(one.0, one.1), Some(AFTER), beside).await;
            let case = format!("{one:?} {other:?}");
            assert_eq!(raced, Race { first, second }, "{case}");
            assert_eq!(began.elapsed(), Duration::from_millis(ms), "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_time_there_is_never_a_second() {
        let raced = race(request(10_000, Ok("answer")), None, || {
            panic!("it is not asked for")
        })
        .await;
        assert_eq!(raced.second, None);
    }
}
