//! What comes in and what goes out, per dialect, as tables: one line a case, wherever the bytes are split.

use super::Decoder;
use crate::model::Dialect::{self, Assistants, ChatCompletions, Responses};
use crate::model::openai::decode::Events;
use crate::model::openai::error::Failure;
use crate::model::openai::sse;
use crate::run::message::{Annotation, Cited, Reasoning, Usage};
use crate::run::ports::{Finish, ModelEvent};

mod assistants;
mod chat_completions;
mod responses;

/// A shorthand for what came of an answer, deltas joined: `"text"`, `?reasoning`, `!refusal`, `call0=name`,
/// `args0={}`, `usage=in/cached/out/reasoning`, and the end.
fn shorthand(events: &Events, end: &Result<(), Failure>) -> String {
    let mut words: Vec<(String, String)> = Vec::new();
    for event in events {
        let (key, text) = match event {
            ModelEvent::TextDelta(text) => ("text=".to_owned(), text.clone()),
            ModelEvent::ReasoningDelta(text) => ("reasoning=".to_owned(), text.clone()),
            ModelEvent::RefusalDelta(text) => ("refusal=".to_owned(), text.clone()),
            ModelEvent::Reasoning(Reasoning {
                summary,
                encrypted,
                id,
                ..
            }) => ("reasoned=".to_owned(), format!("{id}/{encrypted}/{summary}")),
            ModelEvent::Annotation(annotation) => ("cites=".to_owned(), cited(annotation)),
            ModelEvent::Continuation(continuation) => ("goes_on=".to_owned(), continuation.state.to_string()),
            ModelEvent::ToolCallStarted { index, tool } => (format!("call{index}="), tool.clone()),
            ModelEvent::ToolCallArgumentsDelta { index, json } => (format!("args{index}="), json.clone()),
            ModelEvent::Usage(Usage {
                input_tokens,
                cached_tokens,
                output_tokens,
                reasoning_tokens,
                ..
            }) => (
                "usage=".to_owned(),
                format!("{input_tokens}/{cached_tokens}/{output_tokens}/{reasoning_tokens}"),
            ),
            ModelEvent::Finished(Finish::Stop) => ("stop".to_owned(), String::new()),
            ModelEvent::Finished(Finish::Length) => ("length".to_owned(), String::new()),
            ModelEvent::Unknown(count) => ("unknown=".to_owned(), count.to_string()),
            ModelEvent::Sent(_) => ("sent".to_owned(), String::new()),
            ModelEvent::Attempt(_) => ("attempt".to_owned(), String::new()),
            ModelEvent::Finished(Finish::ContentFilter) => ("content_filter".to_owned(), String::new()),
        };
        match words.last_mut() {
            Some((last, joined)) if *last == key => joined.push_str(&text),
            _ => words.push((key, text)),
        }
    }
    if let Err(failure) = end {
        words.push(("error=".to_owned(), failure.reason().as_str().to_owned()));
    }
    let words: Vec<String> = words.into_iter().map(|(key, text)| key + &text).collect();
    words.join(" ")
}

fn cited(annotation: &Annotation) -> String {
    let source = match &annotation.source {
        Cited::Url { url, title } => format!("{url}({title})"),
        Cited::File { id, name, container } => format!("{id}({name})in({container})"),
    };
    let place = |place: Option<u64>| place.map(|place| place.to_string()).unwrap_or_default();
    format!("{source}@{}..{}", place(annotation.start), place(annotation.end))
}

fn decode(dialect: Dialect, pieces: &[&[u8]]) -> String {
    let mut read = Read::new(dialect);
    for piece in pieces {
        read.feed(piece);
    }
    read.told()
}

/// An answer as far as it has come.
#[derive(Clone)]
pub(super) struct Read {
    decoder: Decoder,
    stream: sse::Decoder,
    events: Events,
    failed: Result<(), Failure>,
}

impl Read {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            decoder: Decoder::new(dialect),
            stream: sse::Decoder::default(),
            events: Events::new(),
            failed: Ok(()),
        }
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        if self.failed.is_ok() {
            let (decoder, events) = (&mut self.decoder, &mut self.events);
            self.failed = self.stream.feed(piece, |event| decoder.event(&event, events));
        }
    }

    /// What came of it, if nothing more comes.
    pub(super) fn told(self) -> String {
        let Self {
            mut decoder,
            mut stream,
            mut events,
            failed,
        } = self;
        let end = failed
            .and_then(|()| stream.finish(|event| decoder.event(&event, &mut events)))
            .and_then(|()| decoder.end(&mut events));
        shorthand(&events, &end)
    }
}

