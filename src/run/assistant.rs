//! Named configurations that runs are started with. What is stored is the serialised form of [`Profile`]: rename
//! with care.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::catalogue::Rule;
use super::id::AssistantId;
use super::options::ModelOptions;
use super::record::LimitsPatch;

/// An assistant, as it is stored and shown.
#[derive(Clone, Debug, PartialEq)]
pub struct AssistantRecord {
    /// Its name.
    pub id: AssistantId,
    /// What it is.
    pub profile: Profile,
    /// Grows with every change; the first is 1.
    pub version: u64,
    /// When it was created.
    pub create_time: SystemTime,
    /// When it was last changed.
    pub update_time: SystemTime,
}

/// What an assistant is, and what runs get from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// A name for people.
    pub display_name: String,
    /// What it is for, for people.
    pub description: String,
    /// How the model is told to behave, after the operator's instructions; empty for nothing more.
    pub instructions: String,
    /// The model; empty for the operator's, whatever that is when a run starts.
    pub model: String,
    /// The only tools on offer, by name; none for all that are not denied.
    pub allowed_tools: Option<Vec<String>>,
    /// Policies that hold beside the operator's.
    pub policies: Vec<Rule>,
    /// Bounds of runs that do not set their own.
    pub limits: LimitsPatch,
    /// How the model answers in runs that do not say otherwise.
    pub options: Arc<ModelOptions>,
    /// The caller's own notes.
    pub metadata: BTreeMap<String, String>,
}
