//! A run's events as a person, or a program, wants to read them.

use std::io::Write;

use crate::api::pb;
use crate::api::pb::content_part::Part;
use crate::api::pb::run_event::Payload;
use crate::cli::call;
use crate::cli::error::Error;
use crate::cli::proto_json::ProtoJson;
use crate::cli::terminal::{brief, plain};

const NOTE_CHARS: usize = 160;

/// How events are printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Every event as a line of JSON, and nothing else.
    pub json: bool,
    /// Notes may be dimmed.
    pub colour: bool,
    /// The answer goes to a terminal, where control characters would do something.
    pub harmless: bool,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an answer, perhaps not a whole one.
    Answered,
    /// Without one, and why.
    Unanswered(String),
}

/// Prints the answer to one place, and notes of what else happens to another.
pub struct Printer<O, N> {
    answer: O,
    notes: N,
    style: Style,
    json: ProtoJson,
    is_amid_line: bool,
}

impl<O: Write, N: Write> Printer<O, N> {
    /// A printer for any number of runs, one after the other.
    pub fn new(answer: O, notes: N, style: Style) -> Result<Self, Error> {
        Ok(Self {
            answer,
            notes,
            style,
            json: ProtoJson::of("RunEvent")?,
            is_amid_line: false,
        })
    }

    /// Prints an event. An ending is the last of a run.
    pub fn event(&mut self, event: &pb::RunEvent) -> Result<Option<Ending>, Error> {
        let Some(payload) = &event.payload else {
            return self.print_json(event).map(|()| None);
        };
        if self.style.json {
            self.print_json(event)?;
        } else {
            self.print(payload)?;
        }
        let ending = ending(payload);
        if ending.is_some() {
            self.break_line()?;
        }
        Ok(ending)
    }

    /// Prints a line that is not part of the answer; nothing in JSON.
    pub fn note(&mut self, text: &str) -> Result<(), Error> {
        if self.style.json {
            return Ok(());
        }
        self.break_line()?;
        let text = plain(text);
        if self.style.colour {
            writeln!(self.notes, "\x1b[2m{text}\x1b[0m")?;
        } else {
            writeln!(self.notes, "{text}")?;
        }
        Ok(())
    }

    /// Ends the line that the answer is in the middle of.
    pub fn break_line(&mut self) -> Result<(), Error> {
        if self.is_amid_line {
            self.is_amid_line = false;
            writeln!(self.answer)?;
            self.answer.flush()?;
        }
        Ok(())
    }

    fn print_json(&mut self, event: &pb::RunEvent) -> Result<(), Error> {
        if self.style.json {
            writeln!(self.answer, "{}", self.json.line(event)?)?;
            self.answer.flush()?;
        }
        Ok(())
    }

    fn print(&mut self, payload: &Payload) -> Result<(), Error> {
        match payload {
            Payload::TextDelta(delta) => self.text(&delta.text),
            Payload::RefusalDelta(delta) => self.text(&delta.text),
            Payload::MessageCreated(created) => created
                .message
                .as_ref()
                .map_or(Ok(()), |message| self.told(message)),
            // Here, not when a call starts: only now its arguments are whole.
            Payload::MessageCompleted(completed) => completed
                .message
                .as_ref()
                .map_or(Ok(()), |message| self.calls(message)),
            Payload::ToolCallProgress(progress) if !progress.message.is_empty() => {
                self.note(&format!("… {}", brief(&progress.message, NOTE_CHARS)))
            }
            Payload::ToolCallCompleted(completed) => match &completed.output {
                Some(output) => self.tool_output(output),
                None => Ok(()),
            },
            Payload::TurnRestarted(_) => self.note("the answer starts again"),
            Payload::RunIncomplete(end) => {
                let reason = end
                    .run
                    .as_ref()
                    .map_or(pb::IncompleteReason::Unspecified, pb::Run::incomplete_reason);
                self.note(&format!(
                    "incomplete: {}",
                    word(reason.as_str_name(), "INCOMPLETE_REASON_")
                ))
            }
            _ => Ok(()),
        }
    }

