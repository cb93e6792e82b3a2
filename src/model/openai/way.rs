//! What one request asks of its provider beside the answer, and what is left out, or said otherwise, when it cannot.

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
    /// What is new is sent, in the conversation there that has the rest; where none has just that, as the next one.
    InConversation,
    /// The whole history is sent, in a conversation that begins with it.
    NewConversation,
    /// The whole history is sent in Chat Completions, which keeps nothing, with the token limit under this name.
    Limited(LimitName),
    /// The same under the other name, because the model has just refused the usual one.
    Renamed(LimitName),
}

/// What Chat Completions calls the limit of an answer's tokens. No server is told both: some refuse a field that they do
/// not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitName {
    /// The older name, which is the only one that many compatible servers know.
    MaxTokens,
    /// The newer one, without which OpenAI's reasoning models refuse, wherever they are served.
    MaxCompletionTokens,
}

/// The ways of one provider.
#[derive(Debug)]
pub(super) struct Ways {
    usual: Usual,
    /// Models that are asked otherwise: they do not encrypt reasoning, or know the token limit under the other name. They
    /// say so with an error, and only when they are asked.
    others: Mutex<HashSet<String>>,
}

/// What a model is asked first.
#[derive(Clone, Copy, Debug)]
enum Usual {
    State(State),
    Limit(LimitName),
}

impl Ways {
    /// Ways that keep the state of a conversation there.
    pub(super) fn new(state: State) -> Self {
        Self::usually(Usual::State(state))
    }

    /// Ways of Chat Completions, where the token limit has this name first.
    pub(super) fn limited(name: LimitName) -> Self {
        Self::usually(Usual::Limit(name))
    }

    fn usually(usual: Usual) -> Self {
        Self {
            usual,
            others: Mutex::default(),
        }
    }

    /// Whether conversations are held there.
    pub(super) fn hold_conversations(&self) -> bool {
        matches!(self.usual, Usual::State(State::Conversation))
    }

    /// The way to ask this model, in a thread or beside one: what is asked beside one is no part of a conversation.
    pub(super) fn of(&self, model: &str, is_in_thread: bool) -> Way {
        let is_other = || self.others().contains(model);
        match self.usual {
            Usual::State(State::PreviousResponse) => Way::Kept,
            Usual::State(State::Conversation) if is_in_thread => Way::InConversation,
            Usual::State(State::Stateless | State::Conversation) if is_other() => Way::Plain,
            Usual::State(State::Stateless | State::Conversation) => Way::Encrypted,
            Usual::Limit(name) if is_other() => Way::Limited(name.other()),
            Usual::Limit(name) => Way::Limited(name),
        }
    }

    /// The way to ask this model again after it has refused this one; none when that was not for the way.
    pub(super) fn after(&self, way: Way, model: &str, failure: &Failure) -> Option<Way> {
        match way {
            Way::Encrypted if failure.is_about_encryption() => {
                self.others().insert(model.to_owned());
                Some(Way::Plain)
            }
            Way::Limited(name) if failure.is_about_limit(name) => {
                // Back to the usual one is possible too: a deployment may get another model.
                match matches!(self.usual, Usual::Limit(usual) if usual == name) {
                    true => self.others().insert(model.to_owned()),
                    false => self.others().remove(model),
                };
                Some(Way::Renamed(name.other()))
            }
            Way::Kept if failure.is_about_a_lost_response() => Some(Way::Keep),
            Way::InConversation if failure.is_about_a_lost_conversation() => Some(Way::NewConversation),
            // What the provider has kept is longer than what is given here, where something of that is left out.
            Way::Kept if failure.reason() == Reason::ContextLengthExceeded => Some(Way::Keep),
            _ => None,
        }
    }

    fn others(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    /// Whether the provider keeps the response.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Way::Kept | Way::Keep) || self.speaks_in_conversations()
    }

    /// Whether the response becomes a part of a conversation there.
    pub(super) fn speaks_in_conversations(self) -> bool {
        matches!(self, Way::InConversation | Way::NewConversation)
    }

    /// What the token limit is called, in Chat Completions.
    pub(super) fn limit_name(self) -> Option<LimitName> {
        match self {
            Way::Limited(name) | Way::Renamed(name) => Some(name),
            Way::Encrypted
            | Way::Plain
            | Way::Kept
            | Way::Keep
            | Way::InConversation
            | Way::NewConversation => None,
        }
    }
}

