//! What holds of every run, whatever happens to it: for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::event::{Body, Event};
use super::id::{CallId, MessageId};
use super::message::{Message, Part};
use super::ports::Tokenizer;
use super::record::State;

/// Counts every four bytes as a token.
#[derive(Debug)]
pub(super) struct Quarters;

impl Tokenizer for Quarters {
    fn count(&self, text: &str) -> u64 {
        text.len().div_ceil(4) as u64
    }
}

/// Numbers grow by one from 1; the only gap is before a turn that begins again.
pub(super) fn check_sequences(events: &[Arc<Event>]) -> Result<(), TestCaseError> {
    let mut last = 0;
    for event in events {
        if let Body::TurnRestarted { first_void } = event.body {
            prop_assert!(event.sequence > last, "no number is used twice");
            prop_assert!(
                first_void <= last + 1,
                "what is void has been seen, or follows it"
            );
        } else {
            prop_assert_eq!(
                event.sequence,
                last + 1,
                "the only gap is before a restarted turn"
            );
        }
        last = event.sequence;
    }
    Ok(())
}

/// What is left of a run's events when those that are void are left out.
fn in_force(events: &[Arc<Event>]) -> Vec<&Event> {
    let mut in_force: Vec<&Event> = Vec::new();
    for event in events {
        if let Body::TurnRestarted { first_void } = event.body {
            in_force.retain(|event| event.sequence < first_void);
        }
        in_force.push(event);
    }
    in_force
}

/// What holds of every event of a run that is over, and of the messages of its thread.
pub(super) fn check_events(events: &[Arc<Event>], saved: &[Arc<Message>]) -> Result<(), TestCaseError> {
    let events = in_force(events);
    let mut begun = BTreeSet::new();
    let mut texts: BTreeMap<MessageId, String> = BTreeMap::new();
    let mut refusals: BTreeMap<MessageId, String> = BTreeMap::new();
    let mut thoughts: BTreeMap<MessageId, String> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut state = "none";
    for (place, event) in events.iter().enumerate() {
        let is_last = place + 1 == events.len();
        prop_assert_eq!(
            matches!(event.body, Body::Ended(_)),
            is_last,
            "one terminal event, the last"
        );
        match &event.body {
            Body::TextDelta { message, text } => texts.entry(message.clone()).or_default().push_str(text),
            Body::RefusalDelta { message, text } => {
                refusals.entry(message.clone()).or_default().push_str(text);
            }
            Body::ReasoningDelta { message, text } => {
                thoughts.entry(message.clone()).or_default().push_str(text);
            }
            Body::MessageCompleted(message) => {
                let deltas = texts.remove(&message.id).unwrap_or_default();
                prop_assert_eq!(deltas, message.text(), "the deltas make up the message");
                let refused = refusals.remove(&message.id).unwrap_or_default();
                prop_assert_eq!(refused, message.refusal(), "and the refusal");
                let thought = thoughts.remove(&message.id).unwrap_or_default();
                let has_said = !message.content.is_empty();
                prop_assert!(
                    !has_said || thought == message.reasoning(),
                    "and what was thought"
                );
                let is_saved = message.content.is_empty() || saved.iter().any(|saved| saved == message);
                prop_assert!(is_saved, "a message is written before it is shown whole");
            }
            Body::StateChanged { from, to } => {
                prop_assert_eq!(from.as_ref().map_or("none", State::name), state);
                state = to.name();
                prop_assert!(
                    state != "requires_action" || !asked.is_empty(),
                    "it waits for something"
                );
            }
            Body::ActionRequired(action) => prop_assert!(asked.insert(action.id.clone())),
            Body::ActionResolved { action, .. } => prop_assert!(asked.remove(action), "resolved once"),
            Body::ToolCallStarted { call, .. } => prop_assert!(begun.insert(call.clone())),
            Body::ToolCallCompleted { call, .. } => prop_assert!(begun.remove(call), "answered once"),
            _ => {}
        }
    }
    prop_assert!(asked.is_empty(), "everything that was asked is resolved");
    prop_assert!(begun.is_empty(), "every call that began is answered");
    prop_assert!(texts.is_empty(), "every message that began is completed");
    prop_assert!(refusals.is_empty() && thoughts.is_empty(), "in all that it says");
    Ok(())
}

/// A message that asks for calls is followed by one that answers them all, in order.
pub(super) fn check_answered(messages: &[Arc<Message>]) -> Result<(), TestCaseError> {
    for (place, message) in messages.iter().enumerate() {
        let asked: Vec<&CallId> = message.tool_calls().map(|call| &call.id).collect();
        if asked.is_empty() {
            continue;
        }
        let answers = messages
            .get(place + 1)
            .map(|answer| answer.content.as_slice())
            .unwrap_or_default();
        let answered: Vec<&CallId> = answers
            .iter()
            .filter_map(|part| match part {
                Part::ToolOutput(output) => Some(&output.call),
                _ => None,
            })
            .collect();
        prop_assert_eq!(asked, answered);
    }
    Ok(())
}
