//! What can go wrong in an answer, and how it changes the bytes.

use std::num::NonZeroUsize;
use std::ops::Range;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::sse::Events;

/// Something that goes wrong while an answer is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The connection is closed here, without an end of the body.
    Cut(At),
    /// The body ends here, properly, as if it were complete.
    Stop(At),
    /// Nothing more comes, but the connection stays (10 minutes at most).
    Hang(At),
    /// These bytes come in between: malformed or unknown events.
    Insert {
        /// Where.
        at: At,
        /// The bytes, e.g. `"data: {\n\n"`.
        raw: String,
    },
    /// These fields are missing in every JSON object sent: paths such as `/id` or
    /// `/choices/*/finish_reason`, where `*` is any index or key.
    Without(Vec<String>),
    /// These fields are added to every JSON object sent, in place of its own.
    With(Map<String, Value>),
    /// The body comes in pieces of so many bytes, with a wait before each.
    Trickle {
        /// The size of a piece.
        bytes: NonZeroUsize,
        /// The wait, in milliseconds.
        ms: u64,
    },
}

/// A place in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// After so many deltas of text, reasoning, refusal or arguments. In an answer that is not
    /// streamed, half way through.
    Deltas(usize),
    /// In the middle of the event with this delta, counted from 1. In an answer that is not streamed, half way
    /// through.
    Within(usize),
    /// After so many bytes of the body.
    Bytes(usize),
}

impl At {
    /// The offset in a body of `length` bytes with these `deltas`; `None` for a whole body.
    pub(super) fn offset(self, length: usize, deltas: Option<&[Range<usize>]>) -> usize {
        match (self, deltas) {
            (At::Bytes(bytes), _) => bytes.min(length),
            (At::Deltas(_) | At::Within(_), None) => length / 2,
            (At::Deltas(0), Some(deltas)) => deltas.first().map_or(length, |first| first.start),
            (At::Deltas(count), Some(deltas)) => deltas.get(count - 1).map_or(length, |delta| delta.end),
            (At::Within(place), Some(deltas)) => deltas
                .get(place.saturating_sub(1))
                .map_or(length, |delta| usize::midpoint(delta.start, delta.end)),
        }
    }
}

/// What cannot go wrong in one answer, behind its place.
pub(super) fn check(faults: &[Fault]) -> Result<(), String> {
    let mut has_end = false;
    for (index, fault) in faults.iter().enumerate() {
        let refuse = |what: &str| Err(format!("faults[{index}]: {what}"));
        let place = match fault {
            Fault::Cut(at) | Fault::Stop(at) | Fault::Hang(at) => {
                if std::mem::replace(&mut has_end, true) {
                    return refuse("the answer ends twice: of `cut`, `stop` and `hang` there can be one");
                }
                Some(at)
            }
            Fault::Insert { at, .. } => Some(at),
            Fault::Without(paths) if paths.iter().any(|path| !path.starts_with('/')) => {
                return refuse("a path begins with `/`");
            }
            Fault::Without(_) | Fault::With(_) | Fault::Trickle { .. } => None,
        };
        if place == Some(&At::Within(0)) {
            return refuse("`within` counts from 1");
        }
    }
    Ok(())
}

/// Whether `faults` change the JSON itself.
fn rewrite_json(faults: &[Fault]) -> bool {
    faults
        .iter()
        .any(|fault| matches!(fault, Fault::Without(_) | Fault::With(_)))
}

/// The stream with the fields that the faults take away and add.
pub(super) fn rewrite_events(events: Events, faults: &[Fault]) -> serde_json::Result<Events> {
    if !rewrite_json(faults) {
        return Ok(events);
    }
    let mut rewritten = Events::new();
    let mut start = 0;
    // JSON has no raw line breaks, so that an empty line is always the end of an event.
    while let Some(length) = events.bytes[start..].windows(2).position(|pair| pair == b"\n\n") {
        let end = start + length + 2;
        let rewritten_start = rewritten.bytes.len();
        rewrite_event(&events.bytes[start..end], faults, &mut rewritten)?;
        if events.deltas.iter().any(|delta| delta.start == start) {
            rewritten.mark_delta(rewritten_start);
        }
        start = end;
    }
    Ok(rewritten)
}

