//! The service, and what it is told.

use std::pin::Pin;

use futures::Stream;
use futures::stream;
use tonic::{Request, Response, Status};

/// What was generated from `echo.proto`.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_imports,
    reason = "generated"
)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/echo.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/echo.v1.serde.rs"));
    include!(concat!(env!("OUT_DIR"), "/echo.v1.rest.rs"));
}

/// rest_over_grpc's routes, generated.
pub mod rest {
    /// Where the generated code looks for the types.
    pub mod echo {
        pub use super::super::pb as v1;
    }
    include!(concat!(env!("OUT_DIR"), "/transcoder.rest.rs"));
}

/// The descriptors of `echo.proto` and its imports, options included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo_descriptor.bin"));

/// Says what it was told.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

#[tonic::async_trait]
impl pb::echo_server::Echo for Echo {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::Event, Status>> + Send>>;

    async fn say(&self, request: Request<pb::Message>) -> Result<Response<pb::Message>, Status> {
        let message = request.into_inner();
        if message.text == "fail" {
            return Err(Status::not_found("no such message"));
        }
        Ok(Response::new(message))
    }

    async fn recall(&self, request: Request<pb::Message>) -> Result<Response<pb::Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let count = i64::from(request.into_inner().count);
        let events = (1..=count).map(|sequence| {
            Ok(pb::Event {
                sequence,
                payload: Some(pb::event::Payload::TextDelta("a few words, ".to_owned())),
            })
        });
        Ok(Response::new(Box::pin(stream::iter(events))))
    }
}

/// A message like one of a chat: about 400 bytes of JSON.
#[must_use]
pub fn small() -> pb::Message {
    pb::Message {
        thread: "threads/0198f6f0-9d3c-7c1e-b0a5-6f1d2c3b4a59".to_owned(),
        text: "What is the weather like in Z\u{fc}rich today, and do I need an umbrella?".to_owned(),
        role: pb::Role::User.into(),
        sequence: 12,
        temperature: 0.7,
        streamed: true,
        create_time: Some(pbjson_types::Timestamp {
            seconds: 1_764_230_400,
            nanos: 250_000_000,
        }),
        tools: vec!["tools/weather".to_owned(), "tools/calendar".to_owned()],
        metadata: [("language".to_owned(), "en".to_owned())].into(),
        parts: Vec::new(),
        digest: vec![7; 32],
    }
}

/// A message like a conversation: 64 KiB of JSON, texts of a few hundred bytes and calls of tools by turns.
#[must_use]
pub fn large() -> pb::Message {
    const BYTES: usize = 64 * 1024;
    let line = "The forecast says \"rain\" until noon \u{2013} then sun.\n";
    let mut message = small();
    let mut bytes = 0;
    while bytes < BYTES {
        let kind = if message.parts.len() % 4 == 3 {
            pb::part::Kind::Call(pb::Call {
                name: "tools/weather".to_owned(),
                output: line.repeat(4),
                duration_ms: 120,
            })
        } else {
            pb::part::Kind::Text(line.repeat(8))
        };
        let part = pb::Part { kind: Some(kind) };
        bytes += serde_json::to_vec(&part).unwrap().len() + 1;
        message.parts.push(part);
    }
    message
}
