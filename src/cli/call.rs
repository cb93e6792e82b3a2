//! `assistd call`.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Map, Value};

use crate::api::convert::structure;
use crate::api::pb;
use crate::api::pb::tool_content::Content;
use crate::config::Settings;

use super::client;
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::plain;

/// What `call` takes.
#[derive(Debug, Args)]
pub struct CallArguments {
    /// The tool's name, as `assistd tools` prints it
    tool: String,

    /// Its arguments, a JSON object
    #[arg(default_value = "{}", value_name = "JSON")]
    arguments: String,

    /// Print the CallToolResponse as JSON
    #[arg(long)]
    json: bool,
}

/// Calls the tool and prints what it says.
pub async fn run(settings: &Settings, arguments: CallArguments) -> Result<(), Error> {
    let object = object("the object of arguments", &arguments.arguments).map_err(Error::Usage)?;
    let mut client = client::connect(settings).await?;
    let bare = arguments.tool.strip_prefix("tools/").unwrap_or(&arguments.tool);
    let request = pb::CallToolRequest {
        name: format!("tools/{bare}"),
        arguments: Some(structure::from_json(&object)),
        ..Default::default()
    };
    let call = client.call_tool(request);
    let response = tokio::select! {
        response = call => response?.into_inner(),
        _ = tokio::signal::ctrl_c() => return Err(Error::Interrupted),
    };
    let text = if arguments.json {
        ProtoJson::of("CallToolResponse")?.line(&response)? + "\n"
    } else {
        let data = data(
            response.structured_content.as_ref(),
            &response.structured_content_json,
        );
        output(&response.content, data)
    };
    io::stdout().write_all(text.as_bytes())?;
    if response.is_error {
        Err(Error::Reported)
    } else {
        Ok(())
    }
}

/// Reads what is named so as an object. A number that the contract cannot carry exactly is refused here, not changed.
///
/// # Errors
/// What is wrong with it.
pub fn object(what: &str, text: &str) -> Result<Map<String, Value>, String> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("{what} is not a JSON object: {error}"))?;
    match object.values().find_map(inexact) {
        Some(number) => Err(format!(
            "{what} has the number {number}, which is beyond 2^53 and would be changed on the way"
        )),
        None => Ok(object),
    }
}

fn inexact(value: &Value) -> Option<String> {
    const LARGEST: u64 = 1 << 53;
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            magnitude
                .is_some_and(|magnitude| magnitude > LARGEST)
                .then(|| number.to_string())
        }
        Value::Array(items) => items.iter().find_map(inexact),
        Value::Object(object) => object.values().find_map(inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// What a tool said, for people: each part on lines of its own; the structured content when there is no
/// other.
pub fn output(content: &[pb::ToolContent], structured: Option<String>) -> String {
    let text: String = content
        .iter()
        .filter_map(|part| part.content.as_ref())
        .map(|part| format!("{}\n", describe(part)))
        .collect();
    match structured {
        Some(data) if text.is_empty() => format!("{}\n", plain(&data)),
        _ => text,
    }
}

/// Data of the contract as JSON: the text if there is one, which says what the object cannot.
pub fn data(object: Option<&prost_types::Struct>, text: &str) -> Option<String> {
    if text.is_empty() {
        object.map(|object| Value::Object(structure::to_json(object.clone())).to_string())
    } else {
        Some(text.to_owned())
    }
}

fn describe(content: &Content) -> String {
    let media = |kind: &str, media: &pb::MediaContent| {
        format!("[{kind}, {}, {} bytes]", media.mime_type, media.data.len())
    };
    let text = match content {
        Content::Text(text) => text.clone(),
        Content::Image(image) => media("image", image),
        Content::Audio(audio) => media("audio", audio),
        Content::ResourceLink(link) => format!("[resource {}]", link.uri),
        Content::Resource(resource) => match &resource.contents {
            Some(pb::resource_contents::Contents::Text(text)) => text.clone(),
            _ => format!("[resource {}]", resource.uri),
        },
    };
    plain(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_of_numbers_that_survive() {
        let cases = [
            (r#"{"a":9007199254740992,"b":[-1.5]}"#, true),
            ("{}", true),
            ("[1]", false),
            ("nonsense", false),
            (r#"{"a":9007199254740993}"#, false),
            (r#"{"a":{"b":[-9007199254740993]}}"#, false),
        ];
        for (text, is_fine) in cases {
            assert_eq!(object("this", text).is_ok(), is_fine, "{text}");
        }
    }

    #[test]
    fn output_is_the_texts_and_a_word_for_everything_else() {
        let part = |content| pb::ToolContent {
            content: Some(content),
        };
        let image = pb::MediaContent {
            data: vec![0; 3],
            mime_type: "image/png".into(),
        };
        let parts = [
            part(Content::Text("Result: 4".into())),
            part(Content::Image(image)),
        ];
        assert_eq!(output(&parts, None), "Result: 4\n[image, image/png, 3 bytes]\n");
        let structured = structure::from_json(&object("this", r#"{"n":4}"#).unwrap());
        assert_eq!(output(&[], data(Some(&structured), "")), "{\"n\":4}\n");
        assert_eq!(output(&[], data(None, "[1]")), "[1]\n");
    }
}
