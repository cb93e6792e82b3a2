//! Answers on their way out, shown to the script's reviewer.

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::fault;
use super::pace::Waits;
use super::playback::Playback;
use super::refusal::Refusal;
use super::script::Said;
use super::server::{Desk, cannot_write, refused, typed, whole};
use super::sse::Events;
use super::turn::{RawAnswer, Speech};

/// Shows answers to the script's reviewer, if it has one, on their way out.
pub(super) struct Review<'a> {
    pub desk: &'a Desk,
    pub method: &'a str,
    pub path: &'a str,
}

impl Review<'_> {
    pub fn stream(
        &self,
        events: serde_json::Result<Events>,
        speech: &Speech,
        waits: Waits,
    ) -> Response<Playback> {
        if let Ok(events) = &events {
            self.see_stream(&events.bytes);
        }
        match events.and_then(|events| fault::rewrite_events(events, &speech.faults)) {
            Ok(events) => typed(
                "text/event-stream; charset=utf-8",
                Playback::stream(events, &speech.faults, waits),
            ),
            Err(error) => self.refused(&cannot_write(&error)),
        }
    }

    pub fn written(&self, body: serde_json::Result<Vec<u8>>, speech: &Speech) -> Response<Playback> {
        if let Ok(body) = &body {
            self.see_whole(StatusCode::OK, body);
        }
        match body.and_then(|body| fault::rewrite_whole(body, &speech.faults)) {
            Ok(body) => whole(body, &speech.faults),
            Err(error) => self.refused(&cannot_write(&error)),
        }
    }

    pub fn whole(&self, body: Vec<u8>, faults: &[fault::Fault]) -> Response<Playback> {
        self.see_whole(StatusCode::OK, &body);
        whole(body, faults)
    }

    pub fn refused(&self, refusal: &Refusal) -> Response<Playback> {
        self.see_whole(refusal.status, &refusal.body());
        refused(refusal)
    }

    /// A small answer, or why there is none.
    pub fn either(&self, answer: Result<Vec<u8>, Refusal>) -> Response<Playback> {
        match answer {
            Ok(body) => self.whole(body, &[]),
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// A scripted HTTP answer; a status or header that HTTP does not allow becomes a 500 that says so. A body that
    /// the script gives is its own affair.
    pub fn scripted(&self, raw: RawAnswer) -> Response<Playback> {
        let Ok(status) = StatusCode::from_u16(raw.status) else {
            return self.refused(&bad_script(&format!("status {} does not exist", raw.status)));
        };
        let mut response = match raw.body {
            Some(body) => whole(body.into_bytes(), &[]),
            None if status.is_client_error() || status.is_server_error() => {
                self.refused(&Refusal::with_status(status))
            }
            None => refused(&Refusal::with_status(status)),
        };
        *response.status_mut() = status;
        for (name, value) in &raw.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => {
                    response.headers_mut().insert(name, value);
                }
                _ => return self.refused(&bad_script(&format!("header {name:?} cannot be sent"))),
            }
        }
        response
    }

    fn see_whole(&self, status: StatusCode, body: &[u8]) {
        if self.desk.script().reviewer().is_some() {
            let body = serde_json::from_slice(body).unwrap_or_default();
            self.see(&Said::Whole(status.as_u16(), &body));
        }
    }

    fn see_stream(&self, bytes: &[u8]) {
        if self.desk.script().reviewer().is_none() {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        for frame in text.split_terminator("\n\n") {
            let (head, data) = frame.split_once("data: ").unwrap_or((frame, ""));
            let name = head.strip_prefix("event: ").unwrap_or(head).trim_end();
            // The mark of the end is no JSON.
            let data = serde_json::from_str(data).unwrap_or_else(|_| data.into());
            self.see(&Said::Event(name, &data));
        }
    }

    fn see(&self, said: &Said<'_>) {
        let Some(reviewer) = self.desk.script().reviewer() else {
            return;
        };
        if let Err(violation) = reviewer(self.method, self.path, said) {
            let at = format!("answer to {} {}", self.method, self.path);
            self.desk.record().note_violation(format!("{at}: {violation}"));
        }
    }
}

fn bad_script(problem: &str) -> Refusal {
    let mut refusal = Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR);
    refusal.message = format!("The script is wrong: {problem}");
    refusal
}
