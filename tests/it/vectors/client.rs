//! What a client writes into a URL. The service writes none, so the cases are read backwards: the text, the path and
//! the query that such a client writes must arrive as the very message that it meant. A message for which there is no
//! URL must have no way in: its rule is refused when the routes are built, or the nearest that could be written is
//! refused when it comes.

use std::convert::Infallible;

use assistd::api::transcode::{Options, Transcoder};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost_reflect::DescriptorPool;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};
use serde_json::Value;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{Oracle, Outcome, bytes, folder, list, read, text};

const MESSAGE: &str = "query_vectors.ParameterValues";

#[tokio::test]
async fn values_that_a_client_writes_are_read_as_it_meant_them() {
    let Some(file) = read("client_encode.json") else {
        return;
    };
    let oracle = Oracle::read("query_vectors.binpb");
    let mut outcome = Outcome::of("client_encode");
    for case in list(&file, "value_to_text") {
        let (field, written) = (text(case, "field"), case["expect_text"].as_str());
        let name = format!("{field} {}", written.unwrap_or("without a text"));
        outcome.add(name, value_case(&oracle, field, written, case).await);
    }
    for case in list(&file, "message_to_path") {
        outcome.add(text(case, "template").to_owned(), path_case(&oracle, case).await);
    }
    outcome.settle();
}

async fn value_case(oracle: &Oracle, field: &str, written: Option<&str>, case: &Value) -> Result<(), String> {
    let meant = bytes(&case["message"], "payload_base64");
    let value = match written {
        Some(written) => written.to_owned(),
        // What it would have to write is the value's ProtoJSON.
        None => match &oracle.print(MESSAGE, &meant)?[camel(field)] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        },
    };
    let path = format!("/v1?{field}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    match (arrived(rule("/v1", ""), &path).await, written) {
        (Ok(found), Some(_)) => oracle.compare(MESSAGE, &found, &meant),
        (Err(problem), Some(_)) => Err(problem),
        (Ok(_), None) => Err(format!("{value} was taken")),
        (Err(_), None) => Ok(()),
    }
}

async fn path_case(oracle: &Oracle, case: &Value) -> Result<(), String> {
    let meant = bytes(&case["message"], "payload_base64");
    let rule = rule(
        text(case, "template"),
        case["body_field"].as_str().unwrap_or_default(),
    );
    if case["expect"] == "error" {
        let query: Vec<String> = case["message"]["json"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(name, value)| leaves(name, value))
            .collect();
        let path = format!("{}?{}", text(case, "template"), query.join("&"));
        return match arrived(rule, &path).await {
            Ok(_) => Err(format!("{path} was taken")),
            Err(_) => Ok(()),
        };
    }
    let query = case["expect_query"].as_object().into_iter().flatten();
    let query: Vec<String> = query
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
        .collect();
    let found = arrived(
        rule,
        &format!("{}?{}", text(case, "expect_path"), query.join("&")),
    )
    .await?;
    oracle.compare(MESSAGE, &found, &meant)
}

/// Parameters for all that is in a JSON value.
fn leaves(name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| leaves(name, item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(field, value)| leaves(&format!("{name}.{field}"), value))
            .collect(),
        Value::String(text) => vec![format!("{name}={text}")],
        value => vec![format!("{name}={value}")],
    }
}

fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

fn rule(template: &str, body: &str) -> String {
    match body {
        "" => format!("get: \"{template}\""),
        body => format!("post: \"{template}\" body: \"{body}\""),
    }
}

/// The message that arrives at an RPC with this rule.
async fn arrived(rule: String, path: &str) -> Result<Vec<u8>, String> {
    let pool = pool(&rule);
    let service = tower::service_fn(|request: Request<Body>| async move {
        let message = request.into_body().collect().await.unwrap().to_bytes();
        // It comes back as the status' message, since not everything that arrives has a JSON form.
        let shown: String = message[5..].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok::<_, Infallible>(tonic::Status::unknown(shown).into_http::<Body>())
    });
    let transcoder =
        Transcoder::new(&pool, service, Options::default()).map_err(|error| error.to_string())?;
    let method = if rule.starts_with("get") { "GET" } else { "POST" };
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response: Response<Body> = transcoder.oneshot(request).await.unwrap();
    let json: Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    if json["error"]["status"] != "UNKNOWN" {
        return Err(json.to_string());
    }
    let shown = json["error"]["message"].as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&shown[at..at + 2], 16).unwrap();
    Ok((0..shown.len()).step_by(2).map(byte).collect())
}

/// The vectors' messages, with a service whose one RPC has this rule.
fn pool(rule: &str) -> DescriptorPool {
    let source = format!(
        "syntax = \"proto3\"; package client; import \"google/api/annotations.proto\";
         import \"query_vectors.proto\"; service S {{ rpc R({MESSAGE}) returns ({MESSAGE}) {{
         option (google.api.http) = {{ {rule} }}; }} }}"
    );
    let vectors = std::fs::read(folder().unwrap().join("protos/query_vectors.binpb")).unwrap();
    let mut files = ChainFileResolver::new();
    files.add(DescriptorSetFileResolver::decode(&*vectors).unwrap());
    files.add(IncludeFileResolver::new(
        concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into(),
    ));
    files.add(GoogleFileResolver::new());
    files.add(Source(source));
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).open_file("client.proto").unwrap();
    DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
}

/// The file with the service, which is nowhere on disk.
struct Source(String);

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "client.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}
