//! Threads and assistants out of a store and into another, with the program itself.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::process::Service;
use crate::world::program;

mod beside;
mod round_trip;

/// What a team may have saved of OpenAI's API: a list, objects, a list that is newest first, an array.
const SAVED: &str = include_str!("archive/openai.json");

/// Runs a command on a store, with this on its standard input.
fn run(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = std::process::Command::new(program())
        .args(arguments)
        .arg("--data-dir")
        .arg(directory)
        .env_clear()
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn succeeded(output: Output) -> String {
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn what_openai_had_goes_on_here() {
    let directory = tempfile::tempdir().unwrap();
    let said = succeeded(run(directory.path(), &["import", "-"], SAVED));
    assert!(
        said.starts_with("imported 1 assistant, 1 thread with 5 messages, 2 runs and 4 steps\n"),
        "{said}"
    );
    for note in [
        "1 × attached file: named in a text part, its content was not in the file (msg_5)",
        "1 × image in a file: named in a text part, its content was not in the file (msg_5)",
        "1 × citations of files: kept in the label openai_annotations of the message (msg_4)",
        "1 × tool of OpenAI's own (file_search, code_interpreter): not offered here (asst_gardener)",
        "1 × run that was not over when it was saved: kept as expired (run_open)",
        "1 × image of the code interpreter: named in the step, its content was not in the file (step_call)",
        "1 × run that is not in the file: its name is kept in the label openai_run_id of its message (msg_2)",
    ] {
        assert!(said.contains(note), "{note}\n{said}");
    }

    let service = Service::start(directory.path(), &[]).await;
    let thread = service.get("/v1/threads/thread_beds").await;
    assert_eq!(thread["metadata"], json!({"season": "spring"}));
    assert_eq!(thread["createTime"], "2025-06-15T15:08:20Z");
    let messages = service
        .get("/v1/threads/thread_beds/messages?orderBy=create_time")
        .await;
    let messages = messages["messages"].as_array().unwrap();
    let names: Vec<&str> = messages
        .iter()
        .map(|message| message["name"].as_str().unwrap())
        .collect();
    let expected =
        ["msg_1", "msg_2", "msg_3", "msg_4", "msg_5"].map(|id| format!("threads/thread_beds/messages/{id}"));
    assert_eq!(names, expected);
    assert_eq!(
        messages[4]["content"],
        json!([
            {"text": "And a picture"},
            {"image": {
                "url": "https://example.com/bed.png", "mimeType": "", "detail": "IMAGE_DETAIL_LOW",
            }},
            {"text": "[image file file-photo, not imported]"},
            {"text": "[attached file file-plan, not imported]"},
        ])
    );
    assert_eq!(messages[1]["content"], json!([{"refusal": "Not that."}]));
    assert_eq!(messages[3]["run"], "threads/thread_beds/runs/run_sow");

    let assistant = service.get("/v1/assistants/asst_gardener").await;
    assert_eq!(assistant["displayName"], "Gardener");
    assert_eq!(assistant["allowedTools"], json!({"tools": ["tools/echo"]}));
    assert_eq!(assistant["metadata"]["team"], "green");
    assert_eq!(assistant["options"]["temperature"], 0.2);

    let run = service.get("/v1/threads/thread_beds/runs/run_sow").await;
    assert_eq!(
        (
            &run["state"],
            &run["assistant"],
            &run["usage"]["totalTokens"],
            &run["usage"]["toolCalls"]
        ),
        (
            &json!("RUN_STATE_COMPLETED"),
            &json!("assistants/asst_gardener"),
            &json!("45"),
            &json!(3)
        )
    );
    let steps = service.get("/v1/threads/thread_beds/runs/run_sow/steps").await;
    assert_eq!(steps["steps"].as_array().unwrap().len(), 4, "{steps}");
    let open = service.get("/v1/threads/thread_beds/runs/run_open").await;
    assert_eq!(
        (&open["state"], &open["endTime"]),
        (&json!("RUN_STATE_EXPIRED"), &json!("2025-06-15T15:21:50Z"))
    );
    let watch = reqwest::get(format!(
        "{}/v1/threads/thread_beds/runs/run_sow:watch",
        service.base
    ));
    let watched = watch.await.unwrap().text().await.unwrap();
    assert!(
        watched.contains("When do I sow peas?") && watched.contains("In March"),
        "{watched}"
    );
    assert!(watched.contains("event: run_completed"), "{watched}");

    let chat = json!({"message": "echo beans", "thread": "threads/thread_beds", "assistant": "assistants/asst_gardener"});
    let answer = service.post("/v1/chat", &chat).await;
    assert_eq!(answer["thread"], "threads/thread_beds", "{answer}");
    assert!(answer["response"].as_str().unwrap().contains("beans"), "{answer}");
    // What was said there is told to the model here.
    let requests = service.simulator.requests();
    let told = requests[0].body.to_string();
    assert!(
        told.contains("When do I sow peas?") && told.contains("echo beans"),
        "{told}"
    );
    service.stop().await;
}

#[tokio::test]
async fn an_export_is_imported_elsewhere_and_exported_the_same() {
    let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    succeeded(run(one.path(), &["import", "-", "--from", "openai"], SAVED));
    let service = Service::start(one.path(), &[]).await;
    let chat = json!({"message": "echo beans", "assistant": "assistants/asst_gardener"});
    let answer = service.post("/v1/chat", &chat).await;
    // Beside the running service.
    let first = succeeded(run(one.path(), &["export"], ""));
    service.stop().await;
    assert_eq!(
        first.lines().next(),
        Some(r#"{"kind":"assistd_export","version":1}"#)
    );

    let file = two.path().join("threads.jsonl");
    std::fs::write(&file, &first).unwrap();
    let file = file.to_str().unwrap();
    let dry = succeeded(run(two.path(), &["import", file, "--dry-run"], ""));
    assert!(dry.starts_with("would import 1 assistant, 2 threads"), "{dry}");
    let said = succeeded(run(two.path(), &["import", file], ""));
    assert!(said.starts_with("imported 1 assistant, 2 threads"), "{said}");
    let output = two.path().join("again.jsonl");
    succeeded(run(
        two.path(),
        &["export", "--output", output.to_str().unwrap()],
        "",
    ));
    assert_eq!(std::fs::read_to_string(output).unwrap(), first);

    let again = succeeded(run(two.path(), &["import", file], ""));
    let lines: Vec<&str> = again.lines().collect();
    assert_eq!(
        lines[0],
        "imported 0 assistants, 0 threads with 0 messages, 0 runs and 0 steps"
    );
    assert!(
        lines[1].starts_with("skipped, there already: 1 assistant, 2 threads"),
        "{again}"
    );

    let thread = answer["thread"].as_str().unwrap();
    let alone = succeeded(run(two.path(), &["export", "--thread", thread], ""));
    assert_eq!(
        alone
            .lines()
            .filter(|line| line.contains(r#""kind":"thread""#))
            .count(),
        1
    );
    assert_eq!(
        alone
            .lines()
            .filter(|line| line.contains(r#""kind":"message""#))
            .count(),
        4
    );
}

#[tokio::test]
async fn what_cannot_be_imported_is_named_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let said = refused(&run(path, &["export"], ""));
    assert!(said.contains("there is none at"), "{said}");
    succeeded(run(path, &["import", "-"], SAVED));
    let before = succeeded(run(path, &["export"], ""));
    for (file, expected) in [
        ("", "the file has no assistant, thread, message or run in it"),
        ("nonsense", "line 1: is not JSON: "),
        ("{}\n", "line 1: has no `object` that says what it is"),
        (
            "[]\n{\"object\":\"thread\",\"id\":\"thread_new\",\"created_at\":\"now\"}",
            "line 2: created_at: invalid type: string \"now\", expected u64",
        ),
        (
            "{\"data\":[{\"object\":\"thread.message\",\"id\":\"msg/7\",\"created_at\":1,\"thread_id\":\"thread_new\",\
             \"role\":\"user\",\"content\":[]}]}",
            "line 1: data[0].id: not a valid id",
        ),
        (
            "{\"kind\":\"assistd_export\",\"version\":2}",
            "line 1: version: 2 is not known to this version, which reads 1",
        ),
        (
            "{\"kind\":\"assistd_export\",\"version\":1}\n{\"kind\":\"message\"}",
            "line 2: missing field `id`",
        ),
        (
            "{\"kind\":\"assistd_export\",\"version\":1}\n",
            "the file is cut off: it has no end line",
        ),
    ] {
        let said = refused(&run(path, &["import", "-"], file));
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let other = SAVED.replace("Hello", "Goodbye");
    let said = refused(&run(path, &["import", "-"], &other));
    assert!(
        said.contains("something else of the same name") && said.contains("threads/thread_beds"),
        "{said}"
    );
    let said = succeeded(run(path, &["import", "-", "--on-conflict", "skip"], &other));
    assert!(
        said.contains("something else of the same name is there: 0 assistants, 1 thread"),
        "{said}"
    );
    let usage = run(path, &["export", "--thread", "runs/x"], "");
    assert_eq!(usage.status.code(), Some(2));
    assert_eq!(succeeded(run(path, &["export"], "")), before);
}

#[tokio::test]
async fn what_is_only_tried_or_refused_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("not/yet");
    let here = |line: &[&str], input: &str| {
        let output = std::process::Command::new(program())
            .args(line)
            .env_clear()
            .env("ASSISTD_DATA_DIR", &place)
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                child.stdin.take().unwrap().write_all(input.as_bytes())?;
                child.wait_with_output()
            });
        output.unwrap()
    };
    let said = succeeded(here(&["import", "-", "--dry-run"], SAVED));
    assert!(said.starts_with("would import 1 assistant, 1 thread"), "{said}");
    refused(&here(&["import", "-"], "nonsense"));
    assert!(!directory.path().join("not").exists());
    succeeded(here(&["import", "-"], SAVED));
    assert!(place.exists());
}

#[tokio::test]
async fn a_thread_that_is_not_there_is_missed_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    succeeded(run(path, &["import", "-"], SAVED));
    let both = [
        "export",
        "--thread",
        "threads/thread_beds",
        "--thread",
        "threads/nope",
    ];
    let output = run(path, &both, "");
    assert!(refused(&output).contains("there is no thread nope"), "{output:?}");
    assert_eq!(output.stdout, b"");
    let file = path.join("out.jsonl");
    refused(&run(
        path,
        &[&both[..], &["--output", file.to_str().unwrap()]].concat(),
        "",
    ));
    assert!(!file.exists() && !path.join("out.jsonl.part").exists());
}

#[tokio::test]
async fn conflicts_beyond_those_that_are_named_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let assistants = |name: &str| -> String {
        let line = |place| json!({"object": "assistant", "id": format!("asst_{place:02}"), "created_at": 1, "name": name, "model": "m"});
        (0..23).map(|place| format!("{}\n", line(place))).collect()
    };
    succeeded(run(directory.path(), &["import", "-"], &assistants("one")));
    let said = refused(&run(directory.path(), &["import", "-"], &assistants("other")));
    assert!(said.contains("assistants/asst_19\n  and 3 more"), "{said}");
    assert!(!said.contains("asst_20"), "{said}");
}