impl LimitName {
    /// The field.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            LimitName::MaxTokens => "max_tokens",
            LimitName::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    fn other(self) -> Self {
        match self {
            LimitName::MaxTokens => LimitName::MaxCompletionTokens,
            LimitName::MaxCompletionTokens => LimitName::MaxTokens,
        }
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
        let ways = Ways::new(State::Stateless);
        let other = refused(
            400,
            r#"{"error":{"message":"bad temperature","param":"temperature"}}"#,
        );
        let not_supported = refused(
            400,
            r#"{"error":{"message":"Encrypted content is not supported with this model."}}"#,
        );
        assert_eq!(ways.of("m", true), Way::Encrypted);
        assert_eq!(ways.after(Way::Encrypted, "m", &other), None);
        assert_eq!(ways.after(Way::Encrypted, "m", &not_supported), Some(Way::Plain));
        assert_eq!(ways.after(Way::Plain, "m", &not_supported), None);
        assert_eq!(ways.of("m", true), Way::Plain);
        assert_eq!(ways.of("n", true), Way::Encrypted);
    }

    #[test]
    fn a_token_limit_is_renamed_for_a_model_that_refuses_its_name_once_a_turn() {
        use LimitName::{MaxCompletionTokens, MaxTokens};
        // OpenAI's and Azure's; Mistral's.
        let older = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#;
        let newer = r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":9}]},"type":"invalid_request_error"}"#;
        let (older, newer) = (refused(400, older), refused(422, newer));
        let ways = Ways::limited(MaxTokens);
        assert_eq!(ways.of("m", true), Way::Limited(MaxTokens));
        assert_eq!(ways.after(Way::Limited(MaxTokens), "m", &newer), None);
        assert_eq!(
            ways.after(Way::Limited(MaxTokens), "m", &older),
            Some(Way::Renamed(MaxCompletionTokens))
        );
        // Another turn may be refused at the same time.
        assert!(ways.after(Way::Limited(MaxTokens), "m", &older).is_some());
        assert_eq!(ways.after(Way::Renamed(MaxCompletionTokens), "m", &newer), None);
        assert_eq!(ways.of("m", true), Way::Limited(MaxCompletionTokens));
        assert_eq!(ways.of("n", true), Way::Limited(MaxTokens));
        assert_eq!(
            ways.after(Way::Limited(MaxCompletionTokens), "m", &newer),
            Some(Way::Renamed(MaxTokens))
        );
        assert_eq!(ways.of("m", true), Way::Limited(MaxTokens));
    }

    #[test]
    fn a_conversation_that_is_lost_is_begun_anew_once_and_there_is_none_beside_a_thread() {
        let ways = Ways::new(State::Conversation);
        let lost = [
            refused(
                404,
                r#"{"error":{"message":"Conversation with id 'conv_1' not found."}}"#,
            ),
            refused(409, r#"{"error":{"code":"conversation_locked","message":"x"}}"#),
        ];
        for lost in lost {
            assert_eq!(ways.of("m", true), Way::InConversation);
            assert_eq!(
                ways.after(Way::InConversation, "m", &lost),
                Some(Way::NewConversation)
            );
            assert_eq!(ways.after(Way::NewConversation, "m", &lost), None);
        }
        let others = [
            refused(404, r#"{"error":{"message":"no such model"}}"#),
            refused(500, r#"{"error":{"message":"the conversation is broken"}}"#),
            refused(
                400,
                r#"{"error":{"code":"context_length_exceeded","message":"the conversation is too long"}}"#,
            ),
        ];
        for other in others {
            assert_eq!(ways.after(Way::InConversation, "m", &other), None, "{other:?}");
        }
        assert_eq!(ways.of("m", false), Way::Encrypted);
    }

    /// Refusals that another name would not help against.
    #[test]
    fn a_token_limit_that_does_not_fit_keeps_its_name() {
        let table = [
            (
                400,
                r#"{"error":{"message":"max_tokens is too large: 5000. This model supports at most 4096 completion tokens.","param":"max_tokens"}}"#,
            ),
            // vLLM.
            (
                400,
                r#"{"error":{"message":"'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8192 tokens and your request has 10 input tokens.","code":400}}"#,
            ),
            (
                500,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}"#,
            ),
        ];
        for (status, body) in table {
            assert!(
                !refused(status, body).is_about_limit(LimitName::MaxTokens),
                "{body}"
            );
        }
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
            assert_eq!(ways.of("m", true), Way::Kept);
            assert_eq!(ways.after(Way::Kept, "m", &lost), Some(Way::Keep));
            assert_eq!(ways.after(Way::Keep, "m", &lost), None);
        }
        assert_eq!(ways.after(Way::Kept, "m", &refused(404, "no such model")), None);
    }
}
