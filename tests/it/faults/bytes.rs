//! A connection that breaks at any byte of an answer.

use assistd::config::{Dialect, ModelState};
use assistd::simulator::{At, Fault, Turn};
use futures::StreamExt;

use super::places::TEXT;
use super::play::NEXT_QUESTION;
use super::rows::State;
use super::seen::{Door, ask, history};
use super::{AT_ONCE, script, world};

/// How many places of an answer are tried.
const PLACES: usize = 30;

/// The more bytes came, the more was heard; only with all of them is the answer whole.
#[tokio::test]
async fn a_cut_at_any_byte_keeps_what_came_before_it() {
    for dialect in [Dialect::Responses, Dialect::ChatCompletions, Dialect::Assistants] {
        // No answer is longer, and a cut behind its end is none.
        let longest = match dialect {
            Dialect::ChatCompletions => 2_000,
            Dialect::Responses | Dialect::Assistants => 16_000,
        };
        let cut = |index: usize| Fault::Cut(At::Bytes(index * longest / (PLACES - 1)));
        let turn = |index: usize| {
            Turn::text(TEXT)
                .fault(cut(index))
                .when_user(&format!("cut [{index}]"))
        };
        let script = script((0..PLACES).map(|index| turn(index).times(1)));
        let world = world(dialect, ModelState::Stateless, script).await;
        let door = Door::new(&world).await;
        let played = futures::stream::iter(0..PLACES).map(|index| {
            let door = &door;
            async move {
                let seen = ask(door, &format!("cut [{index}]"), "", "").await;
                let text: String = seen.told().into_iter().map(|told| told.text).collect();
                let kept: Vec<String> = history(door, &seen.thread)
                    .await
                    .into_iter()
                    .skip(1)
                    .flat_map(|one| one.1)
                    .collect();
                assert_eq!(kept.concat(), text, "{dialect:?}, {index}");
                let next = ask(door, NEXT_QUESTION, &seen.thread, "").await;
                assert_eq!(next.end().0, State::Completed, "{dialect:?}, {index}");
                (text, seen.end().0)
            }
        });
        let ends: Vec<(String, State)> = played.buffered(AT_ONCE).collect().await;
        let mut before = 0;
        for (index, (text, state)) in ends.iter().enumerate() {
            assert!(
                TEXT.concat().starts_with(text.as_str()),
                "{dialect:?}, {index}: {text}"
            );
            assert!(text.len() >= before, "{dialect:?}, {index}: {text}");
            before = text.len();
            let is_whole = *state == State::Completed;
            assert!(
                is_whole || *state == State::Failed("MODEL_UNAVAILABLE"),
                "{dialect:?}, {index}: {state:?}"
            );
            assert!(
                !is_whole || text.len() == TEXT.concat().len(),
                "{dialect:?}, {index}"
            );
        }
        assert_eq!(
            ends.first().unwrap().1,
            State::Failed("MODEL_UNAVAILABLE"),
            "{dialect:?}"
        );
        assert!(
            ends.is_sorted_by_key(|(_, state)| *state == State::Completed),
            "{dialect:?}"
        );
        assert_eq!(ends.last().unwrap().1, State::Completed, "{dialect:?}");
        world.stopped().await;
    }
}
