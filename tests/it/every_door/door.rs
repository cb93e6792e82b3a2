//! One client for every door: a request in, messages or a refusal out, in the same words whatever the wire.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use assistd::api::pb;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::Code;

use super::{grpc, json, web};
use crate::world::{PATIENCE, World};

/// How a client speaks to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Grpc,
    GrpcWeb,
    GrpcWebText,
    /// Streams are server-sent events.
    JsonOverHttp1,
    /// Streams are server-sent events.
    JsonOverHttp2,
    /// Streams are lines of JSON.
    LinesOverHttp2,
}

impl Form {
    /// Whether requests go by the HTTP bindings of the contract.
    pub fn is_json(self) -> bool {
        matches!(
            self,
            Form::JsonOverHttp1 | Form::JsonOverHttp2 | Form::LinesOverHttp2
        )
    }
}

/// The contract, as any client of it could have it, and a service that it does not have.
pub static CONTRACT: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(pb::DESCRIPTOR_SET).unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let folders = [format!("{root}tests/fixtures/proto"), format!("{root}proto")];
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.open_file("future.proto").unwrap();
    pool.decode_file_descriptor_set(&*compiler.encode_file_descriptor_set())
        .unwrap();
    pool
});

/// One request.
pub struct Call {
    pub method: MethodDescriptor,
    pub message: DynamicMessage,
    pub timeout: Option<Duration>,
}

/// What comes back, as the wire has it.
pub type Messages = BoxStream<'static, Result<DynamicMessage, Refusal>>;

/// A client at one door of a service.
pub struct Door {
    form: Form,
    address: SocketAddr,
}

impl Door {
    pub fn to(world: &World, form: Form) -> Self {
        let address = world.address;
        Self { form, address }
    }

    /// The one answer to a request. RPCs are named as `RunService.GetRun`.
    pub async fn call(&self, rpc: &str, request: Value) -> Result<Value, Refusal> {
        self.call_within(None, rpc, request).await
    }

    /// The same, to be answered in time.
    pub async fn call_within(
        &self,
        timeout: impl Into<Option<Duration>>,
        rpc: &str,
        request: Value,
    ) -> Result<Value, Refusal> {
        let mut answers = self.open_within(timeout, rpc, request).await;
        let answer = answers.next().await.expect("there is an answer")?;
        match answers.next().await {
            None => Ok(answer),
            Some(Ok(second)) => panic!("a second answer: {second}"),
            Some(Err(refusal)) => Err(refusal),
        }
    }

    /// The refusal of a request that must not succeed.
    pub async fn refusal(&self, rpc: &str, request: Value) -> Refusal {
        self.call(rpc, request).await.expect_err("it is refused")
    }

    /// The answers to a request, as they come.
    pub async fn open(&self, rpc: &str, request: Value) -> Answers {
        self.open_within(None, rpc, request).await
    }

    /// The same, to be ended in time.
    pub async fn open_within(
        &self,
        timeout: impl Into<Option<Duration>>,
        rpc: &str,
        request: Value,
    ) -> Answers {
        let (service, name) = rpc.split_once('.').unwrap();
        let service = CONTRACT
            .get_service_by_name(&format!("assistant.v1.{service}"))
            .unwrap();
        let method = service.methods().find(|method| method.name() == name).unwrap();
        let call = Call {
            message: read(method.input(), request),
            method,
            timeout: timeout.into(),
        };
        let opened = async {
            match self.form {
                Form::Grpc => grpc::open(self.address, &call).await,
                Form::GrpcWeb | Form::GrpcWebText => web::open(self.address, self.form, &call).await,
                _ => json::open(self.address, self.form, &call).await,
            }
        };
        let messages = tokio::time::timeout(PATIENCE, opened).await.expect("it begins");
        Answers(messages)
    }
}

/// The answers to one request. Dropping them is leaving.
pub struct Answers(Messages);

impl Answers {
    /// The next answer, or the refusal that ends them; nothing after their end.
    pub async fn next(&mut self) -> Option<Result<Value, Refusal>> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("it goes on")
            .map(|answer| answer.map(|message| show(&message)))
    }

    /// Everything until the end, and the refusal that is the end, if one is.
    pub async fn rest(mut self) -> (Vec<Value>, Option<Refusal>) {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(refusal) => {
                    assert!(self.next().await.is_none(), "nothing comes after {refusal:?}");
                    return (answers, Some(refusal));
                }
            }
        }
        (answers, None)
    }

    /// Everything of what must end well.
    pub async fn all(self) -> Vec<Value> {
        let (answers, refusal) = self.rest().await;
        assert_eq!(refusal, None);
        answers
    }
}

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    /// The details, each as the JSON of an `Any`.
    pub details: Vec<Value>,
}

impl Refusal {
    /// The refusal that a `google.rpc.Status` is, after a look at what every one of them must have.
    pub fn of(status: &DynamicMessage) -> Self {
        let mut shown = show(status);
        let refusal = Self {
            code: Code::from(i32::try_from(shown["code"].as_i64().unwrap()).unwrap()),
            message: shown["message"].as_str().unwrap().to_owned(),
            details: serde_json::from_value(shown["details"].take()).unwrap(),
        };
        let infos = refusal
            .details
            .iter()
            .filter(|one| one["@type"] == url("ErrorInfo"));
        assert_eq!(infos.count(), 1, "one ErrorInfo: {refusal:?}");
        assert_eq!(refusal.detail("ErrorInfo")["domain"], "assistd", "{refusal:?}");
        refusal
    }

    /// The detail of this type; null without one.
    pub fn detail(&self, name: &str) -> &Value {
        let found = self.details.iter().find(|one| one["@type"] == url(name));
        found.unwrap_or(&Value::Null)
    }

    /// The code, and the reason of the `ErrorInfo`.
    pub fn why(&self) -> (Code, &str) {
        let reason = self.detail("ErrorInfo")["reason"].as_str();
        (self.code, reason.unwrap_or_default())
    }

    /// A fact of the `ErrorInfo`.
    pub fn fact(&self, key: &str) -> &str {
        self.detail("ErrorInfo")["metadata"][key]
            .as_str()
            .unwrap_or_default()
    }

    /// The fields that do not fit, each with what is wrong.
    pub fn violations(&self) -> Vec<(&str, &str)> {
        let violations = self.detail("BadRequest")["fieldViolations"].as_array();
        let texts = violations.into_iter().flatten().map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default();
            (text("field"), text("description"))
        });
        texts.collect()
    }
}

fn url(name: &str) -> String {
    format!("type.googleapis.com/google.rpc.{name}")
}

/// The message that this ProtoJSON is.
pub fn read(descriptor: MessageDescriptor, json: Value) -> DynamicMessage {
    let text = json.to_string();
    DynamicMessage::deserialize(descriptor, json).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The ProtoJSON that this message is.
fn show(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().skip_default_fields(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap()
}
