//! Lines, and what they answer.

use serde_json::json;

use super::*;

fn call() -> pb::ToolCall {
    pb::ToolCall {
        id: "call_1".into(),
        tool: "pay".into(),
        arguments_json: r#"{"euros":3}"#.into(),
        ..Default::default()
    }
}

/// What a line says, in short.
fn told(said: Said) -> String {
    let answer = match said {
        Said::Answer(answer) => answer,
        Said::Part(part) => return format!("{part:?}"),
        Said::Fields(form) => return form.fields.iter().map(form::Field::about).collect(),
        Said::Unclear(why) => return format!("unclear: {why}"),
    };
    let data = |data: Option<prost_types::Struct>| {
        data.map(|data| Value::Object(structure::to_json(data)).to_string())
    };
    match answer {
        Answer::Approve(approve) => format!("approve {}", data(approve.arguments).unwrap_or_default()),
        Answer::Reject(reject) => format!("reject {}", reject.reason),
        Answer::Elicitation(answer) => {
            format!(
                "{:?} {}",
                answer.action(),
                data(answer.content).unwrap_or_default()
            )
        }
        Answer::Output(output) => {
            assert_eq!(output.tool_call_id, "call_1");
            match (output.content.as_slice(), data(output.structured_content)) {
                ([], Some(data)) => format!("data {data}"),
                ([part], None) => format!("{:?}", part.content),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a server asks to be filled in.
fn to_fill_in(properties: Value) -> pb::ElicitationRequest {
    let schema = json!({"type": "object", "properties": properties});
    pb::ElicitationRequest {
        server: "shop".into(),
        message: "Which size?".into(),
        requested_schema: schema.as_object().map(structure::from_json),
        ..Default::default()
    }
}

fn sampling() -> pb::SamplingRequest {
    pb::SamplingRequest {
        server: "shop".into(),
        system_prompt: "Be brief.".into(),
        prompt: "user: which size?".into(),
        ..Default::default()
    }
}

#[test]
fn what_a_server_asks_is_shown_whole() {
    let form = to_fill_in(json!({
        "size": {"type": "integer", "title": "Size", "description": "in cm"},
        "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
    }));
    let nested = to_fill_in(json!({"size": {"type": "object"}}));
    let address = pb::ElicitationRequest {
        server: "shop".into(),
        message: "Log in.".into(),
        url: "https://shop.example/login?a=b".into(),
        ..Default::default()
    };
    let asked = pb::SamplingRequest {
        max_tokens: 50,
        ..sampling()
    };
    let call = call();
    for (decision, expected) in [
        (
            Decision::Question(&form),
            "? shop asks: Which size?\n  colour (one of these, empty for red)\n    1 red\n    2 blue\n  \
             size: Size: in cm (whole number, may be empty)",
        ),
        (
            Decision::Question(&nested),
            "? shop asks: Which size?\n  \
             fill in {\"properties\":{\"size\":{\"type\":\"object\"}},\"type\":\"object\"}",
        ),
        (
            Decision::Question(&address),
            "? shop asks: Log in.\n  go to https://shop.example/login?a=b",
        ),
        (
            Decision::Sampling(&asked),
            "? shop wants to ask a model:\nsystem: Be brief.\nuser: which size?\n  \
             of the default model, for at most 50 tokens",
        ),
        (Decision::Approval(&call), ""),
    ] {
        assert_eq!(decision.whole().unwrap_or_default(), expected);
    }
}

#[test]
fn a_line_answers_declines_or_puts_away_a_question() {
    let [fields, nested, nowhere] = [
        to_fill_in(json!({"size": {"type": "string"}})),
        to_fill_in(json!({"size": {"type": "object"}})),
        pb::ElicitationRequest::default(),
    ];
    for (asked, yes) in [(&fields, "  size"), (&nested, "Accept "), (&nowhere, "Accept ")] {
        assert_eq!(told(Decision::Question(asked).read(" Yes ")), yes, "{asked:?}");
    }
    for (line, expected) in [
        ("", "Cancel "),
        ("n", "Decline "),
        (r#"{"name": "Ada"}"#, r#"Accept {"name":"Ada"}"#),
        (
            "[1]",
            "unclear: the answer is not a JSON object: invalid type: sequence, expected a map at line 1 column 0",
        ),
    ] {
        assert_eq!(told(Decision::Question(&fields).read(line)), expected, "{line}");
    }
}

#[test]
fn a_line_approves_edits_rejects_or_gives_the_result() {
    let call = call();
    let unknown = pb::UnknownOutcomeRequest::default();
    let unclear = "unclear: that is neither yes, no nor a result, nor arguments as a JSON object";
    for decision in [Decision::Approval(&call), Decision::Outcome(&call, &unknown)] {
        for (line, expected) in [
            ("y", "approve "),
            (" Yes ", "approve "),
            (r#"{"euros": 4}"#, r#"approve {"euros":4}"#),
            ("n", "Refused"),
            ("", "Refused"),
            ("No", "Refused"),
            ("no, not today", "reject not today"),
            ("n it is late", "reject it is late"),
            ("r", "Given"),
            ("result: paid", r#"Some(Text("paid"))"#),
            (r#"r {"paid": true}"#, r#"data {"paid":true}"#),
            ("maybe", unclear),
            ("yess", unclear),
            ("not today", unclear),
            ("yes, but", unclear),
            ("42", unclear),
        ] {
            assert_eq!(told(decision.read(line)), expected, "{line}");
        }
        assert!(told(decision.read("{\"half\":")).contains("not a JSON object"));
        assert!(told(decision.read(r#"{"n": 9007199254740993}"#)).contains("2^53"));
        assert_eq!(
            told(decision.read_rest(Part::Refused, " too much ")),
            "reject too much"
        );
        assert_eq!(told(decision.read_rest(Part::Refused, "")), "reject ");
        assert_eq!(
            told(decision.read_rest(Part::Given, "paid")),
            r#"Some(Text("paid"))"#
        );
    }
}

#[test]
fn a_line_lets_a_server_ask_a_model_or_does_not() {
    let asked = sampling();
    let unclear = "unclear: that is neither yes nor no";
    for (line, expected) in [
        (" Yes ", "approve "),
        ("n", "reject "),
        ("", "reject "),
        ("perhaps", unclear),
        (r#"{"model": "another"}"#, unclear),
    ] {
        assert_eq!(told(Decision::Sampling(&asked).read(line)), expected, "{line}");
    }
}

#[test]
fn a_line_is_what_a_function_gives() {
    let call = call();
    let decision = Decision::Function(&call);
    for (line, expected) in [
        ("no", r#"Some(Text("no"))"#),
        (r#"{"paid": true}"#, r#"data {"paid":true}"#),
        ("[1, 2]", r#"Some(Text("[1, 2]"))"#),
        // As data it would be changed on the way.
        (
            r#"{"n": 9007199254740993}"#,
            r#"Some(Text("{\"n\": 9007199254740993}"))"#,
        ),
        (" ", "Refused"),
    ] {
        assert_eq!(told(decision.read(line)), expected, "{line}");
    }
}

#[test]
fn a_person_is_told_what_it_is_about() {
    let call = call();
    let unknown = pb::UnknownOutcomeRequest {
        call_time: Some(prost_types::Timestamp {
            seconds: 1_000_000_000,
            nanos: 0,
        }),
        ..Default::default()
    };
    let asked = pb::ElicitationRequest {
        server: "shop".into(),
        message: "Which size?".into(),
        url: "https://shop.example".into(),
        ..Default::default()
    };
    let fields = to_fill_in(json!({"size": {"type": "string"}}));
    let nested = to_fill_in(json!({"size": {"type": "object"}}));
    let sampling = sampling();
    for (decision, expected) in [
        (Decision::Question(&fields), "? shop asks: Which size?"),
        (
            Decision::Question(&nested),
            "? shop asks: Which size?\n  fill in {\"properties\":{\"size\":{\"type\":\"object\"}},\"type\":\"object\"}",
        ),
        (
            Decision::Sampling(&sampling),
            "? shop wants to ask a model:\nsystem: Be brief.\nuser: which size?",
        ),
        (Decision::Approval(&call), "? pay {\"euros\":3}"),
        (
            Decision::Outcome(&call, &unknown),
            "? pay {\"euros\":3}\n  it was sent at 2001-09-09T01:46:40Z and no result came: nobody knows whether it happened",
        ),
        (
            Decision::Function(&call),
            "? pay {\"euros\":3}\n  is yours to carry out",
        ),
        (
            Decision::Question(&asked),
            "? shop asks: Which size?\n  go to https://shop.example",
        ),
    ] {
        assert_eq!(decision.question(), expected);
    }
}
