//! What comes of everything that can happen, by where the run is.

/// What happens, the effects in their order, and the state afterwards.
pub(super) type Row = (&'static str, &'static str, &'static str);

/// Nothing is asked.
pub(super) const NOT_ASKED: &[Row] = &[
    ("approve", "ACTION_NOT_PENDING", ""),
    ("edit", "ACTION_NOT_PENDING", ""),
    ("reject", "ACTION_NOT_PENDING", ""),
    ("output", "ACTION_NOT_PENDING", ""),
    ("reply", "ACTION_NOT_PENDING", ""),
];

/// No tool is at work.
pub(super) const NOT_CALLING: &[Row] = &[
    ("progress", "", ""),
    ("done", "", ""),
    ("asks", "", ""),
    ("asks no more", "", ""),
    ("lost", "", ""),
    ("samples", "refuse", ""),
    ("sampling", "", ""),
    ("sampled", "", ""),
];

/// The model is not asked.
pub(super) const NOT_ASKING: &[Row] = &[
    ("text", "", ""),
    ("refusal", "", ""),
    ("reasoning", "", ""),
    ("reasoned", "", ""),
    ("annotation", "", ""),
    ("continuation", "", ""),
    ("call", "", ""),
    ("arguments", "", ""),
    ("sent", "", ""),
    ("attempt", "", ""),
    ("unknown", "", ""),
    ("usage", "", ""),
    ("stop", "", ""),
    ("length", "", ""),
    ("filter", "", ""),
];

/// What is left out is summed up: everything but how that stops. Nothing is shown before it is whole.
pub(super) const SUMMING: &[Row] = &[
    ("text", "", ""),
    ("refusal", "", ""),
    ("reasoning", "", ""),
    ("reasoned", "", ""),
    ("annotation", "", ""),
    ("continuation", "", ""),
    ("call", "", ""),
    ("arguments", "", ""),
    ("sent", "", ""),
    ("attempt", "", ""),
    ("unknown", "", ""),
    ("usage", "", ""),
    ("filter", "save() ask", ""),
    ("model failed", "save() ask", ""),
    ("cancel", "abort save(cancelling =cancelled)", "cancelled"),
    ("deadline", "abort save(=incomplete)", "incomplete:deadline"),
    ("expire", "abort save(=expired)", "expired"),
    ("fail", "abort save(=failed)", "failed"),
    ("save failed", "abort save(=failed)", "failed"),
    (
        "save failed, called off",
        "abort save(cancelling =cancelled)",
        "cancelled",
    ),
];

/// There is nothing to sum up with.
pub(super) const SUMMING_STOP: &[Row] = &[("stop", "save() ask", ""), ("length", "save() ask", "")];

/// There is a summary, whole or cut short.
pub(super) const SUMMED_STOP: &[Row] = &[
    ("stop", "save(343tok +system) ask", ""),
    ("length", "save(343tok +system) ask", ""),
    // What was asked and said of it until then is estimated.
    ("filter", "save(343tok) ask", ""),
    ("model failed", "save(343tok) ask", ""),
    ("cancel", "abort save(cancelling 343tok =cancelled)", "cancelled"),
    (
        "deadline",
        "abort save(343tok =incomplete)",
        "incomplete:deadline",
    ),
    ("expire", "abort save(343tok =expired)", "expired"),
    ("fail", "abort save(343tok =failed)", "failed"),
    ("save failed", "abort save(343tok =failed)", "failed"),
    (
        "save failed, called off",
        "abort save(cancelling 343tok =cancelled)",
        "cancelled",
    ),
];

/// The model has said nothing yet: everything but how it stops.
pub(super) const SILENT: &[Row] = &[
    ("text", "+assistant 'b'", ""),
    ("refusal", "+assistant refuses", ""),
    ("reasoning", "+assistant thinks", ""),
    ("reasoned", "", ""),
    ("annotation", "", ""),
    ("continuation", "", ""),
    ("call", "+assistant calls:look", ""),
    ("arguments", "", ""),
    ("sent", "", ""),
    ("attempt", "", ""),
    ("unknown", "", ""),
    ("usage", "", ""),
    ("length", "save(=incomplete)", "incomplete:max_tokens"),
    ("filter", "save(=incomplete)", "incomplete:content_filter"),
    ("model failed", "abort save(=failed)", "failed"),
    ("cancel", "abort save(cancelling =cancelled)", "cancelled"),
    ("deadline", "abort save(=incomplete)", "incomplete:deadline"),
    ("expire", "abort save(=expired)", "expired"),
    ("fail", "abort save(=failed)", "failed"),
    ("save failed", "abort save(=failed)", "failed"),
    (
        "save failed, called off",
        "abort save(cancelling =cancelled)",
        "cancelled",
    ),
];

/// It has said something; with what it was given, that is so many tokens.
macro_rules! speaking {
    ($tokens:literal) => {
        &[
            ("text", "'b'", ""),
            ("refusal", "refuses", ""),
            ("reasoning", "thinks", ""),
            ("reasoned", "", ""),
            ("annotation", "", ""),
            ("continuation", "", ""),
            ("call", "calls:look", ""),
            ("arguments", "", ""),
            ("sent", "", ""),
            ("attempt", "", ""),
            ("unknown", "", ""),
            ("usage", "", ""),
            (
                "stop",
                concat!("save(message ", $tokens, "tok =completed)"),
                "completed",
            ),
            (
                "length",
                concat!("save(partial ", $tokens, "tok =incomplete)"),
                "incomplete:max_tokens",
            ),
            (
                "filter",
                concat!("save(partial ", $tokens, "tok =incomplete)"),
                "incomplete:content_filter",
            ),
            (
                "model failed",
                concat!("abort save(partial ", $tokens, "tok =failed)"),
                "failed",
            ),
            (
                "cancel",
                concat!("abort save(cancelling partial ", $tokens, "tok =cancelled)"),
                "cancelled",
            ),
            (
                "deadline",
                concat!("abort save(partial ", $tokens, "tok =incomplete)"),
                "incomplete:deadline",
            ),
            (
                "expire",
                concat!("abort save(partial ", $tokens, "tok =expired)"),
                "expired",
            ),
            (
                "fail",
                concat!("abort save(partial ", $tokens, "tok =failed)"),
                "failed",
            ),
            (
                "save failed",
                concat!("abort save(partial ", $tokens, "tok =failed)"),
                "failed",
            ),
            (
                "save failed, called off",
                concat!("abort save(cancelling partial ", $tokens, "tok =cancelled)"),
                "cancelled",
            ),
        ]
    };
}

pub(super) const SPEAKING: &[Row] = speaking!("20");

/// The same where the schema of the answer counts too.
pub(super) const SPEAKING_TO_A_SCHEMA: &[Row] = speaking!("23");

/// What it has said does not fit, and it may be asked again.
pub(super) const WRONG_STOP: &[Row] = &[("stop", "save(message 23tok +system) ask", "running")];

/// It may not.
pub(super) const WRONG_AGAIN_STOP: &[Row] = &[("stop", "save(message 23tok =failed)", "failed")];

/// It has begun to ask for a call.
pub(super) const WANTING: &[Row] = &[
    ("text", "'b'", ""),
    ("refusal", "refuses", ""),
    ("reasoning", "thinks", ""),
    ("reasoned", "", ""),
    ("annotation", "", ""),
    ("continuation", "", ""),
    ("call", "calls:look", ""),
    ("arguments", "{}", ""),
    ("sent", "", ""),
    ("attempt", "", ""),
    ("unknown", "", ""),
    ("usage", "", ""),
    ("stop", "save(message 21tok) call:echo", "running"),
    (
        "length",
        "save([not called: no calls are left] partial 21tok =incomplete)",
        "incomplete:max_tokens",
    ),
    (
        "filter",
        "save([not called: no calls are left] partial 21tok =incomplete)",
        "incomplete:content_filter",
    ),
    (
        "model failed",
        "abort save([not called: the run failed] partial 21tok =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling [not called: the run was cancelled] partial 21tok =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save([not called: the run ran out of time] partial 21tok =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save([not called: the run ran out of time] partial 21tok =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save([not called: the run failed] partial 21tok =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save([not called: the run failed] partial 21tok =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling [not called: the run was cancelled] partial 21tok =cancelled)",
        "cancelled",
    ),
];

/// The same, its tokens are used up, and one more byte is one token too many.
pub(super) const SPENT: &[Row] = &[
    (
        "text",
        "'b' abort save([not called: the run's tokens are used up] partial 31tok =incomplete)",
        "incomplete:max_tokens",
    ),
    (
        "refusal",
        "refuses abort save([not called: the run's tokens are used up] partial 31tok =incomplete)",
        "incomplete:max_tokens",
    ),
    (
        "reasoning",
        "thinks abort save([not called: the run's tokens are used up] partial 31tok =incomplete)",
        "incomplete:max_tokens",
    ),
    ("reasoned", "", ""),
    ("annotation", "", ""),
    ("continuation", "", ""),
    ("call", "calls:look", ""),
    (
        "arguments",
        "{} abort save([not called: the run's tokens are used up] partial 31tok =incomplete)",
        "incomplete:max_tokens",
    ),
    ("sent", "", ""),
    ("attempt", "", ""),
    ("unknown", "", ""),
    ("usage", "", ""),
    (
        "stop",
        "save([not called: the run's tokens are used up] partial 30tok =incomplete)",
        "incomplete:max_tokens",
    ),
    (
        "length",
        "save([not called: no calls are left] partial 30tok =incomplete)",
        "incomplete:max_tokens",
    ),
    (
        "filter",
        "save([not called: no calls are left] partial 30tok =incomplete)",
        "incomplete:content_filter",
    ),
    (
        "model failed",
        "abort save([not called: the run failed] partial 30tok =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling [not called: the run was cancelled] partial 30tok =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save([not called: the run ran out of time] partial 30tok =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save([not called: the run ran out of time] partial 30tok =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save([not called: the run failed] partial 30tok =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save([not called: the run failed] partial 30tok =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling [not called: the run was cancelled] partial 30tok =cancelled)",
        "cancelled",
    ),
];

/// The same, its money is spent, and one more byte costs too much.
pub(super) const BROKE: &[Row] = &[
    (
        "text",
        "'b' abort save([not called: the run's budget is used up] partial 31tok =incomplete)",
        "incomplete:budget",
    ),
    (
        "refusal",
        "refuses abort save([not called: the run's budget is used up] partial 31tok =incomplete)",
        "incomplete:budget",
    ),
    (
        "reasoning",
        "thinks abort save([not called: the run's budget is used up] partial 31tok =incomplete)",
        "incomplete:budget",
    ),
    ("reasoned", "", ""),
    ("annotation", "", ""),
    ("continuation", "", ""),
    ("call", "calls:look", ""),
    (
        "arguments",
        "{} abort save([not called: the run's budget is used up] partial 31tok =incomplete)",
        "incomplete:budget",
    ),
    ("sent", "", ""),
    ("attempt", "", ""),
    ("unknown", "", ""),
    ("usage", "", ""),
    (
        "stop",
        "save([not called: the run's budget is used up] partial 30tok =incomplete)",
        "incomplete:budget",
    ),
    (
        "length",
        "save([not called: no calls are left] partial 30tok =incomplete)",
        "incomplete:max_tokens",
    ),
    (
        "filter",
        "save([not called: no calls are left] partial 30tok =incomplete)",
        "incomplete:content_filter",
    ),
    (
        "model failed",
        "abort save([not called: the run failed] partial 30tok =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling [not called: the run was cancelled] partial 30tok =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save([not called: the run ran out of time] partial 30tok =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save([not called: the run ran out of time] partial 30tok =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save([not called: the run failed] partial 30tok =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save([not called: the run failed] partial 30tok =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling [not called: the run was cancelled] partial 30tok =cancelled)",
        "cancelled",
    ),
];

/// One tool is at work.
pub(super) const CALLING: &[Row] = &[
    ("progress", "progress", ""),
    ("done", "save([x] +tool) ask", "running"),
    ("asks", "save(ask:echo requires_action)", "requires_action"),
    ("asks no more", "", ""),
    ("lost", "save(ask:echo requires_action)", "requires_action"),
    ("samples", "let", ""),
    ("sampling", "", ""),
    ("sampled", "", ""),
    (
        "model failed",
        "abort save([not finished: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling [not finished: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save([not finished: the run ran out of time] +tool =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save([not finished: the run ran out of time] +tool =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save([not finished: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save([not finished: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling [not finished: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
];

/// The only call of the only turn with tools is at work, or the only call that may be made.
pub(super) const CALLING_LAST: &[Row] = &[("done", "save([x] +tool) ask without tools", "running")];

/// One tool is at work, somebody is asked about another.
pub(super) const CALLING_AND_ASKED: &[Row] = &[
    ("progress", "progress", ""),
    ("done", "save([x] requires_action)", "requires_action"),
    ("asks", "save(ask:echo requires_action)", "requires_action"),
    ("asks no more", "", ""),
    ("lost", "save(ask:echo requires_action)", "requires_action"),
    ("samples", "let", ""),
    ("sampling", "", ""),
    ("sampled", "", ""),
    (
        "model failed",
        "abort save([not finished: the run failed] cancelled [not called: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling [not finished: the run was cancelled] cancelled \
         [not called: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save([not finished: the run ran out of time] cancelled \
         [not called: the run ran out of time] +tool =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save([not finished: the run ran out of time] expired \
         [not called: the run ran out of time] +tool =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save([not finished: the run failed] cancelled [not called: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save([not finished: the run failed] cancelled [not called: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling [not finished: the run was cancelled] cancelled \
         [not called: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    ("approve", "save(approved) call:risky", "running"),
    ("edit", "save(edited) call:risky", "running"),
    (
        "reject",
        "save(rejected [not called: the call was rejected])",
        "running",
    ),
    ("output", "save(answered [given])", "running"),
    ("reply", "VALIDATION_FAILED", ""),
];

/// The server of the only call, which goes on, asks a person.
pub(super) const ASKED_BY_SERVER: &[Row] = &[
    ("progress", "progress", ""),
    ("done", "save(cancelled [x] running +tool) ask", "running"),
    ("asks", "", ""),
    ("asks no more", "save(cancelled running)", "running"),
    ("lost", "save(cancelled ask:echo)", ""),
    ("samples", "let", ""),
    ("sampling", "", ""),
    ("sampled", "", ""),
    (
        "model failed",
        "abort save(cancelled [not finished: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling cancelled [not finished: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save(cancelled [not finished: the run ran out of time] +tool =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save(expired [not finished: the run ran out of time] +tool =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save(cancelled [not finished: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save(cancelled [not finished: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling cancelled [not finished: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    ("approve", "VALIDATION_FAILED", ""),
    ("edit", "VALIDATION_FAILED", ""),
    ("reject", "VALIDATION_FAILED", ""),
    ("output", "VALIDATION_FAILED", ""),
    ("reply", "save(answered running) tell:decline", "running"),
];

/// Somebody is asked, and nothing else goes on.
pub(super) const WAITING: &[Row] = &[
    ("samples", "refuse", ""),
    ("sampling", "", ""),
    ("sampled", "", ""),
    (
        "model failed",
        "abort save(cancelled [not called: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "cancel",
        "abort save(cancelling cancelled [not called: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    (
        "deadline",
        "abort save(cancelled [not called: the run ran out of time] +tool =incomplete)",
        "incomplete:deadline",
    ),
    (
        "expire",
        "abort save(expired [not called: the run ran out of time] +tool =expired)",
        "expired",
    ),
    (
        "fail",
        "abort save(cancelled [not called: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed",
        "abort save(cancelled [not called: the run failed] +tool =failed)",
        "failed",
    ),
    (
        "save failed, called off",
        "abort save(cancelling cancelled [not called: the run was cancelled] +tool =cancelled)",
        "cancelled",
    ),
    ("approve", "save(approved running) call:risky", "running"),
    ("edit", "save(edited running) call:risky", "running"),
    (
        "reject",
        "save(rejected [not called: the call was rejected] running +tool) ask",
        "running",
    ),
    ("output", "save(answered [given] running +tool) ask", "running"),
    ("reply", "VALIDATION_FAILED", ""),
];

/// It is over.
pub(super) const OVER: &[Row] = &[
    ("samples", "", ""),
    ("model failed", "", ""),
    ("cancel", "", ""),
    ("deadline", "", ""),
    ("expire", "", ""),
    ("fail", "", ""),
    ("save failed", "", ""),
    ("save failed, called off", "", ""),
];

pub(super) const SILENT_STOP: &[Row] = &[("stop", "save(=completed)", "completed")];
pub(super) const LANDED_STOP: &[Row] = &[("stop", "save(=incomplete)", "incomplete:max_turns")];
pub(super) const CALLS_STOP: &[Row] = &[("stop", "save(=incomplete)", "incomplete:max_tool_calls")];

pub(super) const ENDED: &[&[Row]] = &[OVER, NOT_ASKING, NOT_CALLING, NOT_ASKED];
