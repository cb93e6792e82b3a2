//! Cases taken from other transcoders and from protobuf, read as data.
//!
//! The folder is named by `ASSISTD_VECTORS`, or is `../shared/vectors`. Every case passes, or stands in
//! `vectors/deviations.txt` with the rule of the contract that decides otherwise; a deviation that
//! passes is a failure too.

mod client;
mod grpc_web;
mod headers;
mod messages;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use assistd::api::transcode::print;
use assistd::api::transcode::schema::{MessageId, Schema};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

const DEVIATIONS: &str = include_str!("vectors/deviations.txt");

fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSISTD_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    crate::skip::not_compared(&format!(
        "no vectors: {} is not a folder (set ASSISTD_VECTORS)",
        folder.display()
    ));
    None
}

fn read(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder()?.join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_default()
}

fn list<'v>(case: &'v Value, key: &str) -> &'v [Value] {
    case[key].as_array().map_or(&[], Vec::as_slice)
}

/// What came out of the cases of one file.
struct Outcome {
    file: &'static str,
    seen: BTreeSet<String>,
    failed: BTreeMap<String, String>,
}

impl Outcome {
    fn of(file: &'static str) -> Self {
        Self {
            file,
            seen: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    fn add(&mut self, case: String, result: Result<(), String>) {
        if let Err(problem) = result {
            self.failed.insert(case.clone(), problem);
        }
        self.seen.insert(case);
    }

    /// Fails unless the failed cases are exactly those that are listed.
    fn settle(self) {
        let listed: BTreeSet<&str> = DEVIATIONS
            .lines()
            .filter_map(|line| line.split(" | ").collect::<Vec<_>>().try_into().ok())
            .filter_map(|[file, case, reason]: [&str; 3]| {
                assert!(!reason.trim().is_empty(), "{case} deviates without a reason");
                (file == self.file).then_some(case)
            })
            .collect();
        let unlisted: Vec<_> = self
            .failed
            .iter()
            .filter(|(case, _)| !listed.contains(&***case))
            .collect();
        assert!(
            unlisted.is_empty(),
            "{}: {} cases failed: {unlisted:#?}",
            self.file,
            unlisted.len()
        );
        let stale: Vec<_> = listed
            .iter()
            .filter(|case| self.seen.contains(**case) && !self.failed.contains_key(**case))
            .collect();
        assert!(
            stale.is_empty(),
            "{}: listed as deviations, but they pass: {stale:#?}",
            self.file
        );
        assert!(!self.seen.is_empty(), "{} has no cases", self.file);
    }
}

/// A schema out of the vectors, with what decodes its messages independently of the code under test.
struct Oracle {
    pool: DescriptorPool,
    schema: Schema,
}

impl Oracle {
    fn read(name: &str) -> Self {
        let bytes = std::fs::read(folder().unwrap().join("protos").join(name)).unwrap();
        let pool = DescriptorPool::decode(&*bytes).unwrap();
        Self {
            schema: Schema::new(&pool),
            pool,
        }
    }

    fn id(&self, message: &str) -> MessageId {
        self.schema.find(message).unwrap()
    }

    /// Decodes and encodes again, so that equal messages have equal bytes (but for maps' order).
    fn message(&self, name: &str, bytes: &[u8]) -> DynamicMessage {
        DynamicMessage::decode(self.pool.get_message_by_name(name).unwrap(), bytes).unwrap()
    }

    fn print(&self, name: &str, bytes: &[u8]) -> Result<Value, String> {
        let mut json = Vec::new();
        print::message(&self.schema, self.id(name), bytes, &mut json).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&json)))
    }

    /// The bytes hold the expected message, in every field.
    fn compare(&self, name: &str, bytes: &[u8], expected: &[u8]) -> Result<(), String> {
        let (found, expected) = (self.print(name, bytes)?, self.print(name, expected)?);
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found} instead of {expected}"))
        }
    }
}

fn bytes(case: &Value, key: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text(case, key)).unwrap()
}
