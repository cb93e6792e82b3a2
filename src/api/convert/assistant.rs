//! Assistants.

use std::sync::Arc;
use std::time::SystemTime;

use super::run::{limits_from_pb, limits_patch_to_pb, limits_to_pb};
use super::thread::check_labels;
use super::{name, options, timestamp};
use crate::api::pb;
use crate::run::assistant::{AssistantRecord, Profile};
use crate::run::catalogue::{Policy, Rule, Target};
use crate::run::engine::Settings;
use crate::run::error::{Error, Violation};

/// The longest texts, in characters.
const DISPLAY_NAME_LIMIT: usize = 256;
const DESCRIPTION_LIMIT: usize = 512;
/// The longest instructions, in bytes.
const INSTRUCTIONS_LIMIT_BYTES: usize = 256 * 1024;
/// How many tools and rules there may be.
const TOOLS_LIMIT: usize = 256;
const RULES_LIMIT: usize = 256;

/// The fields that can be changed.
const FIELDS: [&str; 9] = [
    "display_name",
    "description",
    "instructions",
    "model",
    "allowed_tools",
    "tool_policies",
    "limits",
    "options",
    "metadata",
];

/// An assistant as the contract has it.
pub fn to_pb(record: &AssistantRecord) -> pb::Assistant {
    let profile = &record.profile;
    pb::Assistant {
        name: name::assistant(Some(&record.id)),
        display_name: profile.display_name.clone(),
        description: profile.description.clone(),
        instructions: profile.instructions.clone(),
        model: profile.model.clone(),
        allowed_tools: profile.allowed_tools.as_ref().map(|tools| pb::AllowedTools {
            tools: tools.iter().map(|tool| name::tool(tool)).collect(),
        }),
        tool_policies: profile.policies.iter().map(rule_to_pb).collect(),
        limits: Some(limits_patch_to_pb(&profile.limits)),
        options: options::to_pb(&profile.options),
        metadata: profile.metadata.clone(),
        create_time: Some(timestamp(record.create_time)),
        update_time: Some(timestamp(record.update_time)),
        etag: name::etag(record.version),
    }
}

/// The operator's assistant, which is what the configuration says.
pub fn default_to_pb(settings: &Settings, started: SystemTime) -> pb::Assistant {
    pb::Assistant {
        name: name::DEFAULT_ASSISTANT.to_owned(),
        display_name: "Default".to_owned(),
        description: "The assistant of the service's configuration.".to_owned(),
        instructions: settings.instructions.clone(),
        model: settings.model.clone(),
        limits: Some(limits_to_pb(&settings.limits)),
        options: options::to_pb(&settings.options),
        create_time: Some(timestamp(started)),
        update_time: Some(timestamp(started)),
        ..pb::Assistant::default()
    }
}

/// Reads an assistant.
///
/// # Errors
/// `VALIDATION_FAILED` naming every field that does not fit.
pub fn profile(assistant: pb::Assistant) -> Result<Profile, Error> {
    let mut violations = Vec::new();
    let mut report = |field: &str, description: String| {
        violations.push(Violation {
            field: format!("assistant.{field}"),
            description,
        });
    };
    for (field, text, limit) in [
        ("display_name", &assistant.display_name, DISPLAY_NAME_LIMIT),
        ("description", &assistant.description, DESCRIPTION_LIMIT),
        ("model", &assistant.model, DISPLAY_NAME_LIMIT),
    ] {
        if text.chars().count() > limit {
            report(field, format!("must be at most {limit} characters"));
        }
    }
    if assistant.instructions.len() > INSTRUCTIONS_LIMIT_BYTES {
        let description = format!("must be at most {INSTRUCTIONS_LIMIT_BYTES} bytes");
        report("instructions", description);
    }
    let tools = assistant
        .allowed_tools
        .as_ref()
        .map_or(0, |allowed| allowed.tools.len());
    if tools > TOOLS_LIMIT {
        report("allowed_tools", format!("must be at most {TOOLS_LIMIT}"));
    }
    if assistant.tool_policies.len() > RULES_LIMIT {
        report("tool_policies", format!("must be at most {RULES_LIMIT}"));
    }
    let mut take = |result: Result<(), Error>| match result {
        Ok(()) => {}
        Err(error) => violations.extend_from_slice(error.violations()),
    };
    let mut allowed_tools = assistant.allowed_tools.as_ref().map(|_| Vec::new());
    for (index, tool) in assistant
        .allowed_tools
        .iter()
        .flat_map(|allowed| &allowed.tools)
        .enumerate()
    {
        let field = format!("assistant.allowed_tools.tools[{index}]");
        take(name::parse_tool(&field, tool).map(|tool| {
            allowed_tools.get_or_insert_with(Vec::new).push(tool.to_owned());
        }));
    }
    let mut policies = Vec::with_capacity(assistant.tool_policies.len());
    for (index, rule) in assistant.tool_policies.into_iter().enumerate() {
        let field = format!("assistant.tool_policies[{index}]");
        take(rule_from_pb(&field, rule).map(|rule| policies.push(rule)));
    }
    let mut limits = Default::default();
    let read = limits_from_pb("assistant.limits", assistant.limits.as_ref());
    take(read.map(|read| limits = read));
    let mut answers = Default::default();
    let read = options::from_pb("assistant.options", assistant.options);
    take(read.map(|read| answers = read));
    take(check_labels("assistant.metadata", &assistant.metadata));
    if !violations.is_empty() {
        return Err(Error::invalid_fields(violations));
    }
    Ok(Profile {
        display_name: assistant.display_name,
        description: assistant.description,
        instructions: assistant.instructions,
        model: assistant.model,
        allowed_tools,
        policies,
        limits,
        options: Arc::new(answers),
        metadata: assistant.metadata,
    })
}

