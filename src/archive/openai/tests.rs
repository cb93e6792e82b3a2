use serde_json::json;

use super::*;
use crate::run::message::{Media, MediaSource, Part};
use crate::run::ports::WholeThread;
use crate::run::record::{IncompleteReason, Outcome, State};
use crate::run::truncation::{Strategy, Truncation};

fn thread(text: &str) -> WholeThread {
    let (mut items, _) = read(text).unwrap();
    match items.remove(0) {
        Restore::Thread(whole) => whole,
        Restore::Assistant(record) => panic!("{record:?}"),
    }
}

fn message(id: &str, time: u64) -> serde_json::Value {
    json!({
        "id": id, "object": "thread.message", "created_at": time, "thread_id": "thread_1", "role": "user",
        "content": [{"type": "text", "text": {"value": id, "annotations": []}}],
    })
}

#[test]
fn messages_stand_in_the_order_in_which_they_were_said_however_they_were_saved() {
    let [a, b, c] = [message("a", 5), message("b", 5), message("c", 6)];
    let page =
        |data: &[&serde_json::Value]| json!({"object": "list", "data": data, "has_more": false}).to_string();
    let cases = [
        // Newest first, as the API lists unless it is told otherwise; equal times are told apart by the list's order.
        (page(&[&c, &b, &a]), "a b c"),
        (page(&[&b, &a]), "a b"),
        // Oldest first, because somebody asked for it.
        (page(&[&a, &b, &c]), "a b c"),
        // Two pages of one list.
        (format!("{}\n{}", page(&[&c, &b]), page(&[&a])), "a b c"),
        // Saved one by one, or as an array.
        (format!("{a}\n{b}\n"), "a b"),
        (json!([c, b, a]).to_string(), "a b c"),
        (serde_json::to_string_pretty(&json!([a, b])).unwrap(), "a b"),
        // In objects of somebody's own.
        (json!({"saved": {"messages": [a, b]}}).to_string(), "a b"),
        (
            json!({"id": "thread_1", "object": "thread", "created_at": 1, "messages": [a, b]}).to_string(),
            "a b",
        ),
        // What is there twice is there once.
        (format!("{}\n{a}", page(&[&b, &a])), "a b"),
    ];
    for (text, expected) in cases {
        let whole = thread(&text);
        let names: Vec<&str> = whole.messages.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{text}");
    }
}

#[test]
fn parts_are_carried_over_or_told_in_words() {
    let image = |source, mime_type: &str| {
        Part::Image(Media {
            detail: None,
            source,
            mime_type: mime_type.to_owned(),
            name: String::new(),
        })
    };
    let text = |text: &str| Part::Text(text.to_owned());
    let cases = [
        ("user", json!("plain"), vec![text("plain")]),
        (
            "user",
            json!([{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]),
            vec![image(MediaSource::Url("https://a.example/b.png".to_owned()), "")],
        ),
        (
            "user",
            json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]),
            vec![image(MediaSource::Base64("AAAA".to_owned()), "image/png")],
        ),
        (
            "assistant",
            json!([{"type": "image_file", "image_file": {"file_id": "file-1"}}]),
            vec![text("[image file file-1, not imported]")],
        ),
        (
            "assistant",
            json!([{"type": "refusal", "refusal": "no"}]),
            vec![Part::Refusal("no".to_owned())],
        ),
        (
            "assistant",
            json!([{"type": "text", "text": {"value": "long", "annotations": ["x".repeat(600)]}}]),
            vec![
                text("long"),
                text(&format!("[citations: [\"{}\"]]", "x".repeat(600))),
            ],
        ),
    ];
    for (role, content, expected) in cases {
        let mut value = message("a", 1);
        value["role"] = role.into();
        value["content"] = content;
        assert_eq!(
            thread(&value.to_string()).messages[0].content,
            expected,
            "{value}"
        );
    }
}

#[test]
fn runs_end_as_they_ended_or_have_expired_since() {
    let cases = [
        ("completed", json!({"completed_at": 20}), "completed", 20),
        ("cancelled", json!({"cancelled_at": 21}), "cancelled", 21),
        ("expired", json!({"expires_at": 22}), "expired", 22),
        ("queued", json!({}), "expired", 610),
        ("requires_action", json!({"expires_at": 30}), "expired", 30),
        ("failed", json!({"failed_at": 23}), "failed", 23),
        ("incomplete", json!({"completed_at": 24}), "incomplete", 24),
    ];
    for (status, more, expected, end) in cases {
        let mut value = json!({
            "id": "run_1", "object": "thread.run", "created_at": 10, "thread_id": "thread_1", "assistant_id": "asst_1",
            "status": status, "model": "m", "instructions": "", "tools": [],
            "last_error": {"code": "rate_limit_exceeded", "message": "slow down"},
            "incomplete_details": {"reason": "max_prompt_tokens"},
        });
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let whole = thread(&value.to_string());
        let record = &whole.runs[0].record;
        let end_time = record
            .end_time
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert_eq!(
            (record.state.name(), end_time.as_secs()),
            (expected, end),
            "{status}"
        );
        match &record.state {
            State::Ended(Outcome::Failed(error)) => {
                assert_eq!(
                    (error.reason().as_str(), error.message()),
                    ("RATE_LIMITED", "slow down")
                );
            }
            State::Ended(Outcome::Incomplete(reason)) => assert_eq!(*reason, IncompleteReason::MaxTokens),
            _ => {}
        }
    }
}

