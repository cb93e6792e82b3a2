//! The answer of ListTools, whose tools are written down once for everybody who asks.

use bytes::Bytes;
use prost::{DecodeError, Message};

use super::pb;

/// `assistant.v1.ListToolsResponse` with each tool as the bytes of an `assistant.v1.Tool`, which is the same on the wire
/// (a field of bytes and a field of messages are written alike). A page of a large catalogue is then a thousand
/// references to bytes that are there, and neither copied tool by tool nor written anew for each request.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ListToolsResponse {
    /// The tools of this page, each encoded.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub tools: Vec<Bytes>,
    /// The token of the next page; empty when there is none.
    #[prost(string, tag = "2")]
    pub next_page_token: String,
    /// Which catalogue the tools are of.
    #[prost(string, tag = "3")]
    pub catalogue_version: String,
}

impl ListToolsResponse {
    /// The tools, read.
    ///
    /// # Errors
    /// The first one that is no tool.
    pub fn tools(&self) -> Result<Vec<pb::Tool>, DecodeError> {
        self.tools
            .iter()
            .map(|tool| pb::Tool::decode(tool.as_ref()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DescriptorPool, DynamicMessage, Kind, Value};

    use super::*;

    #[test]
    fn it_is_on_the_wire_what_the_contract_says() {
        let pool = DescriptorPool::decode(pb::DESCRIPTOR_SET).unwrap();
        let described = pool
            .get_message_by_name("assistant.v1.ListToolsResponse")
            .unwrap();
        let tool = pb::Tool {
            name: "tools/echo".to_owned(),
            ..Default::default()
        };
        let ours = ListToolsResponse {
            tools: vec![tool.encode_to_vec().into(), Bytes::new()],
            next_page_token: "next".to_owned(),
            catalogue_version: "1".to_owned(),
        };
        let theirs = DynamicMessage::decode(described.clone(), ours.encode_to_vec().as_slice()).unwrap();
        assert_eq!(theirs.unknown_fields().count(), 0);
        assert_eq!(
            described.fields().len(),
            3,
            "a field of the contract is missing here"
        );
        let text = |field: &str| {
            theirs
                .get_field_by_name(field)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(text("next_page_token"), "next");
        assert_eq!(text("catalogue_version"), "1");
        let tools = described.get_field_by_name("tools").unwrap();
        assert!(matches!(tools.kind(), Kind::Message(kind) if kind.full_name() == "assistant.v1.Tool"));
        let names: Vec<Value> = theirs
            .get_field(&tools)
            .as_list()
            .unwrap()
            .iter()
            .map(|tool| {
                tool.as_message()
                    .unwrap()
                    .get_field_by_name("name")
                    .unwrap()
                    .into_owned()
            })
            .collect();
        assert_eq!(
            names,
            [
                Value::String("tools/echo".to_owned()),
                Value::String(String::new())
            ]
        );
        assert_eq!(ours.tools().unwrap(), [tool, pb::Tool::default()]);
    }
}
