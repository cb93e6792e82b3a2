//! How the model is to answer, as the command line says it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::api::convert::structure;
use crate::api::pb;
use crate::api::pb::output_format::Format;
use crate::cli::error::Error;
use crate::cli::proto_json::ProtoJson;

/// The options that these flags stand for; none for no flags.
///
/// # Errors
/// The file cannot be read, or holds no JSON object.
pub(super) fn of(
    temperature: Option<f64>,
    json_schema: Option<&Path>,
) -> Result<Option<pb::ModelOptions>, Error> {
    if temperature.is_none() && json_schema.is_none() {
        return Ok(None);
    }
    Ok(Some(pb::ModelOptions {
        temperature,
        output_format: json_schema.map(format).transpose()?,
        ..Default::default()
    }))
}

/// The functions that these files describe.
///
/// # Errors
/// A file cannot be read, or describes no function.
pub(super) fn functions(paths: &[PathBuf]) -> Result<Vec<pb::FunctionTool>, Error> {
    let json = ProtoJson::of("FunctionTool")?;
    let function = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| json.read(&text))
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
    };
    paths.iter().map(function).collect()
}

fn format(path: &Path) -> Result<pb::OutputFormat, Error> {
    let refuse = |error: &dyn std::fmt::Display| Error::Usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
    let schema: Map<String, Value> = serde_json::from_str(&text).map_err(|error| refuse(&error))?;
    Ok(pb::OutputFormat {
        format: Some(Format::JsonSchema(pb::JsonSchemaFormat {
            name: "answer".to_owned(),
            schema: Some(structure::from_json(&schema)),
            ..Default::default()
        })),
    })
}
