//! What providers say when they refuse, and what becomes of it, as tables.

use super::*;

#[test]
fn refusals_of_every_shape_become_reasons() {
    use Reason::{
        ContextLengthExceeded, ModelCredentialsRejected, ModelRequestRejected, ModelUnavailable,
        QuotaExceeded, RateLimited,
    };
    let table: &[(u16, &str, Reason)] = &[
        (
            429,
            r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
            RateLimited,
        ),
        (
            429,
            r#"{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            QuotaExceeded,
        ),
        (
            429,
            r#"{"error":{"message":"pay","type":"insufficient_quota","code":null}}"#,
            QuotaExceeded,
        ),
        (429, "<html>busy</html>", RateLimited),
        (
            402,
            r#"{"error":{"message":"no credits","code":402}}"#,
            QuotaExceeded,
        ),
        (
            401,
            r#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#,
            ModelCredentialsRejected,
        ),
        (403, "", ModelCredentialsRejected),
        (
            400,
            r#"{"error":{"message":"…","code":"context_length_exceeded"}}"#,
            ContextLengthExceeded,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","code":400}"#,
            ContextLengthExceeded,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
            ContextLengthExceeded,
        ),
        (400, r#"{"error":"str"}"#, ModelRequestRejected),
        (
            400,
            r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
            ModelRequestRejected,
        ),
        (
            404,
            r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
            ModelRequestRejected,
        ),
        (404, "404 page not found", ModelRequestRejected),
        (
            422,
            r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
            ModelRequestRejected,
        ),
        (301, "", ModelRequestRejected),
        (
            500,
            r#"{"error":{"message":"oops","type":"server_error","code":null}}"#,
            ModelUnavailable,
        ),
        (502, "<html>bad gateway</html>", ModelUnavailable),
        // Azure OpenAI.
        (
            401,
            r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}"#,
            ModelCredentialsRejected,
        ),
        (
            401,
            r#"{"statusCode":401,"message":"Unauthorized. Access token is missing"}"#,
            ModelCredentialsRejected,
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"…"}}"#,
            ModelRequestRejected,
        ),
        (
            429,
            r#"{"error":{"code":"429","message":"have exceeded token rate limit"}}"#,
            RateLimited,
        ),
        // vLLM.
        (
            400,
            r#"{"error":{"message":"The prompt (total length 9000) is longer than max_model_len 4096","type":"BadRequestError","param":null,"code":400}}"#,
            ContextLengthExceeded,
        ),
        (
            404,
            r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}}"#,
            ModelRequestRejected,
        ),
        (401, r#"{"error":"Unauthorized"}"#, ModelCredentialsRejected),
        // llama.cpp.
        (
            503,
            r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
            ModelUnavailable,
        ),
        (
            401,
            r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#,
            ModelCredentialsRejected,
        ),
        (
            501,
            r#"{"error":{"message":"not supported","type":"not_supported_error","code":501}}"#,
            ModelRequestRejected,
        ),
        // Ollama.
        (
            404,
            r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
            ModelRequestRejected,
        ),
        (
            503,
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
            ModelUnavailable,
        ),
        (
            400,
            r#"{"error":{"message":"the input length exceeds the context length","type":"api_error"}}"#,
            ContextLengthExceeded,
        ),
        // LiteLLM.
        (
            400,
            r#"{"error":{"message":"Budget has been exceeded!","type":"budget_exceeded","param":null,"code":"400"}}"#,
            QuotaExceeded,
        ),
        (
            400,
            r#"{"error":{"message":"litellm.ContextWindowExceededError: x","type":null,"param":null,"code":"400"}}"#,
            ContextLengthExceeded,
        ),
        (
            401,
            r#"{"error":{"message":"Authentication Error","type":"auth_error","param":"None","code":"401"}}"#,
            ModelCredentialsRejected,
        ),
        (
            429,
            r#"{"error":{"message":"No deployments available for selected model","type":"None","param":"None","code":"429"}}"#,
            RateLimited,
        ),
        // OpenRouter.
        (
            402,
            r#"{"error":{"code":402,"message":"Insufficient credits"}}"#,
            QuotaExceeded,
        ),
        (
            502,
            r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"x"}}}"#,
            ModelUnavailable,
        ),
        // What the provider behind it said: of the request, and of a key that is nobody's here.
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens\"}","provider_name":"x"}}}"#,
            ContextLengthExceeded,
        ),
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":{"error":{"message":"…","code":"context_length_exceeded"}}}}}"#,
            ContextLengthExceeded,
        ),
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"prompt is too long: 9 tokens > 8 maximum"}}}"#,
            ContextLengthExceeded,
        ),
        (
            502,
            r#"{"error":{"message":"Provider returned error","code":502,"metadata":{"raw":"{\"error\":{\"code\":\"invalid_api_key\"}}"}}}"#,
            ModelUnavailable,
        ),
        // FastAPI, around what somebody raised with it.
        (
            400,
            r#"{"detail":{"error":{"message":"…","code":"context_length_exceeded"}}}"#,
            ContextLengthExceeded,
        ),
        (
            400,
            r#"{"detail":{"code":"insufficient_quota","message":"…"}}"#,
            QuotaExceeded,
        ),
        (
            503,
            r#"[{"error":{"code":503,"status":"UNAVAILABLE","message":"…"}}]"#,
            ModelUnavailable,
        ),
        (529, "\u{0}", ModelUnavailable),
    ];
    for (status, body, reason) in table {
        let failure = Failure::from_response(*status, body.as_bytes());
        assert_eq!(failure.reason(), *reason, "{status} {body}");
        assert_eq!(failure.status, Some(*status));
    }
}

