//! How fast a model's stream becomes events, beside reading the same JSON and forgetting it.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use assistd::model::Dialect;
use assistd::model::openai::recorded::replay;
use assistd::run::ports::ModelEvent;
use serde::de::IgnoredAny;

use crate::measure::figures::{Figures, Goal};
use crate::measure::load::median;

/// Events of a stream.
const TOKENS: usize = 40_000;
/// What a connection gives at once.
const PIECE_BYTES: usize = 16 * 1024;
const ROUNDS: usize = 9;
const MEGABYTE: f64 = 1e6;

pub fn measure(figures: &mut Figures) {
    for (name, dialect, stream) in [
        ("Responses", Dialect::Responses, responses()),
        ("Chat Completions", Dialect::ChatCompletions, chat_completions()),
        ("Assistants", Dialect::Assistants, assistants()),
    ] {
        let (mut speeds, mut ratios) = (Vec::new(), Vec::new());
        // The first round only warms up.
        for round in 0..=ROUNDS {
            let (decoded, read) = (decode(dialect, &stream), read_json(&stream));
            if round > 0 {
                speeds.push(stream.len() as f64 / MEGABYTE / decoded);
                ratios.push(read / decoded);
            }
        }
        figures.add(
            format!("{name}: decoding"),
            median(speeds),
            "MB/s",
            Goal::AtLeast(300.0),
        );
        figures.add(
            format!("{name}: decoding / skipping the same JSON"),
            median(ratios),
            "x",
            Goal::None,
        );
    }
}

/// Seconds that it takes, all events taken.
fn decode(dialect: Dialect, stream: &str) -> f64 {
    let (mut deltas, started) = (0, Instant::now());
    replay(dialect, stream.as_bytes().chunks(PIECE_BYTES), |event| {
        deltas += usize::from(matches!(event, ModelEvent::TextDelta(_)));
        black_box(event);
    })
    .unwrap();
    assert_eq!(deltas, TOKENS);
    started.elapsed().as_secs_f64()
}

/// Seconds that it takes to find each event's data and to see that it is JSON.
fn read_json(stream: &str) -> f64 {
    let started = Instant::now();
    for data in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data != "[DONE]" {
            black_box(serde_json::from_str::<IgnoredAny>(data).unwrap());
        }
    }
    started.elapsed().as_secs_f64()
}

/// A stream with the members that OpenAI's has.
fn chat_completions() -> String {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-Bp3Zk1Qw8sXy7LmNoPqRsTuVwXyZa\",\"object\":\"chat.completion.chunk\",\
             \"created\":1795000000,\"model\":\"gpt-5.4-mini\",\"service_tier\":\"default\",\"system_fingerprint\":\
             \"fp_0123456789\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\
             \"usage\":null,\"obfuscation\":\"kq8Xw2\"}}\n\n"
        )
    };
    let mut stream = chunk(
        "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}",
        "null",
    );
    for token in 0..TOKENS {
        stream += &chunk(&format!("{{\"content\":\" word{}\"}}", token % 10), "null");
    }
    stream += &chunk("{}", "\"stop\"");
    stream + "data: [DONE]\n\n"
}

/// The same of the Responses API.
fn responses() -> String {
    let item = "msg_68af0123456789abcdef0123456789abcdef0123456789";
    let mut stream = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":\
                      {\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"output\":[]}}\n\n"
        .to_owned();
    let mut text = String::new();
    for token in 0..TOKENS {
        let word = token % 10;
        let _ = write!(
            stream,
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{},\
             \"item_id\":\"{item}\",\"output_index\":0,\"content_index\":0,\"delta\":\" word{word}\",\"logprobs\":[],\
             \"obfuscation\":\"kq8Xw2aB\"}}\n\n",
            token + 1,
        );
        let _ = write!(text, " word{word}");
    }
    let _ = write!(
        stream,
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":{},\"response\":\
         {{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"output\":[{{\"id\":\"{item}\",\"type\":\
         \"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{{\"type\":\"output_text\",\
         \"annotations\":[],\"text\":\"{text}\"}}]}}],\"usage\":{{\"input_tokens\":10,\"output_tokens\":{TOKENS},\
         \"total_tokens\":40010}}}}}}\n\n",
        TOKENS + 1,
    );
    stream
}

/// The same of the Assistants API.
fn assistants() -> String {
    let (thread, run, message) = (
        "thread_Bp3Zk1Qw8sXy7LmNoPqRsTuV",
        "run_Bp3Zk1Qw8sXy7LmNoPqRsTuV",
        "msg_Bp3Zk1Qw8sXy7LmNoPqRsTuV",
    );
    let run = |status: &str, usage: &str| {
        format!(
            "event: thread.run.{status}\ndata: {{\"id\":\"{run}\",\"object\":\"thread.run\",\"created_at\":1795000000,\
             \"assistant_id\":\"asst_1\",\"thread_id\":\"{thread}\",\"status\":\"{status}\",\"required_action\":null,\
             \"last_error\":null,\"incomplete_details\":null,\"usage\":{usage}}}\n\n"
        )
    };
    let mut stream = run("in_progress", "null");
    let mut text = String::new();
    for token in 0..TOKENS {
        let word = token % 10;
        let _ = write!(
            stream,
            "event: thread.message.delta\ndata: {{\"id\":\"{message}\",\"object\":\"thread.message.delta\",\"delta\":\
             {{\"content\":[{{\"index\":0,\"type\":\"text\",\"text\":{{\"value\":\" word{word}\",\"annotations\":[]}}}}]}}}}\n\n",
        );
        let _ = write!(text, " word{word}");
    }
    let _ = write!(
        stream,
        "event: thread.message.completed\ndata: {{\"id\":\"{message}\",\"object\":\"thread.message\",\"thread_id\":\
         \"{thread}\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":\
         {{\"value\":\"{text}\",\"annotations\":[]}}}}]}}\n\n",
    );
    stream += &run(
        "completed",
        &format!("{{\"prompt_tokens\":10,\"completion_tokens\":{TOKENS},\"total_tokens\":40010}}"),
    );
    stream + "event: done\ndata: [DONE]\n\n"
}