/// The profile with the fields of the mask changed; without a mask, those that are set.
///
/// # Errors
/// `VALIDATION_FAILED` naming every path that cannot be changed.
pub fn changed(
    mut profile: Profile,
    new: Profile,
    mask: Option<&prost_types::FieldMask>,
) -> Result<Profile, Error> {
    let paths: Vec<&str> = mask
        .map_or(&[] as &[String], |mask| &mask.paths)
        .iter()
        .map(String::as_str)
        .collect();
    let unknown = paths
        .iter()
        .filter(|path| **path != "*" && !FIELDS.contains(path));
    let violations: Vec<Violation> = unknown
        .map(|path| Violation {
            field: "update_mask".to_owned(),
            description: format!(
                "{path:?} is not a field that can be changed: {}",
                FIELDS.join(", ")
            ),
        })
        .collect();
    if !violations.is_empty() {
        return Err(Error::invalid_fields(violations));
    }
    let unset = Profile::default();
    let is_named = |field: &str| paths.contains(&field) || paths.contains(&"*");
    let takes = |field: &str, is_set: bool| if paths.is_empty() { is_set } else { is_named(field) };
    if takes("display_name", new.display_name != unset.display_name) {
        profile.display_name = new.display_name;
    }
    if takes("description", new.description != unset.description) {
        profile.description = new.description;
    }
    if takes("instructions", new.instructions != unset.instructions) {
        profile.instructions = new.instructions;
    }
    if takes("model", new.model != unset.model) {
        profile.model = new.model;
    }
    if takes("allowed_tools", new.allowed_tools != unset.allowed_tools) {
        profile.allowed_tools = new.allowed_tools;
    }
    if takes("tool_policies", new.policies != unset.policies) {
        profile.policies = new.policies;
    }
    if takes("limits", new.limits != unset.limits) {
        profile.limits = new.limits;
    }
    if takes("options", new.options != unset.options) {
        profile.options = new.options;
    }
    if takes("metadata", new.metadata != unset.metadata) {
        profile.metadata = new.metadata;
    }
    Ok(profile)
}

fn rule_to_pb(rule: &Rule) -> pb::ToolPolicyRule {
    use pb::tool_policy_rule::Target as Pb;
    pb::ToolPolicyRule {
        target: Some(match &rule.target {
            Target::Tool(tool) => Pb::Tool(name::tool(tool)),
            Target::Server(server) => Pb::Server(server.clone()),
        }),
        policy: super::tool::policy(rule.policy).into(),
    }
}

fn rule_from_pb(field: &str, rule: pb::ToolPolicyRule) -> Result<Rule, Error> {
    use pb::tool_policy_rule::Target as Pb;
    let target = match rule.target {
        Some(Pb::Tool(tool)) => Target::Tool(name::parse_tool(&format!("{field}.tool"), &tool)?.to_owned()),
        Some(Pb::Server(server)) => Target::Server(server),
        None => return Err(Error::invalid(field, "must name a tool or a server")),
    };
    let policy = match pb::ToolPolicy::try_from(rule.policy) {
        Ok(pb::ToolPolicy::Allow) => Policy::Allow,
        Ok(pb::ToolPolicy::Ask) => Policy::Ask,
        Ok(pb::ToolPolicy::Deny) => Policy::Deny,
        Ok(pb::ToolPolicy::Unspecified) | Err(_) => {
            return Err(Error::invalid(format!("{field}.policy"), "is not a known policy"));
        }
    };
    Ok(Rule { target, policy })
}