    /// A piece of the answer, at once.
    fn text(&mut self, text: &str) -> Result<(), Error> {
        let shown = if self.style.harmless {
            plain(text)
        } else {
            text.into()
        };
        if let Some(last) = shown.chars().next_back() {
            self.answer.write_all(shown.as_bytes())?;
            self.answer.flush()?;
            self.is_amid_line = last != '\n';
        }
        Ok(())
    }

    /// What the service has told the model.
    fn told(&mut self, message: &pb::Message) -> Result<(), Error> {
        if message.role() != pb::Role::System {
            return Ok(());
        }
        if let Some(summary) = &message.summary {
            let count = summary.messages;
            return self.note(&format!("{count} earlier messages are summed up"));
        }
        for part in &message.content {
            if let Some(Part::Text(text)) = &part.part {
                self.note(&format!("asked again: {}", brief(text, NOTE_CHARS)))?;
            }
        }
        Ok(())
    }

    /// The tools that the model asks for in a message of its own.
    fn calls(&mut self, message: &pb::Message) -> Result<(), Error> {
        if message.role() != pb::Role::Assistant {
            return Ok(());
        }
        for part in &message.content {
            if let Some(Part::ToolCall(call)) = &part.part {
                self.note(&format!(
                    "→ {} {}",
                    call.tool,
                    brief(&arguments(call), NOTE_CHARS)
                ))?;
            }
        }
        Ok(())
    }

    fn tool_output(&mut self, output: &pb::ToolOutput) -> Result<(), Error> {
        let data = call::data(
            output.structured_content.as_ref(),
            &output.structured_content_json,
        );
        let text = call::output(&output.content, data);
        let mark = if output.is_error { "✗" } else { "←" };
        self.note(&format!("{mark} {} {}", output.tool, brief(&text, NOTE_CHARS)))
    }
}

/// The arguments of a call, as JSON.
pub fn arguments(call: &pb::ToolCall) -> String {
    let text = call::data(call.arguments.as_ref(), &call.arguments_json).unwrap_or_default();
    plain(&text).into_owned()
}

fn ending(payload: &Payload) -> Option<Ending> {
    match payload {
        Payload::RunCompleted(_) | Payload::RunIncomplete(_) => Some(Ending::Answered),
        Payload::RunFailed(end) => Some(Ending::Unanswered(failure(end.run.as_ref()))),
        Payload::RunCancelled(_) => Some(Ending::Unanswered("the run was cancelled".to_owned())),
        Payload::RunExpired(_) => Some(Ending::Unanswered("the run took too long and expired".to_owned())),
        _ => None,
    }
}

fn failure(run: Option<&pb::Run>) -> String {
    match run.and_then(|run| run.error.as_ref()) {
        Some(error) => format!("the run failed: {}", error.message),
        None => "the run failed".to_owned(),
    }
}