fn rewrite_event(event: &[u8], faults: &[Fault], into: &mut Events) -> serde_json::Result<()> {
    const FIELD: &[u8] = b"data: ";
    let data = event
        .windows(FIELD.len())
        .position(|window| window == FIELD)
        .map(|at| at + FIELD.len());
    let json = data.map(|data| serde_json::from_slice::<Value>(&event[data..]));
    match (data, json) {
        (Some(data), Some(Ok(mut json))) => {
            rewrite(&mut json, faults);
            into.bytes.extend_from_slice(&event[..data - FIELD.len()]);
            into.unnamed(&json)
        }
        // `[DONE]` is no JSON.
        _ => {
            into.bytes.extend_from_slice(event);
            Ok(())
        }
    }
}

/// The whole answer with the fields that the faults take away and add.
pub(super) fn rewrite_whole(body: Vec<u8>, faults: &[Fault]) -> serde_json::Result<Vec<u8>> {
    if !rewrite_json(faults) {
        return Ok(body);
    }
    let mut json: Value = serde_json::from_slice(&body)?;
    rewrite(&mut json, faults);
    serde_json::to_vec(&json)
}

fn rewrite(json: &mut Value, faults: &[Fault]) {
    for fault in faults {
        match fault {
            Fault::Without(paths) => {
                for path in paths {
                    let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
                    remove(json, &steps);
                }
            }
            Fault::With(fields) => {
                if let Value::Object(object) = json {
                    object.extend(fields.clone());
                }
            }
            Fault::Cut(_)
            | Fault::Stop(_)
            | Fault::Hang(_)
            | Fault::Insert { .. }
            | Fault::Trickle { .. } => {}
        }
    }
}

fn remove(json: &mut Value, steps: &[&str]) {
    match (json, steps) {
        (Value::Object(object), [last]) => {
            object.shift_remove(*last);
        }
        (Value::Object(object), ["*", rest @ ..]) => {
            object.values_mut().for_each(|value| remove(value, rest))
        }
        (Value::Object(object), [key, rest @ ..]) => {
            if let Some(value) = object.get_mut(*key) {
                remove(value, rest);
            }
        }
        (Value::Array(array), ["*", rest @ ..]) => array.iter_mut().for_each(|value| remove(value, rest)),
        (Value::Array(array), [index, rest @ ..]) => {
            if let Some(value) = index.parse::<usize>().ok().and_then(|index| array.get_mut(index)) {
                remove(value, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_taken_away_by_path_and_added_at_the_top() {
        let mut json =
            json!({"id": 1, "choices": [{"finish_reason": null, "index": 0}, {"finish_reason": "stop"}]});
        let faults = [
            Fault::Without(vec![
                "/id".into(),
                "/choices/*/finish_reason".into(),
                "/absent/x".into(),
            ]),
            Fault::With(Map::from_iter([("brand_new".to_owned(), json!([1]))])),
        ];
        rewrite(&mut json, &faults);
        assert_eq!(json, json!({"choices": [{"index": 0}, {}], "brand_new": [1]}));
    }

    #[test]
    fn rewritten_events_keep_their_names_and_their_deltas() {
        let mut events = Events::new();
        events.named("a", &json!({"id": 1, "x": 2})).unwrap();
        let start = events.bytes.len();
        events.unnamed(&json!({"id": 1})).unwrap();
        events.mark_delta(start);
        events.done();
        let rewritten = rewrite_events(events, &[Fault::Without(vec!["/id".into()])]).unwrap();
        let text = String::from_utf8(rewritten.bytes).unwrap();
        assert_eq!(text, "event: a\ndata: {\"x\":2}\n\ndata: {}\n\ndata: [DONE]\n\n");
        assert_eq!(&text[rewritten.deltas[0].clone()], "data: {}\n\n");
    }
}