#[test]
fn a_content_filter_is_told_from_other_refusals() {
    let table = [
        (
            400,
            r#"{"error":{"message":"…","param":"prompt","code":"content_filter","status":400,
                "innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"…","code":"400","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            true,
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"…","metadata":{"reasons":["violence"],"flagged_input":"…"}}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"litellm.ContentPolicyViolationError: x","code":"400"}}"#,
            true,
        ),
        // What Azure said to LiteLLM, and a provider to OpenRouter.
        (
            400,
            r#"{"error":{"message":"litellm.BadRequestError: AzureException","type":null,"param":null,"code":"400",
                "provider_specific_fields":{"innererror":{"code":"ResponsibleAIPolicyViolation"}}}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"provider_name":"x",
                "raw":"{\"error\":{\"message\":\"…\",\"code\":\"content_filter\"}}"}}}"#,
            true,
        ),
        (
            400,
            r#"{"code":"DataInspectionFailed","message":"Input data may contain inappropriate content.","request_id":"r"}"#,
            true,
        ),
        (403, r#"{"error":{"code":403,"message":"key limit"}}"#, false),
        (
            400,
            r#"{"error":{"message":"content_filter is no field"}}"#,
            false,
        ),
    ];
    for (status, body, is_filtered) in table {
        let failure = Failure::from_response(status, body.as_bytes());
        assert_eq!(failure.is_filtered(), is_filtered, "{body}");
    }
}

#[test]
fn the_field_of_a_rejected_request_is_told_if_it_is_a_plain_path() {
    let param = |param: &str| format!(r#"{{"error":{{"message":"…","param":{param:?}}}}}"#);
    let table = [
        (param("tools[0].function.name"), Some("tools[0].function.name")),
        (param("temperature"), Some("temperature")),
        (param("None"), None),
        (param("key sk-secret"), None),
        (param("sk_secret"), None),
        (param("a..b"), None),
        (param("a[]"), None),
        (param(&"a".repeat(101)), None),
        (
            r#"{"detail":[{"loc":["body","messages",0,"content"],"msg":"field required"}]}"#.to_owned(),
            Some("messages[0].content"),
        ),
        (
            r#"{"object":"error","message":{"detail":[{"loc":["body","stop"],"msg":"no"}]}}"#.to_owned(),
            Some("stop"),
        ),
        (r#"{"detail":"x"}"#.to_owned(), None),
        (
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"param\":\"top_p\"}}"}}}"#
                .to_owned(),
            Some("top_p"),
        ),
    ];
    for (body, expected) in table {
        let failure = Failure::from_response(400, body.as_bytes());
        let error = failure.into_error(|text| text.replace("sk_secret", "***"));
        let told = error.metadata().iter().find(|(key, _)| *key == "provider_field");
        assert_eq!(told.map(|(_, field)| field.as_str()), expected, "{body}");
        assert_eq!(error.message().contains("does not take"), expected.is_some());
        assert!(!error.message().contains("secret"));
    }
}

