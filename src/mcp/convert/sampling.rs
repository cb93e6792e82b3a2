//! What servers ask models.

#![expect(
    deprecated,
    reason = "the newest revision deprecates sampling; servers of today use it"
)]

use rmcp::model as remote;
use rmcp::model::SamplingMessageContentBlock as Block;

use crate::mcp::config::{Consent, SamplingPolicy};
use crate::run::message::{Media, MediaSource, Part, Role};
use crate::run::sampling::Sampling;

/// The largest question, with everything in it.
const SIZE_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Messages of one question, and texts that end an answer.
const MESSAGES: usize = 200;
const STOPS: usize = 4;

/// What the heart is asked, within what the operator allows. Which model it had best be, and what else the model
/// should be told of, are wishes that the protocol lets a client leave aside.
///
/// # Errors
/// What cannot be asked, in words for the server.
pub(in crate::mcp) fn sampling(
    server: &str,
    policy: &SamplingPolicy,
    params: remote::CreateMessageRequestParams,
) -> Result<Sampling, String> {
    if params.tools.is_some_and(|tools| !tools.is_empty()) {
        return Err("the model is not given tools: the client does not declare sampling.tools".to_owned());
    }
    if params.messages.is_empty() || params.messages.len() > MESSAGES {
        return Err(format!("expected 1 to {MESSAGES} messages"));
    }
    let system_prompt = params.system_prompt.unwrap_or_default();
    let mut size_bytes = system_prompt.len();
    let mut messages = Vec::with_capacity(params.messages.len());
    for message in params.messages {
        let role = match message.role {
            remote::Role::User => Role::User,
            remote::Role::Assistant => Role::Assistant,
        };
        let parts: Vec<Part> = message
            .content
            .into_vec()
            .into_iter()
            .map(part)
            .collect::<Result<_, _>>()?;
        size_bytes += parts.iter().map(size).sum::<usize>();
        messages.push((role, parts));
    }
    if size_bytes > SIZE_LIMIT_BYTES {
        return Err(format!(
            "{size_bytes} bytes, more than the {SIZE_LIMIT_BYTES} that are passed on"
        ));
    }
    let mut stop = params.stop_sequences.unwrap_or_default();
    stop.truncate(STOPS);
    Ok(Sampling {
        server: server.to_owned(),
        model: policy.model.clone(),
        system_prompt,
        messages,
        max_tokens: u64::from(params.max_tokens).clamp(1, policy.max_tokens),
        temperature: params.temperature.map(f64::from),
        stop,
        asks_first: policy.allow == Consent::Ask,
    })
}

fn part(block: Block) -> Result<Part, String> {
    match block {
        Block::Text(text) => Ok(Part::Text(text.text)),
        Block::Image(image) => Ok(Part::Image(Media {
            source: MediaSource::Base64(image.data),
            mime_type: image.mime_type,
            name: String::new(),
            detail: None,
        })),
        _ => Err("only texts and images are passed on".to_owned()),
    }
}

fn size(part: &Part) -> usize {
    match part {
        Part::Text(text) => text.len(),
        Part::Image(Media {
            source: MediaSource::Base64(data),
            ..
        }) => data.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(params: Value) -> Result<Sampling, String> {
        let policy = SamplingPolicy {
            allow: Consent::Ask,
            model: "small".into(),
            max_tokens: 100,
            max_requests: 1,
        };
        sampling("a", &policy, serde_json::from_value(params).unwrap())
    }

    #[test]
    fn a_question_is_passed_on_within_bounds() {
        let user = json!({"role": "user", "content": {"type": "text", "text": "hi"}});
        let many = json!({"role": "assistant", "content": [
            {"type": "text", "text": "look"}, {"type": "image", "data": "aWI=", "mimeType": "image/png"},
        ]});
        let passed = asked(json!({
            "messages": [user, many], "maxTokens": 7, "systemPrompt": "Be kind.", "temperature": 0.5,
            "stopSequences": ["a", "b", "c", "d", "e"], "includeContext": "allServers",
            "modelPreferences": {"hints": [{"name": "huge"}]},
        }))
        .unwrap();
        assert_eq!(
            (passed.model.as_str(), passed.max_tokens, passed.asks_first),
            ("small", 7, true)
        );
        assert_eq!((passed.temperature, passed.stop.len()), (Some(0.5), 4));
        assert_eq!(passed.messages[0], (Role::User, vec![Part::Text("hi".into())]));
        assert_eq!(
            (passed.messages[1].0, passed.messages[1].1.len()),
            (Role::Assistant, 2)
        );
        let most = asked(json!({"messages": [user], "maxTokens": 100_000})).unwrap();
        assert_eq!(most.max_tokens, 100);
        let sound =
            json!({"role": "user", "content": {"type": "audio", "data": "YQ==", "mimeType": "audio/wav"}});
        let long =
            json!({"role": "user", "content": {"type": "text", "text": "x".repeat(SIZE_LIMIT_BYTES + 1)}});
        for (params, problem) in [
            (
                json!({"messages": [], "maxTokens": 1}),
                "expected 1 to 200 messages",
            ),
            (
                json!({"messages": [sound], "maxTokens": 1}),
                "only texts and images",
            ),
            (
                json!({"messages": [long], "maxTokens": 1}),
                "more than the 8388608",
            ),
            (
                json!({"messages": [user], "maxTokens": 1, "tools": [{"name": "t", "inputSchema": {}}]}),
                "not given tools",
            ),
        ] {
            let refused = asked(params).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
    }
}
