//! What one request asks of its provider beside the answer, and what is left out when it cannot.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::model::State;
use crate::run::error::Reason;

use super::error::Failure;

/// How a turn builds on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The whole history is sent. Nothing is kept at the provider, which gives its reasoning encrypted instead.
    Encrypted,
    /// The same without reasoning: the model has none, or does not encrypt it.
    Plain,
    /// What is new is sent, behind a response that the provider has kept.
    Kept,
    /// The whole history is sent, and the response is kept.
    Keep,
}

/// The ways of one provider.
#[derive(Debug, Default)]
pub(super) struct Ways {
    state: State,
    /// Models that do not encrypt reasoning. They say so with an error, and only when they are asked.
    plain: Mutex<HashSet<String>>,
}

impl Ways {
    /// Ways that keep the state of a conversation there.
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            plain: Mutex::default(),
        }
    }

    /// The way to ask this model.
    pub(super) fn of(&self, model: &str) -> Way {
        match self.state {
            State::PreviousResponse => Way::Kept,
            State::Stateless if self.plain().contains(model) => Way::Plain,
            State::Stateless => Way::Encrypted,
        }
    }

    /// The way to ask this model again after it has refused this one; none when that was not for the way.
    pub(super) fn after(&self, way: Way, model: &str, failure: &Failure) -> Option<Way> {
        match way {
            Way::Encrypted if failure.is_about_encryption() => {
                self.plain().insert(model.to_owned());
                Some(Way::Plain)
            }
            Way::Kept if failure.is_about_a_lost_response() => Some(Way::Keep),
            // What the provider has kept is longer than what is given here, where something of that is left out.
            Way::Kept if failure.reason() == Reason::ContextLengthExceeded => Some(Way::Keep),
            _ => None,
        }
    }

    fn plain(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    /// Whether the provider keeps the response.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Way::Kept | Way::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Failure {
        Failure::from_response(status, body.as_bytes())
    }

    #[test]
    fn a_model_that_does_not_encrypt_is_asked_once() {
        let ways = Ways::default();
        let other = refused(
            400,
            r#"{"error":{"message":"bad temperature","param":"temperature"}}"#,
        );
        let not_supported = refused(
            400,
            r#"{"error":{"message":"Encrypted content is not supported with this model."}}"#,
        );
        assert_eq!(ways.of("m"), Way::Encrypted);
        assert_eq!(ways.after(Way::Encrypted, "m", &other), None);
        assert_eq!(ways.after(Way::Encrypted, "m", &not_supported), Some(Way::Plain));
        assert_eq!(ways.after(Way::Plain, "m", &not_supported), None);
        assert_eq!(ways.of("m"), Way::Plain);
        assert_eq!(ways.of("n"), Way::Encrypted);
    }

    #[test]
    fn a_response_that_is_lost_costs_the_whole_history_once() {
        let ways = Ways::new(State::PreviousResponse);
        let lost = refused(
            400,
            r#"{"error":{"code":"previous_response_not_found","param":"previous_response_id","message":"x"}}"#,
        );
        let said = refused(
            404,
            r#"{"error":{"message":"Previous response with id 'r' not found."}}"#,
        );
        // One that has become too long may be shorter here.
        let long = refused(
            400,
            r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#,
        );
        for lost in [lost, said, long] {
            assert_eq!(ways.of("m"), Way::Kept);
            assert_eq!(ways.after(Way::Kept, "m", &lost), Some(Way::Keep));
            assert_eq!(ways.after(Way::Keep, "m", &lost), None);
        }
        assert_eq!(ways.after(Way::Kept, "m", &refused(404, "no such model")), None);
    }
}
