//! Requests of HTTP/JSON: targets with anything in them, and bodies that are almost right.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use assistd::api::transcode::{Options, Transcoder};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{prop_assert, prop_assert_eq};
use prost_reflect::DynamicMessage;
use serde_json::Value;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{POOL, changed, changes, messages, search};
use crate::world::PATIENCE;

/// A service that takes everything, answers with an empty message, and keeps what it was asked.
type Asked = Arc<Mutex<Vec<(String, Bytes)>>>;

fn transcoder(asked: Asked) -> impl Fn(Request<Full<Bytes>>) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = Arc::clone(&asked);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            asked.lock().unwrap().push((path, body.slice(5..)));
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            let frames = [
                Frame::data(Bytes::from_static(&[0; 5])),
                Frame::trailers(trailers),
            ];
            let frames = tokio_stream::iter(frames.map(Ok::<_, Infallible>));
            Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
        })
    });
    let transcoder = Transcoder::new(&POOL, service, Options::default()).unwrap();
    move |request| {
        runtime.block_on(async {
            let response = transcoder.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
        })
    }
}

/// Targets of requests: routes of the contract with anything in their variables and queries, and some that are none.
fn targets() -> impl Strategy<Value = (Method, String)> {
    let routes: Vec<(Method, &str)> = include_str!("../routes.golden")
        .lines()
        .map(|line| {
            let (method, rest) = line.split_once(' ').unwrap();
            (method.parse().unwrap(), rest.split_once(" -> ").unwrap().0)
        })
        .collect();
    let value = prop_oneof![
        "[a-z0-9]{1,6}",
        r"[a-zA-Z0-9%:./?&=+~-]{0,12}",
        Just("%2e%2e%2F%ff".to_owned())
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "pageSize",
            "page_token",
            "orderBy",
            "states",
            "afterSequence",
            "updateMask",
            "etag",
            "force",
            "requestId",
            "onBusy",
            "server",
            "thread.metadata[k]",
            "limits.maxTurns",
            "run.limits.maxDuration",
        ])
        .prop_map(str::to_owned),
        r"[a-zA-Z_.\[\]%]{0,10}",
    ];
    let query = proptest::collection::vec((name, value.clone()), 0..4);
    let values = proptest::collection::vec(value, 3);
    (proptest::sample::select(routes), values, query).prop_map(|((method, template), values, query)| {
        let mut values = values.into_iter();
        let mut target = String::new();
        for (place, piece) in template.split(['{', '}']).enumerate() {
            let pattern = piece.split_once('=').map_or(piece, |(_, pattern)| pattern);
            for part in pattern.split_inclusive('*') {
                match part.strip_suffix('*').filter(|_| place % 2 == 1) {
                    Some(text) => target.extend([text.to_owned(), values.next().unwrap_or_default()]),
                    None => target.push_str(part),
                }
            }
        }
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !query.is_empty() {
            target.push_str(&format!("?{}", query.join("&")));
        }
        (method, target)
    })
}

#[test]
fn a_request_is_taken_whole_or_refused_with_the_field() {
    let asked = Asked::default();
    let ask = transcoder(Arc::clone(&asked));
    let bodies = (messages(), changes()).prop_map(|(message, changes)| changed(&message.json(), &changes));
    let bodies = prop_oneof![2 => Just(String::new()), 1 => Just("{}".to_owned()), 3 => bodies];
    search((targets(), bodies), |((method, target), body)| {
        let build = || {
            let builder = Request::builder().method(&method).uri(&*target);
            builder.body(Full::new(Bytes::from(body.clone())))
        };
        let (Ok(first), Ok(second)) = (build(), build()) else {
            return Ok(());
        };
        let (status, answer) = ask(first);
        prop_assert!([200, 400, 404, 405].contains(&status), "{}: {}", status, answer);
        if status == 400 {
            let details = answer["error"]["details"].as_array().unwrap();
            let violations = details
                .iter()
                .filter(|one| one["fieldViolations"][0]["description"].is_string());
            prop_assert_eq!(violations.count(), 1, "{}", answer);
        }
        prop_assert_eq!(ask(second).0, status);
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        prop_assert_eq!(asked.len(), if status == 200 { 2 } else { 0 });
        if let [(path, first), (_, second)] = &*asked {
            prop_assert_eq!(first, second);
            let (service, name) = path[1..].split_once('/').unwrap();
            let service = POOL.get_service_by_name(service).unwrap();
            let method = service.methods().find(|method| method.name() == name).unwrap();
            let read = DynamicMessage::decode(method.input(), first.clone());
            prop_assert!(read.is_ok_and(|message| message.unknown_fields().next().is_none()));
        }
        Ok(())
    });
}

#[test]
fn the_longest_paths_and_queries_are_only_long() {
    let ask = transcoder(Asked::default());
    for (target, expected) in [
        ("/".repeat(64_000), 404),
        (format!("/v1/tools/{}", "a".repeat(60_000)), 200),
        (format!("/v1/threads{}", "/x".repeat(30_000)), 404),
        (format!("/v1/tools{}", ":x".repeat(30_000)), 404),
        (format!("/v1/tools?{}", "&".repeat(60_000)), 200),
        (format!("/v1/tools?{}pageSize=1", "a.".repeat(30_000)), 400),
    ] {
        let request = Request::get(&target).body(Full::default()).unwrap();
        let begun = Instant::now();
        assert_eq!(ask(request).0, expected, "{}", &target[..20]);
        assert!(begun.elapsed() < PATIENCE);
    }
    let deep = "{\"arguments\":".to_owned() + &"{\"a\":".repeat(100_000);
    for body in [deep, "[".repeat(400_000)] {
        let request = Request::post("/v1/tools/echo:call")
            .body(Full::from(body))
            .unwrap();
        assert_eq!(ask(request).0, 400);
    }
}
