//! gRPC, by tonic's client. Its channel is left out: it would end what is late itself, before the service does.

use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures::StreamExt;
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use super::door::{CONTRACT, Call, Messages, Refusal};

/// Asks, and waits for the answer to begin.
pub async fn open(address: SocketAddr, call: &Call) -> Messages {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<tonic::body::Body>();
    let mut grpc = tonic::client::Grpc::with_origin(client, format!("http://{address}").parse().unwrap());
    grpc.ready().await.unwrap();
    let mut request = Request::new(encoded(call));
    if let Some(timeout) = timeout(call) {
        request
            .metadata_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
    }
    let path = PathAndQuery::try_from(path(call)).unwrap();
    // On the wire, one answer is a stream of one.
    match grpc.server_streaming(request, path, Raw).await {
        Ok(response) => {
            let output = call.method.output();
            let answers = response.into_inner();
            answers
                .map(move |answer| match answer {
                    Ok(message) => Ok(decoded(&output, &message)),
                    Err(status) => Err(refusal(&status)),
                })
                .boxed()
        }
        Err(status) => futures::stream::iter([Err(refusal(&status))]).boxed(),
    }
}

/// The path of an RPC.
pub fn path(call: &Call) -> String {
    let service = call.method.parent_service().full_name();
    format!("/{service}/{}", call.method.name())
}

/// The `grpc-timeout` of a request that has one.
pub fn timeout(call: &Call) -> Option<String> {
    call.timeout.map(|timeout| format!("{}m", timeout.as_millis()))
}

/// The bytes of the request's message.
pub fn encoded(call: &Call) -> Bytes {
    call.message.encode_to_vec().into()
}

/// The message that these bytes are.
pub fn decoded(descriptor: &MessageDescriptor, bytes: &Bytes) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), bytes.clone()).unwrap()
}

/// The refusal that a gRPC status is; what it says itself and what its details say must be the same.
pub fn refusal(status: &Status) -> Refusal {
    let descriptor = CONTRACT.get_message_by_name("google.rpc.Status").unwrap();
    let refusal = Refusal::of(&decoded(&descriptor, &Bytes::copy_from_slice(status.details())));
    assert_eq!(
        (refusal.code, &*refusal.message),
        (status.code(), status.message())
    );
    refusal
}

/// Messages as their bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