#[test]
fn labels_of_the_user_are_never_replaced_and_what_does_not_fit_is_noted() {
    let full: serde_json::Map<String, serde_json::Value> =
        (0..16).map(|index| (format!("k{index}"), "v".into())).collect();
    let value = json!({
        "id": "asst_1", "object": "assistant", "created_at": 1, "name": null, "description": null, "model": "m",
        "instructions": null, "tools": [{"type": "code_interpreter"}], "metadata": full, "temperature": 0.5, "max_completion_tokens": 7,
    });
    let (items, notes) = read(&value.to_string()).unwrap();
    let Restore::Assistant(record) = &items[0] else {
        panic!("{items:?}");
    };
    assert_eq!(record.profile.metadata.len(), 16);
    assert_eq!(record.profile.allowed_tools, Some(Vec::new()));
    assert_eq!(record.profile.options.temperature, Some(0.5));
    let notes: Vec<String> = notes.lines().collect();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("description of tools: too long")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("settings of the model: have no effect")),
        "{notes:?}"
    );
}

#[test]
fn how_long_conversations_and_answers_were_bounded_is_carried_over_where_there_is_a_word_for_it() {
    let disabled = Truncation::default();
    let auto = |last_turns| Truncation {
        strategy: Strategy::Auto,
        last_turns,
        max_tokens: None,
    };
    let table = [
        (json!({}), disabled, None, ""),
        (
            json!({"truncation_strategy": {"type": "auto", "last_messages": null}}),
            auto(None),
            None,
            "",
        ),
        (
            json!({"truncation_strategy": {"type": "last_messages", "last_messages": 1}}),
            auto(Some(1)),
            None,
            "",
        ),
        (
            json!({"truncation_strategy": {"type": "last_messages", "last_messages": 5}}),
            disabled,
            None,
            r#"{"truncation_strategy":{"type":"last_messages","last_messages":5}}"#,
        ),
        (json!({"max_completion_tokens": 7}), disabled, Some(7), ""),
        (
            json!({"max_prompt_tokens": 7}),
            disabled,
            None,
            r#"{"max_prompt_tokens":7}"#,
        ),
    ];
    for (settings, truncation, max_output_tokens, kept) in table {
        let mut run = json!({
            "id": "run_1", "object": "thread.run", "created_at": 1, "thread_id": "thread_1", "assistant_id": "asst_1",
            "status": "completed", "model": "m", "instructions": "", "tools": [], "metadata": {},
        });
        for (name, value) in settings.as_object().unwrap() {
            run[name] = value.clone();
        }
        let whole = thread(&format!("{}\n{run}", message("a", 1)));
        let snapshot = &whole.runs[0].record.snapshot;
        assert_eq!(snapshot.truncation, truncation, "{settings}");
        assert_eq!(snapshot.limits.max_output_tokens, max_output_tokens, "{settings}");
        let label = snapshot
            .metadata
            .get("openai_settings")
            .map_or("", String::as_str);
        assert_eq!(label, kept, "{settings}");
    }
}

#[test]
fn a_list_that_goes_on_elsewhere_and_objects_of_other_kinds_are_noted() {
    let page = json!({"object": "list", "data": [message("a", 1)], "has_more": true});
    let file = json!({"object": "vector_store", "id": "vs_1"});
    let (_, notes) = read(&format!("{page}\n{file}")).unwrap();
    let notes: Vec<String> = notes.lines().collect();
    assert_eq!(
        notes,
        [
            "1 × list whose last page says that there is more (has_more), so something is missing \
             (thread.message of thread_1)",
            "1 × object of a kind that is not carried over (vector_store vs_1)",
            "1 × thread that is not in the file itself: made from its messages and runs (thread_1)",
        ]
    );
}

#[test]
fn faults_name_the_line_and_the_field() {
    let mut twice = message("a", 1);
    twice["created_at"] = 2.into();
    let mut deep = json!(1);
    for _ in 0..12 {
        deep = json!([deep]);
    }
    let cases = [
        ("{\"a\": ".to_owned(), "line 1: is not JSON: EOF while parsing a value at line 1 column 6"),
        (
            format!("{}\n\n{twice}", message("a", 1)),
            "line 3: thread.message a is in the file twice, not the same",
        ),
        (
            json!([{"object": "thread.message", "id": "a", "created_at": 1, "thread_id": "t", "role": "robot", "content": ""}])
                .to_string(),
            "line 1: [0].role: unknown variant `robot`, expected `user` or `assistant`",
        ),
        (
            message("a", 1).to_string().replace("\"type\":\"text\"", "\"type\":\"smell\""),
            "line 1: content[0].type: \"smell\" is not known",
        ),
        (deep.to_string(), "line 1: [0][0][0][0][0][0][0][0][0]: is too deep inside of other objects"),
        ("7".to_owned(), "line 1: is not an object, a list or an array"),
        ("\n".to_owned(), "the file has no assistant, thread, message or run in it"),
    ];
    for (text, expected) in cases {
        let faults = read(&text).unwrap_err();
        assert_eq!(faults[0].to_string(), expected, "{text}");
    }
}
