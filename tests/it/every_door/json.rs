//! HTTP/JSON, as a client would that has nothing but the contract: its bindings say where things go.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use reqwest::{Method, Response};
use serde_json::{Map, Value, json};
use tonic::Code;

use super::door::{CONTRACT, Call, Form, Messages, Refusal, read};

/// HTTP statuses by `google/rpc/code.proto`.
const STATUSES: [(Code, u16); 16] = [
    (Code::Cancelled, 499),
    (Code::Unknown, 500),
    (Code::InvalidArgument, 400),
    (Code::DeadlineExceeded, 504),
    (Code::NotFound, 404),
    (Code::AlreadyExists, 409),
    (Code::PermissionDenied, 403),
    (Code::ResourceExhausted, 429),
    (Code::FailedPrecondition, 400),
    (Code::Aborted, 409),
    (Code::OutOfRange, 400),
    (Code::Unimplemented, 501),
    (Code::Internal, 500),
    (Code::Unavailable, 503),
    (Code::DataLoss, 500),
    (Code::Unauthenticated, 401),
];

/// Reasons that have an HTTP status of their own.
const OWN_STATUSES: [(&str, u16); 1] = [("REQUEST_TOO_LARGE", 413)];

/// Asks, and waits for the answer to begin.
pub async fn open(address: SocketAddr, form: Form, call: &Call) -> Messages {
    let client = match form {
        Form::JsonOverHttp1 => reqwest::Client::builder().http1_only(),
        _ => reqwest::Client::builder().http2_prior_knowledge(),
    };
    let bound = Bound::of(call);
    let url = format!("http://{address}{}", bound.path);
    let mut request = client
        .build()
        .unwrap()
        .request(bound.method, url)
        .query(&bound.query);
    if form == Form::LinesOverHttp2 && call.method.is_server_streaming() {
        request = request.header("accept", "application/x-ndjson");
    }
    if let Some(timeout) = call.timeout {
        request = request.header("x-server-timeout", timeout.as_secs_f64().to_string());
    }
    if let Some(body) = bound.body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    if response.status() != 200 {
        return futures::stream::iter([Err(refused(response).await)]).boxed();
    }
    let output = call.method.output();
    let content_type = response.headers()["content-type"].to_str().unwrap();
    if !call.method.is_server_streaming() {
        assert_eq!(content_type, "application/json");
        let answer = read(output, response.json().await.unwrap());
        return futures::stream::iter([Ok(answer)]).boxed();
    }
    let is_lines = form == Form::LinesOverHttp2;
    let expected = if is_lines {
        "application/x-ndjson"
    } else {
        "text/event-stream"
    };
    assert_eq!(content_type, expected);
    let reader = Reader {
        bytes: response.bytes_stream().boxed(),
        end: if is_lines { "\n" } else { "\n\n" },
        text: Vec::new(),
        output,
    };
    futures::stream::unfold(reader, Reader::next).boxed()
}

/// A request, where the contract binds its parts.
struct Bound {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Option<Value>,
}

impl Bound {
    fn of(call: &Call) -> Self {
        let extension = CONTRACT.get_extension_by_name("google.api.http").unwrap();
        let options = call.method.options();
        let rule = options.get_extension(&extension);
        let rule = serde_json::to_value(rule.as_message().unwrap()).unwrap();
        let verbs = ["get", "put", "post", "delete", "patch"];
        let (verb, template) = verbs
            .iter()
            .find_map(|verb| rule[*verb].as_str().map(|template| (verb, template)))
            .unwrap();
        let mut message = serde_json::to_value(&call.message).unwrap();
        let path = path(template, &mut message);
        let body = match rule["body"].as_str() {
            None => None,
            Some("*") => Some(message.take()),
            Some(field) => message
                .as_object_mut()
                .unwrap()
                .shift_remove(field)
                .or(Some(json!({}))),
        };
        let mut query = Vec::new();
        put_query("", &message, &mut query);
        let method = verb.to_uppercase().parse().unwrap();
        Self {
            method,
            path,
            query,
            body,
        }
    }
}