/// An enum's name without its prefix, in lower case.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: Payload) -> pb::RunEvent {
        pb::RunEvent {
            sequence: 1,
            run: "threads/t/runs/r".into(),
            payload: Some(payload),
            ..Default::default()
        }
    }

    fn delta(text: &str) -> Payload {
        Payload::TextDelta(pb::TextDelta {
            text: text.into(),
            ..Default::default()
        })
    }

    fn tool_use() -> [Payload; 2] {
        let call = pb::ToolCall {
            tool: "calculate".into(),
            arguments_json: r#"{"expression":"2+2"}"#.into(),
            ..Default::default()
        };
        let output = pb::ToolOutput {
            tool: "calculate".into(),
            content: vec![pb::ToolContent {
                content: Some(pb::tool_content::Content::Text("Result: 4".into())),
            }],
            ..Default::default()
        };
        [
            Payload::MessageCompleted(pb::MessageCompleted {
                message: Some(pb::Message {
                    role: pb::Role::Assistant.into(),
                    content: vec![pb::ContentPart {
                        part: Some(Part::ToolCall(call.clone())),
                    }],
                    ..Default::default()
                }),
            }),
            Payload::ToolCallCompleted(pb::ToolCallCompleted {
                tool_call: Some(call),
                output: Some(output),
            }),
        ]
    }

    /// What goes to the answer and to the notes, and how it ended.
    fn printed(json: bool, payloads: impl IntoIterator<Item = Payload>) -> (String, String, Option<Ending>) {
        let style = Style {
            json,
            colour: false,
            harmless: true,
        };
        let mut printer = Printer::new(Vec::new(), Vec::new(), style).unwrap();
        let mut last = None;
        for payload in payloads {
            last = printer.event(&event(payload)).unwrap();
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(printer.answer), text(printer.notes), last)
    }

    fn completed() -> Payload {
        Payload::RunCompleted(Box::default())
    }

    #[test]
    fn a_refusal_is_an_answer_and_what_the_model_is_told_a_note() {
        let refusal = Payload::RefusalDelta(pb::RefusalDelta {
            text: "I will not.".into(),
            ..Default::default()
        });
        let note = Payload::MessageCreated(pb::MessageCreated {
            message: Some(pb::Message {
                role: pb::Role::System.into(),
                content: vec![pb::ContentPart {
                    part: Some(Part::Text("This answer does not fit".into())),
                }],
                ..Default::default()
            }),
        });
        let summary = Payload::MessageCreated(pb::MessageCreated {
            message: Some(pb::Message {
                role: pb::Role::System.into(),
                content: vec![pb::ContentPart {
                    part: Some(Part::Text("they met".into())),
                }],
                summary: Some(pb::MessageSummary {
                    messages: 4,
                    ..Default::default()
                }),
                ..Default::default()
            }),
        });
        let (answer, notes, _) = printed(false, [summary, delta("7"), note, refusal, completed()]);
        assert_eq!(answer, "7\nI will not.\n");
        assert_eq!(
            notes,
            "4 earlier messages are summed up\nasked again: This answer does not fit\n"
        );
    }

    #[test]
    fn the_answer_is_the_deltas_and_the_notes_are_the_tools() {
        let [started, done] = tool_use();
        let events = [
            delta("Let me "),
            delta("see."),
            started,
            done,
            delta("It is 4."),
            completed(),
        ];
        let (answer, notes, ending) = printed(false, events);
        assert_eq!(answer, "Let me see.\nIt is 4.\n");
        assert_eq!(
            notes,
            "→ calculate {\"expression\":\"2+2\"}\n← calculate Result: 4\n"
        );
        assert_eq!(ending, Some(Ending::Answered));
    }

    #[test]
    fn json_is_one_line_for_every_event_and_nothing_else() {
        let [started, done] = tool_use();
        let (answer, notes, ending) = printed(true, [started, done, delta("4"), completed()]);
        assert_eq!(notes, "");
        let cases: Vec<serde_json::Value> = answer
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(cases.len(), 4);
        assert_eq!(cases[2]["textDelta"]["text"], "4");
        assert_eq!(ending, Some(Ending::Answered));
    }

    #[test]
    fn a_run_that_fails_says_why() {
        let error = tonic_types::pb::Status {
            message: "the model is not there".into(),
            ..Default::default()
        };
        let run = pb::Run {
            error: Some(error),
            ..Default::default()
        };
        let failed = Payload::RunFailed(Box::new(pb::RunFailed { run: Some(run) }));
        let (answer, _, ending) = printed(false, [delta("I am"), failed]);
        assert_eq!(answer, "I am\n");
        let expected = "the run failed: the model is not there".to_owned();
        assert_eq!(ending, Some(Ending::Unanswered(expected)));
    }

    #[test]
    fn an_incomplete_answer_is_an_answer_with_a_note() {
        let run = pb::Run {
            incomplete_reason: pb::IncompleteReason::MaxTurns.into(),
            ..Default::default()
        };
        let end = Payload::RunIncomplete(Box::new(pb::RunIncomplete { run: Some(run) }));
        let (_, notes, ending) = printed(false, [delta("so far\n"), end]);
        assert_eq!(notes, "incomplete: max_turns\n");
        assert_eq!(ending, Some(Ending::Answered));
    }

    #[test]
    fn the_answer_cannot_command_the_terminal() {
        let (answer, _, _) = printed(false, [delta("\x1b]0;title\x07hi"), completed()]);
        assert_eq!(answer, "]0;titlehi\n");
    }
}