#[test]
fn a_gateway_says_in_the_body_how_long_to_wait() {
    let table = [
        (r#"{"retry_after_seconds":17}"#, Some(17_000)),
        (r#"{"retry_after_seconds":0.5}"#, Some(500)),
        (r#"{"retry_after_seconds":-1}"#, None),
        (r#"{"retry_after_seconds":1e300}"#, None),
        (r#"{"retry_after_seconds":null}"#, None),
        (r#"{"retry_after_seconds":"17"}"#, None),
        // In milliseconds since 1970: it is told as the longest delay there is.
        (
            r#"{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"4102444800000"},"provider_name":null}"#,
            Some(3_600_000),
        ),
        (
            r#"{"headers":{"X-RateLimit-Remaining":0,"X-RateLimit-Reset":4102444800000}}"#,
            Some(3_600_000),
        ),
        (
            r#"{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"6"}}"#,
            Some(6_000),
        ),
        (
            r#"{"headers":{"Retry-After":"2","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"6"}}"#,
            Some(2_000),
        ),
        (
            r#"{"retry_after_seconds":3,"headers":{"Retry-After":"2"}}"#,
            Some(3_000),
        ),
        (
            r#"{"headers":{"X-RateLimit-Remaining":"1","X-RateLimit-Reset":"6"}}"#,
            None,
        ),
        (
            r#"{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1000000000000"}}"#,
            None,
        ),
        (r#"{"headers":{"\n":"0","Retry-After":["2"]}}"#, None),
        (r#"{"headers":"Retry-After: 2"}"#, None),
        ("null", None),
    ];
    for (metadata, expected) in table {
        let body = format!(r#"{{"error":{{"message":"x","code":429,"metadata":{metadata}}}}}"#);
        let failure = Failure::from_response(429, body.as_bytes());
        let waits = failure.retry_after.map(|wait| wait.as_millis());
        assert_eq!(waits, expected, "{metadata}");
    }
}

#[test]
fn errors_within_an_answer_go_by_their_codes() {
    let table = [
        (r#"{"error":{"code":429,"message":"…"}}"#, Reason::RateLimited),
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"…","param":null}"#,
            Reason::RateLimited,
        ),
        (
            r#"{"code":"server_error","message":"…"}"#,
            Reason::ModelUnavailable,
        ),
        (
            r#"{"code":"invalid_prompt","message":"…"}"#,
            Reason::ModelRequestRejected,
        ),
        (
            r#"{"code":"failed_to_download_image","message":"…"}"#,
            Reason::ModelRequestRejected,
        ),
        (r#"{"error":"boom"}"#, Reason::ModelUnavailable),
        ("null", Reason::ModelUnavailable),
    ];
    for (body, reason) in table {
        let failure = Failure::from_body(&serde_json::from_str(body).unwrap());
        assert_eq!(failure.reason(), reason, "{body}");
    }
}

#[test]
fn callers_never_see_the_providers_text_and_logs_never_the_key() {
    let body = format!(
        r#"{{"error":{{"message":"wrong key sk-secret {}"}}}}"#,
        "x".repeat(1000)
    );
    let error =
        Failure::from_response(401, body.as_bytes()).into_error(|text| text.replace("sk-secret", "***"));
    assert!(!error.to_string().contains("wrong key"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("status 401: wrong key *** x"), "{cause}");
    assert!(cause.len() < 600);
}
