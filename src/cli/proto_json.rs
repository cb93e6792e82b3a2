//! Messages of the contract as ProtoJSON.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::api::pb;

use super::error::Error;

/// Prints messages of one type.
pub struct ProtoJson {
    descriptor: MessageDescriptor,
    options: SerializeOptions,
}

impl ProtoJson {
    /// For the type of that name in the contract's package.
    ///
    /// # Errors
    /// There is no such type.
    pub fn of(name: &str) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(pb::DESCRIPTOR_SET).map_err(Error::service)?;
        let full_name = format!("assistant.v1.{name}");
        let descriptor = pool
            .get_message_by_name(&full_name)
            .ok_or_else(|| Error::service(format!("no message {full_name}")))?;
        // As the service itself prints: fields without presence always, others when they are set.
        let options = SerializeOptions::new().skip_default_fields(false);
        Ok(Self { descriptor, options })
    }

    /// One line, without its end.
    ///
    /// # Errors
    /// The message is not of this type.
    pub fn line(&self, message: &impl Message) -> Result<String, Error> {
        let bytes = message.encode_to_vec();
        let message =
            DynamicMessage::decode(self.descriptor.clone(), bytes.as_slice()).map_err(Error::service)?;
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut line);
        message
            .serialize_with_options(&mut serializer, &self.options)
            .map_err(Error::service)?;
        String::from_utf8(line).map_err(Error::service)
    }

    /// Reads a message of this type.
    ///
    /// # Errors
    /// What is wrong with it, also a field that the type does not have.
    pub fn read<M: Message + Default>(&self, text: &str) -> Result<M, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut reader)
            .map_err(|error| error.to_string())?;
        reader.end().map_err(|error| error.to_string())?;
        message.transcode_to().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_every_field_that_has_no_presence() {
        let event = pb::RunEvent {
            sequence: 7,
            run: "threads/thread_1/runs/run_1".into(),
            payload: Some(pb::run_event::Payload::TextDelta(pb::TextDelta {
                message: String::new(),
                text: "two\nlines".into(),
            })),
            ..Default::default()
        };
        let line = ProtoJson::of("RunEvent").unwrap().line(&event).unwrap();
        assert!(!line.contains('\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "sequence": "7",
            "run": "threads/thread_1/runs/run_1",
            "textDelta": {"message": "", "text": "two\nlines"},
        });
        assert_eq!(value, expected);
    }
}
