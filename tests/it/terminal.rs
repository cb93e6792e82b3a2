//! What runs wait for, answered on the command line: by flags, by lines, and by a person at a terminal.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use assistd::run::error::Reason;
use assistd::simulator::{Item, Script, Turn};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::actions::asking;
use crate::mcp::peer::{Listening, Seen};
use crate::sampling;
use crate::skip::skipped;
use crate::world::{self, PATIENCE, World};

/// What a command said, and its exit code.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    notes: String,
}

/// Runs the program as a client of this service, with these lines on its standard input.
async fn said(world: &World, arguments: &[&str], lines: &str) -> Said {
    let mut child = Command::new(world::program())
        .args(arguments)
        .args(["--server", &world.url("")])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may be gone already.
    let _ = stdin.write_all(lines.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it waits for nobody").unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        notes: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn config_refuses_what_the_service_would_not_start_with() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let servers = json!({"mcpServers": {
        "a": {"command": "none", "sampling": {"allow": "ask", "model": "smal"}},
    }});
    write("mcp.json", &servers.to_string());
    write(
        "assistd.toml",
        "listen = '127.0.0.1:0'\ndata_dir = ':memory:'\nmcp_config = 'mcp.json'\n\
         [models.small]\nbase_url = 'http://127.0.0.1:9/v1'\n",
    );
    for command in ["config", "serve"] {
        let output = Command::new(world::program())
            .arg(command)
            .current_dir(directory.path())
            .env_clear()
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{command}");
        let problem = "mcp.json: mcpServers.a.sampling.model: no model is called \"smal\"; the nearest known name is \"small\"";
        assert!(notes.contains(problem), "{command}: {notes}");
    }
}

/// A service whose model says these words with `echo`, about which somebody is asked, and then has done so.
async fn echoing(words: &str) -> World {
    let script = Script::turns([
        Turn::call("echo", &json!({"text": words})),
        Turn::text("so be it"),
    ]);
    World::with(script, asking).await
}

