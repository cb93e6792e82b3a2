//! Whatever clients send: no panic, nothing taken that means something else to another implementation, and
//! refusals that say why.
//!
//! Everywhere, each property is tried on a few cases. `ASSISTD_SEARCH_SECONDS` has each searched for that long. That is
//! instead of cargo-fuzz, which needs a nightly compiler and a second, instrumented build of every dependency: too dear
//! on two cores.

mod frames;
mod messages;
mod requests;
mod sample;
mod templates;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};
use prost_reflect::{DescriptorPool, MessageDescriptor};

use sample::{Choices, Sample};

/// Cases of a property where nobody asks for more.
const CASES: u32 = 200;

type Outcome = Result<(), TestCaseError>;

/// Tries a property on cases of the strategy; when there is time, on as many as it lasts for.
fn search<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> Outcome) {
    let seconds = std::env::var("ASSISTD_SEARCH_SECONDS").map_or(0, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut cases = 0;
    loop {
        let mut runner = TestRunner::new(config.clone());
        if let Err(failure) = runner.run(&strategy, &property) {
            panic!("{failure}");
        }
        cases += CASES;
        if Instant::now() >= end {
            return eprintln!("{cases} cases");
        }
    }
}

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(assistd::api::pb::DESCRIPTOR_SET).unwrap());

/// Every message of the contract, what requests are first.
static MESSAGES: LazyLock<Vec<MessageDescriptor>> = LazyLock::new(|| {
    let of_contract = POOL
        .all_messages()
        .filter(|message| message.package_name() == "assistant.v1");
    let mut messages: Vec<_> = of_contract.filter(|message| !message.is_map_entry()).collect();
    messages.sort_by_key(|message| !message.name().ends_with("Request"));
    messages
});

/// Any message of the contract.
fn messages() -> impl Strategy<Value = Sample> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    (any::<Index>(), bytes).prop_map(|(which, bytes)| {
        let descriptor = &MESSAGES[which.index(MESSAGES.len())];
        Sample::new(descriptor, &mut Choices(&bytes))
    })
}

/// Changes to a text: where, what is taken away, what is put there.
fn changes() -> impl Strategy<Value = Vec<(Index, usize, String)>> {
    let piece = prop_oneof![
        r#"[{}\[\]",:a-z0-9.eE\\u+ -]{0,4}"#,
        proptest::sample::select(vec![
            "null",
            "\"\"",
            "1e400",
            "9007199254740993",
            "-0",
            "NaN",
            "\"NaN\"",
            "\\ud800",
            "{\"a\":",
            "[[[[",
            "true",
            "1.0",
            "\"1\"",
            "\u{feff}",
            "\"-1s\"",
            "{}",
            "[]",
            ",",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec((any::<Index>(), 0..4_usize, piece), 0..4)
}

fn changed(text: &str, changes: &[(Index, usize, String)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (place, length, piece) in changes {
        let start = place.index(letters.len() + 1);
        let end = (start + length).min(letters.len());
        letters.splice(start..end, piece.chars());
    }
    letters.into_iter().collect()
}