/// The path that a template becomes; what stands in it is taken out of the message.
fn path(template: &str, message: &mut Value) -> String {
    let mut path = String::new();
    for (place, piece) in template.split(['{', '}']).enumerate() {
        if place % 2 == 0 {
            path.push_str(piece);
            continue;
        }
        let field = piece.split_once('=').map_or(piece, |(field, _)| field);
        let (parents, last) = field.rsplit_once('.').unwrap_or(("", field));
        let mut parent = &mut *message;
        for name in parents.split_terminator('.') {
            parent = &mut parent[name];
        }
        let value = parent
            .as_object_mut()
            .and_then(|fields| fields.shift_remove(last));
        path.push_str(value.as_ref().and_then(Value::as_str).unwrap_or_default());
    }
    path
}

fn put_query(name: &str, value: &Value, query: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                put_query(&format!("{name}{dot}{field}"), value, query);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| put_query(name, value, query)),
        Value::String(text) => query.push((name.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => query.push((name.to_owned(), value.to_string())),
    }
}

async fn refused(response: Response) -> Refusal {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "application/json");
    let refusal = refusal(response.json().await.unwrap(), status);
    let retry = refusal.detail("RetryInfo")["retryDelay"].as_str().map(|delay| {
        let seconds: f64 = delay.trim_end_matches('s').parse().unwrap();
        seconds.ceil().to_string()
    });
    let retry_after = headers
        .get("retry-after")
        .map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(retry_after, retry, "{refusal:?}");
    refusal
}

/// The refusal of a body `{"error": …}`, whose status must be that of its code.
fn refusal(mut body: Value, http: u16) -> Refusal {
    let mut error = body["error"].take();
    assert_eq!(error["code"], http);
    let name = error.as_object_mut().unwrap().shift_remove("status");
    let code = STATUSES
        .iter()
        .find(|(code, _)| Some(json!(name_of(*code))) == name);
    let (code, status) = *code.expect("the status has the name of a code");
    error["code"] = i32::from(code).into();
    let refusal = Refusal::of(&read(
        CONTRACT.get_message_by_name("google.rpc.Status").unwrap(),
        error,
    ));
    let own = OWN_STATUSES.iter().find(|(reason, _)| *reason == refusal.why().1);
    assert_eq!(http, own.map_or(status, |(_, status)| *status), "{refusal:?}");
    refusal
}

/// `NOT_FOUND` for `NotFound`.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// A stream's body, read event by event.
struct Reader {
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    /// What an event ends with.
    end: &'static str,
    text: Vec<u8>,
    output: MessageDescriptor,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<DynamicMessage, Refusal>, Self)> {
        loop {
            let end = self.end.as_bytes();
            let Some(length) = self.text.windows(end.len()).position(|part| part == end) else {
                match self.bytes.next().await {
                    Some(chunk) => self.text.extend_from_slice(&chunk.unwrap()),
                    None => {
                        assert_eq!(self.text, b"", "an event is cut off");
                        return None;
                    }
                }
                continue;
            };
            let event: Vec<u8> = self.text.drain(..length + end.len()).collect();
            let event = std::str::from_utf8(&event).unwrap().trim_end();
            if let Some(answer) = self.answer(event) {
                return Some((answer, self));
            }
        }
    }

    /// What an event tells, if it tells anything.
    fn answer(&self, event: &str) -> Option<Result<DynamicMessage, Refusal>> {
        let is_lines = self.end == "\n";
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data = if is_lines { event } else { field("data: ")? };
        let json: Value = serde_json::from_str(data).unwrap();
        let is_error = json.get("error").is_some();
        if !is_lines {
            assert_eq!(is_error, field("event: ") == Some("error"), "{event}");
        }
        if is_error {
            let http = json["error"]["code"].as_u64().unwrap();
            return Some(Err(refusal(json, http.try_into().unwrap())));
        }
        if !is_lines {
            assert_eq!(field("id: ").unwrap_or("0"), json["sequence"], "{event}");
            let case = field("event: ").unwrap();
            let named = self.output.get_field_by_name(case).unwrap();
            assert!(fields(&json).contains_key(named.json_name()), "{event}");
        }
        Some(Ok(read(self.output.clone(), json)))
    }
}

fn fields(json: &Value) -> &Map<String, Value> {
    json.as_object().unwrap()
}