/// A run that waits: its answer from Chat.
async fn waiting(world: &World, body: &Value) -> Value {
    let (status, waiting) = world.post("/v1/chat", body).await;
    assert_eq!(
        (status, &waiting["state"]),
        (200, &json!("RUN_STATE_REQUIRES_ACTION"))
    );
    waiting
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What the model was sent after the answer.
fn told(world: &World) -> String {
    world.simulator.requests()[1].body.to_string()
}

fn locate(directory: &Path) -> String {
    let path = directory.join("locate.json");
    let function = json!({
        "name": "locate",
        "description": "Finds a city.",
        "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    });
    std::fs::write(&path, function.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_line_gives_the_result_or_the_reason() {
    for (lines, expected) in [
        ("n\nit is late\n", "rejected: it is late"),
        ("n\n\n", "rejected"),
        ("r\nI said it\n", "I said it"),
        ("r I said it\n", "I said it"),
        (
            "{\"text\": 1}\nperhaps\n{\"text\": \"other words\"}\n",
            "other words",
        ),
    ] {
        let world = echoing("first").await;
        let chat = said(&world, &["chat"], &format!("say first\n{lines}")).await;
        assert_eq!((chat.code, chat.out.as_str()), (0, "so be it\n"), "{chat:?}");
        assert!(told(&world).contains(expected), "{lines}: {}", told(&world));
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_function_of_ones_own_is_carried_out_at_the_prompt() {
    let directory = tempfile::tempdir().unwrap();
    let function = locate(directory.path());
    for (lines, expected) in [
        ("50.7 N, 7.1 E\n", "50.7 N, 7.1 E"),
        ("{\"north\": 50.7}\n", "{\\\"north\\\":50.7}"),
        ("\nno map here\n", "rejected: no map here"),
    ] {
        let script = Script::turns([
            Turn::call("locate", &json!({"city": "Bonn"})),
            Turn::text("found"),
        ]);
        let world = World::new(script).await;
        let chat = said(
            &world,
            &["chat", "--function", &function],
            &format!("where is Bonn?\n{lines}"),
        )
        .await;
        assert_eq!((chat.code, chat.out.as_str()), (0, "found\n"), "{chat:?}");
        assert!(
            chat.notes
                .contains("? locate {\"city\":\"Bonn\"}\n  is yours to carry out"),
            "{chat:?}"
        );
        assert!(told(&world).contains(expected), "{lines}: {}", told(&world));
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_file_that_describes_no_function_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(Script::turns([])).await;
    for (name, text, expected) in [
        ("absent", None, "No such file"),
        ("half", Some("{"), "EOF while parsing"),
        ("list", Some("[]"), "invalid type"),
        ("openai", Some(r#"{"name": "f", "parameters": {}}"#), "parameters"),
    ] {
        let path = directory.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let path = path.to_str().unwrap();
        let chat = said(&world, &["chat", "hi", "--function", path], "").await;
        assert_eq!(chat.code, 2, "{chat:?}");
        assert!(
            chat.notes.contains(path) && chat.notes.contains(expected),
            "{expected}: {chat:?}"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn what_runs_wait_for_is_listed() {
    let world = echoing("listed").await;
    let none = said(&world, &["actions"], "").await;
    assert_eq!((none.code, none.out.as_str()), (0, "no run waits for anything\n"));
    let run = waiting(&world, &json!({"message": "x"})).await;
    let action = &run["pendingActions"][0];
    let list = said(&world, &["actions"], "").await;
    let [head, row] = list.out.lines().collect::<Vec<_>>()[..] else {
        panic!("{list:?}")
    };
    let head: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(
        head,
        ["RUN", "ACTION", "KIND", "TOOL", "SINCE", "EXPIRES", "ARGUMENTS"]
    );
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        row[..4],
        [text(&run["run"]), text(&action["id"]), "approval", "echo"]
    );
    assert_eq!(row[6], r#"{"text":"listed"}"#);
    let list = said(&world, &["actions", "--json"], "").await;
    let list: Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list["pendingActions"], run["pendingActions"]);
    world.stopped().await;
}

#[tokio::test]
async fn flags_answer_what_a_run_waits_for() {
    for (flags, expected) in [
        (&["--approve"][..], "first"),
        (&["--edit", r#"{"text": "second"}"#], "second"),
        (&["--reject", "too loud"], "rejected: too loud"),
        (&["--reject"], "rejected"),
        (&["--output", "-1 is said"], "-1 is said"),
        (&["--output", r#"{"said": true}"#], "{\\\"said\\\":true}"),
    ] {
        let world = echoing("first").await;
        let run = waiting(&world, &json!({"message": "x"})).await;
        let names = [text(&run["run"]), text(&run["pendingActions"][0]["id"])];
        let answer = [&["actions", "answer"], &names[..], flags, &["--watch"]].concat();
        let answered = said(&world, &answer, "").await;
        assert_eq!(
            (answered.code, answered.out.as_str()),
            (0, "so be it\n"),
            "{answered:?}"
        );
        assert!(told(&world).contains(expected), "{flags:?}: {}", told(&world));
        if flags[0] != "--output" {
            let again = said(&world, &answer, "").await;
            assert_eq!(again.code, 0, "the same answer changes nothing: {again:?}");
            assert!(again.out.ends_with("so be it\n"), "{again:?}");
        }
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_call_that_may_have_happened_is_given_its_result() {
    let server = json!({
        "command": std::env::current_exe().unwrap(),
        "args": ["--exact", "mcp::child_server", "--ignored", "--nocapture", "--test-threads", "1"],
        "env": {"ASSISTD_TEST_CHILD": "1"},
    });
    let script = Script::turns([Turn::call("a__die", &json!({})), Turn::text("so be it")]);
    let world = World::with(script, |config| {
        config.mcp = world::mcp(&json!({"mcpServers": {"a": server}}));
    })
    .await;
    let chat = said(&world, &["chat"], "die\nr\nit did happen\n").await;
    assert_eq!((chat.code, chat.out.as_str()), (0, "so be it\n"), "{chat:?}");
    assert!(
        chat.notes.contains("nobody knows whether it happened"),
        "{chat:?}"
    );
    assert!(told(&world).contains("it did happen"), "{}", told(&world));
    world.stopped().await;
}

/// A service whose model calls a tool that asks who is there.
async fn asked_by_a_server() -> (World, Listening) {
    let seen = Arc::<Seen>::default();
    seen.has_asking.store(true, Ordering::SeqCst);
    let server = Listening::start(([127, 0, 0, 1], 0).into(), &seen).await;
    let script = Script::turns([Turn::call("a__ask", &json!({})), Turn::text("so be it")]);
    let world = World::with(script, |config| {
        config.mcp = world::mcp(&json!({"mcpServers": {"a": {"url": server.url()}}}));
    })
    .await;
    (world, server)
}

#[tokio::test]
async fn lines_fill_in_a_form_field_by_field() {
    for (lines, expected) in [
        ("y\n\nAda\n", r#"accept {\"name\":\"Ada\"}"#),
        ("{\"name\": \"Ada\"}\n", r#"accept {\"name\":\"Ada\"}"#),
        ("perhaps\nn\n", "decline null"),
        ("\n", "cancel null"),
    ] {
        let (world, _server) = asked_by_a_server().await;
        let chat = said(&world, &["chat"], &format!("ask\n{lines}")).await;
        assert_eq!((chat.code, chat.out.as_str()), (0, "so be it\n"), "{chat:?}");
        assert!(chat.notes.contains("? a asks: who are you?\n"), "{chat:?}");
        if lines.starts_with('y') {
            assert!(
                chat.notes.contains("  name\nthis must be filled in\n"),
                "{chat:?}"
            );
        }
        assert!(told(&world).contains(expected), "{lines}: {}", told(&world));
        world.stopped().await;
    }
}

#[tokio::test]
async fn a_form_that_is_left_half_way_still_waits() {
    let (world, _server) = asked_by_a_server().await;
    let chat = said(&world, &["chat"], "ask\ny\n").await;
    assert_eq!((chat.code, chat.out.as_str()), (1, ""), "{chat:?}");
    assert!(
        chat.notes.contains(" --accept JSON\nor with --decline"),
        "{chat:?}"
    );
    world.stopped().await;
}

#[tokio::test]
async fn a_server_is_let_ask_a_model_or_is_not() {
    for (lines, flags, expected) in [
        ("y\n", &["--approve"][..], "quite well"),
        ("perhaps\nn\n", &["--reject"], "may not ask a model"),
    ] {
        for answers_by_lines in [true, false] {
            let turns = match lines {
                "y\n" => [Turn::text("quite well"), Turn::text("over")],
                _ => [Turn::text("over"), Turn::text("not said")],
            };
            let (world, _server) = sampling::world("ask", turns).await;
            let answered = if answers_by_lines {
                let chat = said(&world, &["chat"], &format!("ask\n{lines}")).await;
                let question = "? a wants to ask a model:\nsystem: Be kind.\nuser: how are you?\n";
                assert!(chat.notes.contains(question), "{chat:?}");
                chat
            } else {
                let run = waiting(&world, &json!({"message": "ask"})).await;
                let list = said(&world, &["actions"], "").await;
                assert!(
                    list.out.contains("sampling") && list.out.contains("user: how are you?"),
                    "{list:?}"
                );
                let names = [text(&run["run"]), text(&run["pendingActions"][0]["id"])];
                let answer = [&["actions", "answer"], &names[..], flags, &["--watch"]].concat();
                said(&world, &answer, "").await
            };
            assert_eq!(
                (answered.code, answered.out.as_str()),
                (0, "over\n"),
                "{answered:?}"
            );
            let requests = world.simulator.requests();
            let last = requests.last().unwrap().body.to_string();
            assert!(last.contains(expected), "{flags:?}: {last}");
            world.stopped().await;
        }
    }
}

#[tokio::test]
async fn flags_answer_a_servers_question() {
    for (flags, expected) in [
        (
            &["--accept", r#"{"name": "Ada"}"#][..],
            r#"accept {\"name\":\"Ada\"}"#,
        ),
        (&["--decline"], "decline null"),
        (&["--dismiss"], "cancel null"),
    ] {
        let (world, _server) = asked_by_a_server().await;
        let run = waiting(&world, &json!({"message": "x"})).await;
        let names = [text(&run["run"]), text(&run["pendingActions"][0]["id"])];
        let list = said(&world, &["actions"], "").await;
        assert!(
            list.out.contains("question") && list.out.contains("who are you?"),
            "{list:?}"
        );
        let answer = [&["actions", "answer"], &names[..], flags, &["--watch"]].concat();
        let answered = said(&world, &answer, "").await;
        assert_eq!(
            (answered.code, answered.out.as_str()),
            (0, "so be it\n"),
            "{answered:?}"
        );
        assert!(told(&world).contains(expected), "{flags:?}: {}", told(&world));
        world.stopped().await;
    }
}

#[tokio::test]
async fn tools_show_who_is_asked() {
    let world = World::with(Script::turns([]), asking).await;
    let list = said(&world, &["tools"], "").await;
    let mut rows: Vec<Vec<&str>> = list
        .out
        .lines()
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    rows[1..].sort_unstable();
    let expected = [
        ["NAME", "SERVER", "POLICY"],
        ["calculate", "builtin", "deny"],
        ["echo", "builtin", "ask"],
    ];
    assert_eq!(rows, expected, "{list:?}");
    world.stopped().await;
}

/// The page for people has every reason with the status that it has.
#[test]
fn the_page_on_runs_names_every_reason() {
    let page = include_str!("../../docs/runs.md");
    for reason in Reason::ALL {
        let name = format!("`{}`", reason.as_str());
        let row = page
            .lines()
            .find(|line| line.starts_with("| ") && line.contains(&name))
            .unwrap_or_else(|| panic!("no row has {name}"));
        let status = row[2..]
            .split(' ')
            .next()
            .unwrap()
            .replace('_', "")
            .to_lowercase();
        assert_eq!(status, format!("{:?}", reason.kind()).to_lowercase(), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_refused() {
    let world = echoing("x").await;
    let run = waiting(&world, &json!({"message": "x"})).await;
    let [name, action] = [text(&run["run"]), text(&run["pendingActions"][0]["id"])];
    for (arguments, code, expected) in [
        (
            [name, action, "--edit", "[]"],
            2,
            "the object of arguments is not a JSON object",
        ),
        (
            [name, action, "--accept", "1"],
            2,
            "the answer is not a JSON object",
        ),
        ([name, action, "--edit", "{}"], 1, "VALIDATION_FAILED"),
        ([name, action, "--accept", "{}"], 1, "VALIDATION_FAILED"),
        ([name, "act_0", "--reject", ""], 1, "ACTION_NOT_PENDING"),
        (
            [name, "act_0", "--output", ""],
            1,
            "does not wait for the result of a call",
        ),
        (
            ["threads/thread_0/runs/run_0", action, "--reject", ""],
            1,
            "RUN_NOT_FOUND",
        ),
    ] {
        let refused = said(&world, &[&["actions", "answer"], &arguments[..]].concat(), "").await;
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.notes.contains(expected), "{expected}: {refused:?}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn an_answer_says_what_else_is_waited_for() {
    let script = Script::turns([
        Turn::say([
            Item::call("echo", json!({"text": "a"}).to_string().as_str()),
            Item::call("echo", json!({"text": "b"}).to_string().as_str()),
        ]),
        Turn::call("echo", &json!({"text": "c"})),
        Turn::text("done"),
    ]);
    let world = World::with(script, asking).await;
    let run = waiting(&world, &json!({"message": "x"})).await;
    let name = text(&run["run"]);
    let [first, second] = [0, 1].map(|place| text(&run["pendingActions"][place]["id"]));
    let answer = |action| ["actions", "answer", name, action, "--approve"];
    let one = said(&world, &answer(first), "").await;
    assert_eq!(
        (one.code, one.out),
        (0, format!("{name} still waits for an action\n"))
    );
    let two = said(&world, &[&answer(second)[..], &["--watch"]].concat(), "").await;
    let list = said(&world, &["actions", "--json"], "").await;
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let third = text(&list["pendingActions"][0]["id"]);
    assert_eq!(two.code, 1, "{two:?}");
    let command = format!("assistd actions answer {name} {third} --approve\n");
    assert!(two.notes.contains(&command), "{two:?}");
    let three = said(&world, &[&answer(third)[..], &["--watch", "--json"]].concat(), "").await;
    let last: Value = serde_json::from_str(three.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["runCompleted"]["run"]["name"], name, "{three:?}");
    world.stopped().await;
}

#[tokio::test]
async fn a_run_is_called_off() {
    let world = echoing("x").await;
    let run = waiting(&world, &json!({"message": "x"})).await;
    let name = text(&run["run"]);
    let cancelled = said(&world, &["runs", "cancel", name], "").await;
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    assert!(
        [
            format!("{name} is cancelled\n"),
            format!("{name} is being cancelled\n")
        ]
        .contains(&cancelled.out),
        "{cancelled:?}"
    );
    let again = said(&world, &["runs", "cancel", name, "--json"], "").await;
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(again["name"], name);
    world.stopped().await;
}

#[tokio::test]
async fn without_a_terminal_a_thread_that_waits_says_what_answers_it() {
    let world = echoing("x").await;
    let run = waiting(&world, &json!({"message": "x"})).await;
    let command = format!(
        "assistd actions answer {} {} --approve\n",
        text(&run["run"]),
        text(&run["pendingActions"][0]["id"])
    );
    for (message, lines) in [(&["and?"][..], ""), (&[], "and?\n")] {
        let arguments = [&["chat", "--thread", text(&run["thread"])], message].concat();
        let chat = said(&world, &arguments, lines).await;
        assert_eq!((chat.code, chat.out.as_str()), (1, ""), "{chat:?}");
        assert!(chat.notes.contains(&command), "{chat:?}");
    }
    world.stopped().await;
}

/// The program at a terminal of its own. What it prints is read as far as the next question.
struct Terminal {
    child: tokio::process::Child,
    shown: String,
}

impl Terminal {
    /// None where there is no `script`, which makes the terminal.
    fn open(world: &World, arguments: &[&str]) -> Option<Self> {
        let words = arguments.iter().map(|word| format!("'{word}'"));
        let words: Vec<String> = words.collect();
        let line = format!(
            "{} {} --server {}",
            world::program(),
            words.join(" "),
            world.url("")
        );
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match child {
            Ok(child) => Some(Self {
                child,
                shown: String::new(),
            }),
            Err(error) => {
                skipped(&format!("no terminal without `script`: {error}"));
                None
            }
        }
    }

    /// Waits for these words, and forgets what came up to them.
    async fn shows(&mut self, words: &str) {
        let mut bytes = [0; 1024];
        loop {
            if let Some(place) = self.shown.find(words) {
                self.shown.drain(..place + words.len());
                return;
            }
            let read = self.child.stdout.as_mut().unwrap().read(&mut bytes);
            let count = tokio::time::timeout(PATIENCE, read).await;
            let count = count.unwrap_or_else(|_| panic!("no {words:?} in {:?}", self.shown));
            let count = count.unwrap();
            assert!(count > 0, "it ended without {words:?}: {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    async fn types(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).await.unwrap();
    }

    async fn code(mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("it ends").unwrap().code()
    }
}

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

#[tokio::test]
async fn at_a_terminal_a_thread_that_waits_is_taken_up() {
    let script = Script::turns([
        Turn::call("echo", &json!({"text": "signed"})),
        Turn::text("so be it"),
        Turn::text("and on"),
    ]);
    let world = World::with(script, asking).await;
    let run = waiting(&world, &json!({"message": "x"})).await;
    let thread = text(&run["thread"]);
    let Some(mut terminal) = Terminal::open(&world, &["chat", "--thread", thread]) else {
        return world.stopped().await;
    };
    terminal.shows("? echo {\"text\":\"signed\"}").await;
    terminal.shows("call it?").await;
    terminal.types("n\r").await;
    terminal.shows("why?").await;
    terminal.types("it is late\r").await;
    terminal.shows("so be it").await;
    terminal.shows("> ").await;
    terminal.types("go on\r").await;
    terminal.shows("and on").await;
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    terminal.shows(&format!("continue with --thread {thread}")).await;
    assert_eq!(terminal.code().await, Some(0));
    assert!(told(&world).contains("rejected: it is late"));
    world.stopped().await;
}

#[tokio::test]
async fn ctrl_d_leaves_a_run_waiting_and_ctrl_c_cancels_it() {
    for (key, code, expected, state) in [
        (CTRL_D, 1, "assistd actions answer", "RUN_STATE_REQUIRES_ACTION"),
        (CTRL_C, 130, "continue with --thread", "RUN_STATE_CANCELLED"),
    ] {
        let world = echoing("x").await;
        let Some(mut terminal) = Terminal::open(&world, &["chat", "say x"]) else {
            return world.stopped().await;
        };
        terminal.shows("call it?").await;
        terminal.types(key).await;
        terminal.shows(expected).await;
        assert_eq!(terminal.code().await, Some(code));
        let threads: Value = reqwest::get(world.url("/v1/threads"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let thread = text(&threads["threads"][0]["name"]);
        let runs = world.url(&format!("/v1/{thread}/runs"));
        let run = async || -> Value {
            let runs: Value = reqwest::get(&runs).await.unwrap().json().await.unwrap();
            runs["runs"][0].clone()
        };
        if key == CTRL_C {
            // It may still be on its way there.
            let name = run().await["name"].clone();
            let watch = reqwest::get(world.url(&format!("/v1/{}:watch", text(&name))));
            let watched = watch.await.unwrap().text().await.unwrap();
            assert!(watched.contains("event: run_cancelled"), "{watched}");
        }
        assert_eq!(run().await["state"], state);
        world.stopped().await;
    }
}
