//! What can go wrong at a provider: every fault, in every dialect, before, within and after the first token and further
//! on, in a turn that answers, in one that asks for a tool and in one that has a tool's output. Each time the run's state,
//! events, history, usage and error are what the semantics say, and the next chat on the thread works.
//!
//! What goes wrong is in `rows.rs`, where and when in `places.rs`, and `play.rs` plays a case and looks at all of it.

mod bytes;
mod places;
mod play;
mod rows;
mod seen;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use assistd::config::{Dialect, ModelState, ModelTimeouts, NamedModel};
use assistd::simulator::{Script, Turn};
use futures::future::{join, join_all};
use futures::{FutureExt, StreamExt};

use crate::world::World;
use places::{Place, Tools};
use play::{Case, NEXT, NEXT_QUESTION};
use rows::ROWS;
use seen::Door;

/// How long a silent model is waited for. Long enough for a machine that is busy.
const SILENCE: Duration = Duration::from_secs(3);
/// The model that is waited for so long, and no longer.
const IMPATIENT: &str = "impatient";
/// How many cases are played at once, so that none waits long for the others.
const AT_ONCE: usize = 8;

/// Every combination for a dialect: a case, or why there is none.
fn combinations(dialect: Dialect, streams: bool) -> Vec<Result<Case, &'static str>> {
    let mut combinations = Vec::new();
    for row in &ROWS {
        for place in Place::ALL {
            for tools in Tools::ALL {
                let number = combinations.len();
                let impossible = row
                    .wrong
                    .never(place, tools, dialect, streams)
                    .or_else(|| place.never(tools));
                combinations.push(match impossible {
                    Some(reason) => Err(reason),
                    None => Ok(Case {
                        row,
                        dialect,
                        streams,
                        place,
                        tools,
                        // The bracket keeps one number from being found in another.
                        message: format!("case [{number}]"),
                    }),
                });
            }
        }
    }
    combinations
}

/// A model that answers like this, and the next chat's question before anything: that comes in one message with a question
/// that was not answered, which the case's own turns would fit too.
fn script(turns: impl IntoIterator<Item = Turn>) -> Script {
    let next = Turn::text(NEXT).when_user(NEXT_QUESTION);
    Script::turns(std::iter::once(next).chain(turns))
}

/// A service whose model follows the script, in this dialect with its state there, with another one beside it that is not waited for long.
async fn world(dialect: Dialect, state: ModelState, script: Script) -> World {
    World::with(script, |config| {
        let model = &mut config.model;
        model.dialect = Some(dialect);
        model.state = state;
        // Every request brings more retries than it can take: what bounds them all has tests of its own.
        model.resilience.retry_percent = 1_000;
        model.listed = vec![NamedModel {
            name: IMPATIENT.to_owned(),
            provider_model: IMPATIENT.to_owned(),
            aliases: Vec::new(),
            fallbacks: Vec::new(),
            endpoint: model.endpoint.clone(),
            dialect: model.dialect,
            state: model.state,
            reasoning_back: model.reasoning_back,
            timeouts: ModelTimeouts {
                first_byte: SILENCE,
                idle: SILENCE,
                ..model.timeouts
            },
            resilience: model.resilience,
            context_tokens: None,
            max_output_tokens: None,
            prices: None,
            idempotency_keys: None,
        }];
    })
    .await
}

async fn matrix(dialect: Dialect, state: ModelState, streams: bool) {
    let began = Instant::now();
    let (mut cases, mut impossible) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for combination in combinations(dialect, streams) {
        match combination {
            Ok(case) => cases.push(case),
            Err(reason) => *impossible.entry(reason).or_default() += 1,
        }
    }
    let script = script(cases.iter().flat_map(Case::turns));
    let script = if streams { script } else { script.never_streaming() };
    let world = world(dialect, state, script).await;
    let played = cases.len();
    let (silent, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.row.is_silent);
    let (door, others) = (Door::new(&world).await, futures::stream::iter(others));
    // Each that goes wrong in another way than it should is told, not only the first.
    let play = async |case: Case| AssertUnwindSafe(case.play(&door)).catch_unwind().await.is_ok();
    let silent = join_all(silent.into_iter().map(play));
    let others = others.map(play).buffer_unordered(AT_ONCE).collect::<Vec<bool>>();
    let (silent, others) = join(silent, others).await;
    let failed = silent
        .iter()
        .chain(&others)
        .filter(|is_right| !**is_right)
        .count();
    assert_eq!(
        failed, 0,
        "{dialect:?}, {state:?}: cases of {played} that are told above"
    );
    world.stopped().await;
    eprintln!(
        "{dialect:?}, {state:?}: {played} cases in {:?}; there are none where",
        began.elapsed()
    );
    for (reason, count) in impossible {
        eprintln!("  {reason}: {count}");
    }
}

#[tokio::test]
async fn every_fault_of_responses_ends_as_it_should() {
    matrix(Dialect::Responses, ModelState::Stateless, true).await;
}

#[tokio::test]
async fn every_fault_of_responses_in_conversations_ends_as_it_should() {
    matrix(Dialect::Responses, ModelState::Conversation, true).await;
}

#[tokio::test]
async fn every_fault_of_chat_completions_ends_as_it_should() {
    matrix(Dialect::ChatCompletions, ModelState::Stateless, true).await;
}

#[tokio::test]
async fn every_fault_of_assistants_ends_as_it_should() {
    matrix(Dialect::Assistants, ModelState::Stateless, true).await;
}

#[tokio::test]
async fn every_fault_of_assistants_that_do_not_stream_ends_as_it_should() {
    matrix(Dialect::Assistants, ModelState::Stateless, false).await;
}
