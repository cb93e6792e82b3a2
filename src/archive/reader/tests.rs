use super::*;

const HEADER: &str = r#"{"kind":"assistd_export","version":1}"#;
const THREAD: &str = r#"{"kind":"thread","id":"thread_1","version":1,"create_time":"2026-01-01T00:00:00Z","update_time":"2026-01-01T00:00:00Z"}"#;
const MESSAGE: &str = r#"{"kind":"message","id":"msg_1","role":"user","content":[{"text":"hi"}],"run":null,"incomplete":false,"create_time":"2026-01-02T00:00:00.5Z"}"#;
const RUN: &str = r#"{"kind":"run","id":"run_1","state":"completed","first_message":"msg_1","create_time":"2026-01-02T00:00:01Z","start_time":null,"end_time":null,"waited":"0s","last_sequence":3,"usage":{},"snapshot":{"model":"m","instructions":"","limits":{"max_turns":1,"max_tool_calls":1},"catalogue_version":0,"metadata":{}}}"#;

fn end(threads: u32, messages: u32, runs: u32) -> String {
    format!(
        r#"{{"kind":"end","assistants":0,"threads":{threads},"messages":{messages},"runs":{runs},"steps":0}}"#
    )
}

fn read(lines: &[&str]) -> Vec<Result<Restore, Fault>> {
    Reader::new(lines.join("\n").as_bytes()).collect()
}

#[test]
fn what_belongs_together_is_put_together() {
    let end = end(1, 1, 1);
    let items = read(&[HEADER, "", THREAD, MESSAGE, RUN, &end, ""]);
    let [Ok(Restore::Thread(whole))] = items.as_slice() else {
        panic!("{items:?}");
    };
    assert_eq!((whole.messages.len(), whole.runs.len()), (1, 1));
    // It was last changed when its newest thing was added, whatever its line says.
    assert_eq!(whole.record.update_time, whole.runs[0].record.create_time);
}

#[test]
fn faults_name_the_line_and_the_field() {
    let ends: Vec<String> = [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 2, 0)]
        .into_iter()
        .map(|(threads, messages, runs)| end(threads, messages, runs))
        .collect();
    let [bare, one_message, one_run, two_messages] = ends.as_slice() else {
        panic!("four ends");
    };
    let of_run = MESSAGE.replace("\"run\":null", "\"run\":\"run_2\"");
    let odd_time = MESSAGE.replace("2026-01-02T00:00:00.5Z", "soon");
    let odd_content = MESSAGE.replace("\"text\":\"hi\"", "\"scent\":\"hi\"");
    let unfinished = RUN.replace("completed", "running");
    let odd_field = THREAD.replace("\"version\":1", "\"version\":1,\"colour\":1");
    let cases: [(&[&str], &str); 14] = [
        (&[], "line 1: the file is cut off: it has no end line"),
        (&[THREAD], "line 1: is not the header of an export"),
        (
            &[HEADER, THREAD],
            "line 3: the file is cut off: it has no end line",
        ),
        (
            &[HEADER, MESSAGE, bare],
            "line 2: kind: a message comes after its thread",
        ),
        (&[HEADER, RUN], "line 2: kind: a run comes after its thread"),
        (
            &[HEADER, THREAD, &odd_time],
            "line 3: create_time: is not a time since 1970, such as",
        ),
        (
            &[HEADER, THREAD, &odd_content],
            "line 3: content[0]: unknown variant `scent`",
        ),
        (&[HEADER, &odd_field], "line 2: colour: unknown field `colour`"),
        (
            &[HEADER, THREAD, &of_run, one_message],
            "line 2: messages[0].run: run_2 is not a run of the thread",
        ),
        (
            &[HEADER, THREAD, MESSAGE, MESSAGE, two_messages],
            "line 2: messages[1].id: msg_1 is there twice",
        ),
        (
            &[HEADER, THREAD, MESSAGE, &unfinished, one_run],
            "line 4: state: is that of a run that is not over, which cannot be imported",
        ),
        (&[HEADER, THREAD, one_run], "line 3: says Counts"),
        (
            &[HEADER, THREAD, bare, THREAD],
            "line 4: comes after the end line",
        ),
        (
            &[HEADER, "{\"kind\":\"smell\"}"],
            "line 2: kind: \"smell\" is not known",
        ),
    ];
    for (lines, expected) in cases {
        let fault = read(lines).into_iter().find_map(Result::err).unwrap();
        assert!(fault.to_string().starts_with(expected), "{expected}\n{fault}");
    }
}
