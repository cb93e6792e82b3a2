//! The stand-in: what is said without a script. It knows nothing of its own: it uses the tools that
//! it is offered and quotes what they answered.

mod arithmetic;

use serde_json::{Value, json};

use super::ask::{Ask, Choice};
use super::turn::{Answer, Item, RawAnswer, Speech};

/// The answer to a request.
pub(super) fn answer(ask: &Ask) -> Speech {
    if !ask.outputs.is_empty() {
        return Speech::of(Item::text(format!(
            "The tool answered: {}",
            ask.outputs.join("\n")
        )));
    }
    let call = asked_for(ask).or_else(|| forced(ask));
    Speech::of(call.unwrap_or_else(|| Item::text(format!("Mock reply to: {}", ask.message))))
}

/// The call that the message asks for, when a tool for it is offered.
fn asked_for(ask: &Ask) -> Option<Item> {
    let message = ask.message.trim();
    if let Some((name, arguments)) = named_call(message)
        && ask.tools.find(name) == Some(name)
    {
        return Some(Item::call(name, arguments.to_string()));
    }
    if let Some(text) = after_word(message, "echo")
        && let Some(tool) = ask.tools.find("echo")
    {
        return Some(Item::call(tool, json!({ "text": text }).to_string()));
    }
    let tool = ask.tools.find("calculate")?;
    let expression = arithmetic::find(message)?;
    Some(Item::call(tool, json!({ "expression": expression }).to_string()))
}

/// `call TOOL {…}`: a tool by its exact name, with these arguments.
fn named_call(message: &str) -> Option<(&str, Value)> {
    let rest = after_word(message, "call")?;
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
    let arguments: Value = serde_json::from_str(arguments).ok()?;
    arguments.is_object().then_some((name, arguments))
}

/// What follows `word` (in any case) at the beginning of `message`.
fn after_word<'a>(message: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = message.split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(word).then(|| rest.trim_start())
}

/// A call that `tool_choice` forces although the message asks for none.
fn forced(ask: &Ask) -> Option<Item> {
    let tool = match &ask.tools.choice {
        Choice::Named(name) => name,
        Choice::Required => ask.tools.names.first()?,
        Choice::Auto | Choice::None => return None,
    };
    Some(Item::call(tool.as_str(), "{}"))
}

const LONGEST_DELAY_MS: u64 = 10_000;

/// The answer that a `[[mock …]]` marker in the message orders, with the delay if it orders one.
pub(super) fn obey_markers(ask: &Ask) -> Option<(Answer, Option<u64>)> {
    let (_, rest) = ask.message.split_once("[[mock ")?;
    let (marker, _) = rest.split_once("]]")?;
    match marker.split_once('=')? {
        ("status", "failed") => Some((
            Answer::Raw(RawAnswer {
                status: 500,
                headers: Vec::new(),
                body: None,
            }),
            None,
        )),
        ("content", "image") => Some((Answer::Say(Speech::default()), None)),
        ("delay", ms) => {
            let delay_ms = ms.parse::<u64>().ok()?.min(LONGEST_DELAY_MS);
            Some((Answer::Say(answer(ask)), Some(delay_ms)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::ask::Offer;

    fn ask(message: &str, tools: &[&str]) -> Ask {
        let names = tools.iter().map(|name| (*name).to_owned()).collect();
        let tools = Offer {
            names,
            choice: Choice::Auto,
        };
        Ask {
            message: message.to_owned(),
            tools,
            ..Ask::default()
        }
    }

    fn said(ask: &Ask) -> String {
        match answer(ask).items.as_slice() {
            [Item::Text(text)] => text.text().into_owned(),
            [Item::Call(call)] => format!("{}{}", call.name, call.arguments.text()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_goes_to_the_tool_it_asks_for_if_that_is_offered() {
        let tools = ["fs__read", "echo", "calculate"];
        for (message, expected) in [
            ("what is 2+2*3?", r#"calculate{"expression":"2+2*3"}"#),
            ("Echo 2+2", r#"echo{"text":"2+2"}"#),
            ("echo", "Mock reply to: echo"),
            ("echoes of 1", "Mock reply to: echoes of 1"),
            ("hello", "Mock reply to: hello"),
            (r#"call fs__read {"path":"a b"}"#, r#"fs__read{"path":"a b"}"#),
            ("call fs__read", "fs__read{}"),
            ("call read {}", "Mock reply to: call read {}"),
            ("call fs__read [1]", "Mock reply to: call fs__read [1]"),
        ] {
            assert_eq!(said(&ask(message, &tools)), expected, "{message}");
        }
        assert_eq!(
            said(&ask("2+2", &["a__calculate"])),
            r#"a__calculate{"expression":"2+2"}"#
        );
        assert_eq!(said(&ask("2+2", &["recalculate"])), "Mock reply to: 2+2");
        assert_eq!(said(&ask("echo hi", &[])), "Mock reply to: echo hi");
    }

    #[test]
    fn tool_choice_forbids_and_forces_calls() {
        let mut none = ask("2+2", &["calculate"]);
        none.tools.choice = Choice::None;
        assert_eq!(said(&none), "Mock reply to: 2+2");
        let mut required = ask("hello", &["calculate", "echo"]);
        required.tools.choice = Choice::Required;
        assert_eq!(said(&required), "calculate{}");
        let mut named = ask("echo hi", &["calculate", "echo"]);
        named.tools.choice = Choice::Named("calculate".to_owned());
        assert_eq!(said(&named), "calculate{}");
    }

    #[test]
    fn an_answer_quotes_the_outputs_of_the_tools() {
        let mut after = ask("2+2", &["calculate"]);
        after.outputs = vec!["Result: 5".to_owned(), "Echo: x".to_owned()];
        assert_eq!(said(&after), "The tool answered: Result: 5\nEcho: x");
    }

    #[test]
    fn markers_are_obeyed() {
        let obeyed = |message: &str| obey_markers(&ask(message, &[]));
        assert!(
            matches!(obeyed("[[mock status=failed]]"), Some((Answer::Raw(raw), None)) if raw.status == 500)
        );
        assert!(
            matches!(obeyed("[[mock content=image]]"), Some((Answer::Say(said), None)) if said.items.is_empty())
        );
        assert!(matches!(
            obeyed("a [[mock delay=200]]"),
            Some((Answer::Say(_), Some(200)))
        ));
        assert!(matches!(
            obeyed("[[mock delay=99999999]]"),
            Some((Answer::Say(_), Some(LONGEST_DELAY_MS)))
        ));
        assert!(obeyed("[[mock delay=soon]]").is_none());
        assert!(obeyed("mock status=failed").is_none());
    }
}
