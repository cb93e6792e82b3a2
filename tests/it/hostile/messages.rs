//! JSON into messages and back, with prost-reflect as the judge.

use std::sync::LazyLock;

use assistd::api::transcode::decode::{self, Unknown};
use assistd::api::transcode::print;
use assistd::api::transcode::schema::Schema;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};

use super::sample::{Sample, on_the_wire};
use super::{POOL, changed, changes, messages, search};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(&POOL));

/// What our decoder makes of a text, as the oracle reads the wire.
fn decoded(descriptor: &MessageDescriptor, text: &str) -> Option<(Vec<u8>, DynamicMessage)> {
    let id = SCHEMA.find(descriptor.full_name()).unwrap();
    let mut wire = Vec::new();
    decode::message(&SCHEMA, id, text, Unknown::Refuse, &mut wire).ok()?;
    let message = DynamicMessage::decode(descriptor.clone(), &*wire).unwrap();
    Some((wire, message))
}

fn printed(descriptor: &MessageDescriptor, wire: &[u8]) -> Result<String, TestCaseError> {
    let id = SCHEMA.find(descriptor.full_name()).unwrap();
    let mut json = Vec::new();
    print::message(&SCHEMA, id, wire, &mut json).map_err(|error| TestCaseError::fail(error.to_string()))?;
    Ok(String::from_utf8(json).unwrap())
}

#[test]
fn every_message_means_the_same_to_another_implementation() {
    search(messages(), |message| {
        let descriptor = message.0.descriptor();
        let theirs = message.json();
        let Some((wire, read)) = decoded(&descriptor, &theirs) else {
            return Err(TestCaseError::fail(format!("refused: {theirs}")));
        };
        prop_assert!(read == message.0, "{:?} for {}", Sample(read), theirs);
        let ours = printed(&descriptor, &wire)?;
        let mut deserializer = serde_json::Deserializer::from_str(&ours);
        let back = DynamicMessage::deserialize(descriptor, &mut deserializer);
        let back = back.map_err(|error| TestCaseError::fail(format!("{error}: {ours}")))?;
        prop_assert!(on_the_wire(&back) == message.0, "{}", ours);
        Ok(())
    });
}

#[test]
fn what_is_taken_of_a_changed_text_comes_back_and_is_what_others_read() {
    search((messages(), changes()), |(message, changes)| {
        let descriptor = message.0.descriptor();
        let text = changed(&message.json(), &changes);
        let Some((wire, read)) = decoded(&descriptor, &text) else {
            return Ok(());
        };
        let ours = printed(&descriptor, &wire)?;
        let Some((again, read_again)) = decoded(&descriptor, &ours) else {
            return Err(TestCaseError::fail(format!(
                "refused what it printed itself: {ours}"
            )));
        };
        prop_assert!(read_again == read, "{} became {}", text, ours);
        prop_assert_eq!(printed(&descriptor, &again)?, ours);
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let theirs = DynamicMessage::deserialize(descriptor, &mut deserializer);
        if let (Ok(theirs), Ok(())) = (theirs, deserializer.end()) {
            prop_assert!(read == on_the_wire(&theirs), "{} is {:?}", text, Sample(theirs));
        }
        Ok(())
    });
}