/// Every line of `events` is the data of one event; one that begins with `event:` is as it stands.
fn check(dialect: Dialect, events: &[&str], expected: &str) {
    let text: String = events
        .iter()
        .map(|event| match event.strip_prefix("event:") {
            Some(_) => format!("{event}\n\n"),
            None => format!("data: {event}\n\n"),
        })
        .collect();
    let bytes = text.as_bytes();
    assert_eq!(decode(dialect, &[bytes]), expected, "{text}");
    for at in 0..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(decode(dialect, &[head, tail]), expected, "split at {at}: {text}");
    }
}

fn check_whole(dialect: Dialect, body: &str, expected: &str) {
    let mut events = Events::new();
    let end = Decoder::new(dialect).whole(body.as_bytes(), &mut events);
    assert_eq!(shorthand(&events, &end), expected, "{body}");
}

#[test]
fn what_a_text_refers_to_is_counted_in_all_of_it() {
    let url = r#"{"type":"url_citation","url":"u","title":"t","start_index":0,"end_index":1}"#;
    let nested =
        r#"{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}"#;
    let file = r#"{"type":"file_citation","file_id":"f","filename":"n","index":3}"#;
    let part = |text: &str, annotations: &str| {
        format!(r#"{{"type":"output_text","text":"{text}","annotations":[{annotations}]}}"#)
    };
    let message = format!(
        r#"{{"type":"message","content":[{},{}]}}"#,
        part("Hé", ""),
        part("x", url)
    );
    // The same of the Assistants API.
    let cited = |kind: &str, file: &str, index: u64, start: u64, end: u64| {
        format!(
            r#"{{"index":{index},"type":"{kind}","text":"?","start_index":{start},"end_index":{end},"{kind}":{{"file_id":"{file}"}}}}"#
        )
    };
    let text = |text: &str, annotations: &str| {
        format!(r#""type":"text","text":{{"value":"{text}","annotations":[{annotations}]}}"#)
    };
    let message_delta = |id: &str, index: u64, value: &str, annotations: &str| {
        let text = text(value, annotations);
        format!(
            r#"{{"object":"thread.message.delta","id":"{id}","delta":{{"content":[{{"index":{index},{text}}}]}}}}"#
        )
    };
    let message_done = |id: &str, parts: &[(&str, &str)]| {
        let parts = parts
            .iter()
            .map(|(value, annotations)| format!("{{{}}}", text(value, annotations)));
        let parts: Vec<String> = parts.collect();
        let parts = parts.join(",");
        format!(r#"{{"object":"thread.message","id":"{id}","status":"completed","content":[{parts}]}}"#)
    };
    let done = r#"{"object":"thread.run","status":"completed"}"#;
    let table = [
        // Live, in the second part; the message that is whole says them again, and one more.
        (
            Responses,
            vec![
                r#"{"type":"response.content_part.added","content_index":0}"#.to_owned(),
                r#"{"type":"response.output_text.delta","delta":"Hé"}"#.to_owned(),
                r#"{"type":"response.output_text.done","text":"Hé"}"#.to_owned(),
                r#"{"type":"response.content_part.added","content_index":1}"#.to_owned(),
                r#"{"type":"response.output_text.delta","delta":"x"}"#.to_owned(),
                format!(r#"{{"type":"response.output_text.annotation.added","annotation":{url}}}"#),
                format!(
                    r#"{{"type":"response.output_item.done","item":{{"type":"message","content":[{},{}]}}}}"#,
                    part("Hé", ""),
                    part("x", &format!("{url},{file}"))
                ),
                r#"{"type":"response.completed","response":{}}"#.to_owned(),
            ],
            "text=Héx cites=u(t)@2..3f(n)in()@.. stop",
        ),
        // Only in the last event.
        (
            Responses,
            vec![format!(
                r#"{{"type":"response.completed","response":{{"output":[{message}]}}}}"#
            )],
            "text=Héx cites=u(t)@2..3 stop",
        ),
        (
            ChatCompletions,
            vec![
                r#"{"choices":[{"delta":{"content":"Hé"}}]}"#.to_owned(),
                format!(
                    r#"{{"choices":[{{"delta":{{"annotations":[{nested},{{"type":"new"}},7]}},"finish_reason":"stop"}}]}}"#
                ),
            ],
            "text=Hé cites=u(t)@0..1 stop",
        ),
        // Told piece by piece, and in the whole message, in the second message of a run.
        (
            Assistants,
            vec![
                message_delta("m1", 0, "Hé", ""),
                message_done("m1", &[("Hé", "")]),
                message_delta("m2", 0, "x", ""),
                message_delta("m2", 0, "[1]", r#"{"index":0,"type":"file_citation"}"#),
                message_delta("m2", 0, "[2]", &cited("file_path", "g", 1, 4, 7)),
                message_done(
                    "m2",
                    &[(
                        "x[1][2]",
                        &[
                            cited("file_citation", "f", 0, 1, 4),
                            cited("file_path", "g", 1, 4, 7),
                        ]
                        .join(","),
                    )],
                ),
                done.to_owned(),
            ],
            "text=Héx[1][2] cites=g()in()@6..9f()in()@3..6 stop",
        ),
        // Only in the message that is whole, in its second part; in one without places.
        (
            Assistants,
            vec![
                message_done(
                    "m1",
                    &[("Hé", ""), ("x[1]", &cited("file_citation", "f", 0, 1, 4))],
                ),
                done.to_owned(),
            ],
            "text=Héx[1] cites=f()in()@3..6 stop",
        ),
        (
            Assistants,
            vec![
                message_done(
                    "",
                    &[(
                        "Hé",
                        r#"{"type":"file_path","file_path":{"file_id":"f"}},{"type":"new"}"#,
                    )],
                ),
                done.to_owned(),
            ],
            "text=Hé cites=f()in()@.. stop",
        ),
    ];
    for (dialect, events, expected) in table {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        check(dialect, &events, expected);
    }
}

#[test]
fn an_answer_in_one_piece_is_read_too() {
    let table = [
        (
            ChatCompletions,
            r#"{"choices":[{"message":{"role":"assistant","content":"a","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "text=a call0=f args0={} usage=1/0/2/0 stop",
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"message":{"content":"a"}}]}"#,
            "text=a stop",
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"h"}]},{"type":"text","text":"a"}]},"finish_reason":"stop"}]}"#,
            "reasoning=h reasoned=thinking// text=a stop",
        ),
        (ChatCompletions, r#"{"choices":[]}"#, "error=MODEL_UNAVAILABLE"),
        (
            ChatCompletions,
            r#"{"error":{"code":"invalid_api_key"}}"#,
            "error=MODEL_CREDENTIALS_REJECTED",
        ),
        (
            ChatCompletions,
            r#"{"code":429,"message":"x"}"#,
            "error=RATE_LIMITED",
        ),
        (
            Responses,
            r#"{"object":"response","status":"completed","error":null,"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
            "reasoned=//hm text=a usage=1/0/2/0 stop",
        ),
        (Responses, r#"{"status":"incomplete","output":[]}"#, "length"),
        (
            Responses,
            r#"{"status":"failed","error":{"code":"server_error"}}"#,
            "error=MODEL_UNAVAILABLE",
        ),
        (
            Responses,
            r#"{"status":"in_progress","output":[]}"#,
            "error=MODEL_UNAVAILABLE",
        ),
        (
            Responses,
            r#"{"error":{"code":"rate_limit_exceeded"}}"#,
            "error=RATE_LIMITED",
        ),
        (Responses, "{}", "error=MODEL_UNAVAILABLE"),
        (Responses, "[", "error=MODEL_UNAVAILABLE"),
    ];
    for (dialect, body, expected) in table {
        check_whole(dialect, body, expected);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::default())]

    /// Whatever comes in, wherever it is cut: no panic, and always the same events.
    #[test]
    fn any_bytes_mean_the_same_however_they_are_split(
        pieces in proptest::collection::vec(fragment(), 0..12),
        cuts in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 0..6),
    ) {
        let bytes = pieces.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let split: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        for dialect in [Responses, ChatCompletions, Assistants] {
            proptest::prop_assert_eq!(decode(dialect, &[&bytes]), decode(dialect, &split));
            let mut events = Events::new();
            let _ = Decoder::new(dialect).whole(&bytes, &mut events);
        }
    }
}

/// Things that streams are made of, sound and unsound.
fn fragment() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};

    const LINES: [&str; 14] = [
        "\n",
        "\r\n\r\n",
        ": ping\n\n",
        "event: error\n",
        "data: [DONE]\n\n",
        "data: {}\n\n",
        "data: {\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"h\u{e9}\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
        "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":7}}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"output\":[null]}}\n\n",
        "data: {\"object\":\"thread.message.delta\",\"delta\":{\"content\":[{\"text\":{\"value\":\"a\"}},{\"text\":[]}]}}\n\n",
        "data: {\"object\":\"thread.run\",\"status\":\"requires_action\",\"required_action\":{\"submit_tool_outputs\":{\"tool_calls\":[{}]}}}\n\n",
    ];
    prop_oneof![
        8 => proptest::sample::select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => Just("data: \u{20ac}".as_bytes().to_vec()),
    ]
}
