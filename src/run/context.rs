//! Which part of a conversation a model is given.
//!
//! Tokens are only estimated where they can matter: a token is at least one byte, so that a conversation of fewer
//! bytes than tokens are allowed fits whatever it says. Every message is estimated once, and as soon as the provider
//! has counted a conversation, its count stands in place of the estimates.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::error::{Error, Reason};
use super::id::RunId;
use super::message::{Content, MediaSource, Message, Part, ResourceBody, Role, Summarized, Usage};
use super::options::{ModelOptions, OutputFormat};
use super::ports::{ModelRequest, Tokenizer};
use super::summary;
use super::truncation::{ContextUse, Reach, Strategy, Truncation};

/// Tokens around a message: its role and its ends.
const TOKENS_AROUND: u64 = 8;

/// Tokens of a picture, a sound or a file. Providers count these by rules of their own; this is what a picture of usual
/// size costs with most.
const TOKENS_OF_MEDIA: u64 = 1_024;

/// Room for an answer when nobody has said how long it may be: a part of the context, and no more than this.
const ANSWER_PART: u64 = 8;
const ANSWER_LIMIT: u64 = 4_096;

/// Bytes of a token in JSON, which is not read for an estimate.
const BYTES_OF_JSON: u64 = 4;

/// Tokens of a summary: a part of what the conversation may have, and no more than this.
const SUMMARY_PART: u64 = 8;
const SUMMARY_LIMIT: u64 = 2_048;

/// What bounds a conversation that a model is given.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Tokens that the model takes at most, read and written together; none when that is not known.
    pub context_tokens: Option<u64>,
    /// Tokens that it writes at most in one answer; none when that is not known.
    pub max_output_tokens: Option<u64>,
    /// What counts.
    pub tokenizer: Arc<dyn Tokenizer>,
}

/// A run's view of its conversation. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The size of each message of the history, as far as it was asked for.
    sizes: Vec<Size>,
    /// What the provider has counted last.
    counted: Option<Counted>,
    /// What the model was given last.
    given: Option<Given>,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    /// No fewer bytes than the message has tokens.
    bytes: u64,
    /// The estimate, once there is one.
    tokens: Option<u64>,
}

/// A conversation that the provider has counted, up to the message that it answered with.
#[derive(Clone, Copy, Debug)]
struct Counted {
    /// Where it begins in the history, beside the messages that are always given.
    start: usize,
    /// How much of the history it is.
    end: usize,
    tokens: u64,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    start: usize,
    end: usize,
}

/// What is to become of a conversation before the model is asked.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// The model is given this.
    Give(Selected),
    /// This is to be summed up first.
    SumUp(Gap),
}

/// A part of a conversation that the model is not given any more, and that no summary tells of.
#[derive(Debug, PartialEq)]
pub(super) struct Gap {
    /// What the summary is going to tell of, an earlier summary's part included.
    pub(super) summarized: Summarized,
    /// The earlier summary.
    pub(super) earlier: Option<Arc<Message>>,
    /// What it does not tell of, oldest first.
    pub(super) messages: Vec<Arc<Message>>,
    /// How many tokens the summary may have.
    pub(super) max_tokens: u64,
}

/// The newest summary in a history.
struct Summary<'a> {
    message: &'a Arc<Message>,
    summarized: &'a Summarized,
    /// The first message in the history that it does not tell of.
    end: usize,
}

/// What a model is given.
#[derive(Debug, PartialEq)]
pub(super) struct Selected {
    pub(super) messages: Vec<Arc<Message>>,
    pub(super) used: ContextUse,
    /// How many tokens that is with all around it, rather too many than too few; none where nothing bounds it, so that
    /// nobody has looked.
    pub(super) tokens: Option<u64>,
}

/// A part of the history that fits.
#[derive(Clone, Copy)]
struct Fit {
    /// Where it begins.
    start: usize,
    tokens: u64,
}

/// The conversation and what a run wants of it.
pub(super) struct Asked<'a> {
    pub(super) history: &'a [Arc<Message>],
    /// How many older messages were beyond [reach].
    pub(super) unread: u64,
    /// The first message that must not be left out.
    pub(super) kept_from: usize,
    pub(super) instructions: &'a str,
    pub(super) tools: Option<&'a Catalogue>,
    pub(super) options: &'a ModelOptions,
    /// Tokens that the model may write.
    pub(super) max_output_tokens: Option<u64>,
    pub(super) truncation: Truncation,
    /// Whether what is left out may be summed up now, where the strategy says so.
    pub(super) may_sum_up: bool,
    pub(super) bounds: &'a Bounds,
}

impl Context {
    /// What the model is given of the conversation, or what is to be summed up before that can be.
    ///
    /// # Errors
    /// `CONTEXT_LENGTH_EXCEEDED` when it is too long, and nothing of it may be left out, or nothing more.
    pub(super) fn choose(&mut self, asked: &Asked<'_>) -> Result<Choice, Error> {
        let history = asked.history;
        let kept_from = asked.kept_from.min(history.len());
        let sums_up = asked.truncation.strategy == Strategy::Summarize;
        let summary = sums_up.then(|| newest_summary(history)).flatten();
        let mut start = summary.as_ref().map_or(0, |summary| summary.end.min(kept_from));
        let covered = start;
        let mut tokens = None;
        if let (Some(turns), true) = (
            asked.truncation.last_turns,
            asked.truncation.strategy != Strategy::Disabled,
        ) {
            start = newest_turns(history, turns).min(kept_from).max(start);
        }
        // What was left out once stays out: the conversation only grows.
        start = start.max(self.given.map_or(0, |given| given.start).min(kept_from));
        let allowed = allowed(asked);
        let mut around = Around::of(asked, summary.as_ref());
        let mut shown = summary.as_ref();
        if let Some(allowed) = allowed {
            let fit = match self.fit(asked, &around, start, kept_from, allowed) {
                // What must be given leaves no room for the summary.
                Err(_) if shown.is_some() => {
                    shown = None;
                    around = Around::of(asked, None);
                    self.fit(asked, &around, start, kept_from, allowed)?
                }
                fitted => fitted?,
            };
            (start, tokens) = (fit.start, Some(fit.tokens));
        }
        if sums_up && asked.may_sum_up && history[covered..start].iter().any(is_left_out) {
            // More than must go goes at once, so that the summary is good for some turns.
            let mut end = start;
            if let Some(turns) = asked.truncation.last_turns {
                end = end.max(newest_turns(history, turns.div_ceil(2)).min(kept_from));
            }
            if let Some(allowed) = allowed {
                end = self
                    .fit(asked, &around, end, kept_from, allowed / 2)
                    .map_or(kept_from, |fit| fit.start);
            }
            if let Some(gap) = gap(history, covered..end, summary.as_ref(), allowed) {
                return Ok(Choice::SumUp(gap));
            }
        }
        self.given = Some(Given {
            start,
            end: history.len(),
        });
        let (oldest, newest) = history.split_at(start);
        let kept = oldest.iter().filter(|message| is_pinned(message)).cloned();
        let summary = shown.map(|summary| {
            Arc::new(Message {
                content: vec![Part::Text(summary::framed(summary.message))],
                ..(**summary.message).clone()
            })
        });
        let newest = newest.iter().filter(|message| message.summarized().is_none());
        let omitted = oldest.iter().filter(|message| is_left_out(message)).count();
        let messages: Vec<_> = kept.chain(summary).chain(newest.cloned()).collect();
        Ok(Choice::Give(selected(messages, omitted, asked.unread, tokens)))
    }

    /// Leaves out about half of what was given last, because the provider finds it too long: the next
    /// [choice](Self::choose) begins behind it. False where nothing more may be left out.
    pub(super) fn halve(&mut self, asked: &Asked<'_>) -> bool {
        let history = asked.history;
        let kept_from = asked.kept_from.min(history.len());
        let Some(given) = self.given.filter(|given| given.start < kept_from) else {
            return false;
        };
        if asked.truncation.strategy == Strategy::Disabled {
            return false;
        }
        // The provider has just shown that its tokens are not counted like this.
        self.counted = None;
        self.measure(history);
        let tokenizer = &*asked.bounds.tokenizer;
        let around = Around::of(asked, None);
        let pinned = (0..given.start).filter(|&place| is_pinned(&history[place]));
        let total = pinned.fold(around.tokens(asked), |total, place| {
            total.saturating_add(self.tokens(history, place..place + 1, tokenizer))
        });
        let total = total.saturating_add(self.tokens(history, given.start..history.len(), tokenizer));
        let fit = self.fit(asked, &around, given.start, kept_from, total / 2);
        let start = fit.map_or(kept_from, |fit| fit.start);
        self.given = Some(Given { start, ..given });
        history[given.start..start].iter().any(is_left_out)
    }

    /// Takes the provider's count of the conversation that was given last, with the answer that it got: the next
    /// message of the history.
    pub(super) fn count(&mut self, usage: &Usage) {
        if let Some(given) = self.given
            && usage.input_tokens > 0
        {
            self.counted = Some(Counted {
                start: given.start,
                end: given.end + 1,
                tokens: usage.total_tokens(),
            });
        }
    }

    /// Where the conversation has to begin to fit, at the earliest from `start` on.
    fn fit(
        &mut self,
        asked: &Asked<'_>,
        around: &Around,
        start: usize,
        kept_from: usize,
        allowed: u64,
    ) -> Result<Fit, Error> {
        let history = asked.history;
        self.measure(history);
        let bytes: u64 = self.sizes.iter().map(|size| size.bytes).sum();
        let fits = |start, tokens| Ok(Fit { start, tokens });
        if bytes + around.bytes <= allowed {
            return fits(start, bytes + around.bytes);
        }
        let tokenizer = &*asked.bounds.tokenizer;
        if let Some(counted) = self.counted.filter(|counted| counted.start == start) {
            let behind = counted.end.min(history.len())..history.len();
            let tokens = counted.tokens + self.tokens(history, behind, tokenizer);
            if tokens <= allowed {
                return fits(start, tokens);
            }
        }
        // From the newest back, and no further than it fits, so that a long conversation is not read to its beginning.
        let system = (0..kept_from).filter(|&place| is_pinned(&history[place]));
        let mut total = system.fold(around.tokens(asked), |total, place| {
            total.saturating_add(self.tokens(history, place..place + 1, tokenizer))
        });
        total = total.saturating_add(self.tokens(history, kept_from..history.len(), tokenizer));
        if total > allowed {
            return Err(too_long(total, allowed));
        }
        let (mut place, mut given) = (kept_from, total);
        let begins: Vec<usize> = turns(history).filter(|&begin| begin < kept_from).collect();
        for begin in begins.into_iter().rev().chain([start]) {
            let begin = begin.max(start);
            let turn = (begin..place).filter(|&place| is_left_out(&history[place]));
            total = turn.fold(total, |total, place| {
                total.saturating_add(self.tokens(history, place..place + 1, tokenizer))
            });
            match (total <= allowed, asked.truncation.strategy) {
                (true, _) => (place, given) = (begin, total),
                (false, Strategy::Auto | Strategy::Summarize) => break,
                (false, Strategy::Disabled) => return Err(too_long(total, allowed)),
            }
            if place == start {
                break;
            }
        }
        fits(place, given)
    }

    /// Gives each message of the history its size.
    fn measure(&mut self, history: &[Arc<Message>]) {
        let known = self.sizes.len();
        self.sizes.extend(history.iter().skip(known).map(Size::of));
    }

    fn tokens(
        &mut self,
        history: &[Arc<Message>],
        places: std::ops::Range<usize>,
        tokenizer: &dyn Tokenizer,
    ) -> u64 {
        let mut total: u64 = 0;
        for place in places {
            let size = &mut self.sizes[place];
            let tokens = *size
                .tokens
                .get_or_insert_with(|| TOKENS_AROUND + tokens(&history[place], tokenizer));
            total = total.saturating_add(tokens);
        }
        total
    }
}

impl Size {
    /// Summaries have none: the one that a model is given stands around the conversation.
    fn of(message: &Arc<Message>) -> Self {
        match message.summarized() {
            Some(_) => Self {
                bytes: 0,
                tokens: Some(0),
            },
            None => Self {
                bytes: bytes(message),
                tokens: None,
            },
        }
    }
}

fn selected(messages: Vec<Arc<Message>>, omitted: usize, unread: u64, tokens: Option<u64>) -> Selected {
    let used = ContextUse {
        messages: small(messages.len()),
        omitted: small(omitted).saturating_add(u32::try_from(unread).unwrap_or(u32::MAX)),
    };
    Selected {
        messages,
        used,
        tokens,
    }
}

/// How much of a thread can be given to a model. What is beyond it changes nothing: the same is selected of this part as
/// of all.
pub(super) fn reach(truncation: Truncation, bounds: &Bounds) -> Reach {
    let tokens = || {
        bounds
            .context_tokens
            .into_iter()
            .chain(truncation.max_tokens)
            .min()
    };
    match truncation.strategy {
        // It is an error that some of it does not fit; a summary tells of all that is left out.
        Strategy::Disabled | Strategy::Summarize => Reach::All,
        Strategy::Auto => match (truncation.last_turns, tokens()) {
            (Some(turns), _) => Reach::Turns(turns),
            // So many messages have more tokens, whatever they say.
            (None, Some(tokens)) => Reach::Messages(tokens / TOKENS_AROUND + 1),
            (None, None) => Reach::All,
        },
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether the message is given to the model whatever is left out.
fn is_pinned(message: &Arc<Message>) -> bool {
    message.role == Role::System && message.summarized().is_none()
}

/// Whether it is left out where it is old.
fn is_left_out(message: &Arc<Message>) -> bool {
    message.role != Role::System
}

fn newest_summary(history: &[Arc<Message>]) -> Option<Summary<'_>> {
    history.iter().rev().find_map(|message| {
        let summarized = message.summarized()?;
        let last = history.iter().position(|message| message.id == summarized.last)?;
        Some(Summary {
            message,
            summarized,
            end: last + 1,
        })
    })
}

/// What a summary is to tell of that reaches beyond the one that there is; none when that is nothing.
fn gap(
    history: &[Arc<Message>],
    places: std::ops::Range<usize>,
    summary: Option<&Summary<'_>>,
    allowed: Option<u64>,
) -> Option<Gap> {
    let last = history[..places.end].last()?.id.clone();
    let messages: Vec<_> = history[places]
        .iter()
        .filter(|message| is_left_out(message))
        .cloned()
        .collect();
    let first = messages.first()?.id.clone();
    let earlier = summary.map(|summary| summary.summarized);
    Some(Gap {
        summarized: Summarized {
            first: earlier.map_or(first, |earlier| earlier.first.clone()),
            last,
            messages: small(messages.len()).saturating_add(earlier.map_or(0, |earlier| earlier.messages)),
        },
        earlier: summary.map(|summary| Arc::clone(summary.message)),
        messages,
        max_tokens: allowed.map_or(SUMMARY_LIMIT, |allowed| {
            (allowed / SUMMARY_PART).clamp(1, SUMMARY_LIMIT)
        }),
    })
}

/// How many tokens a conversation may have, if anything bounds it.
fn allowed(asked: &Asked<'_>) -> Option<u64> {
    let bounds = asked.bounds;
    let of_model = bounds.context_tokens.map(|context| {
        let usual = (context / ANSWER_PART).min(ANSWER_LIMIT);
        let room = match asked.truncation.strategy {
            // What is not asked for is no reason to refuse.
            Strategy::Disabled => {
                let can = bounds.max_output_tokens.unwrap_or(u64::MAX);
                asked.max_output_tokens.map_or(0, |asked| asked.min(can))
            }
            Strategy::Auto | Strategy::Summarize => {
                let known = bounds.max_output_tokens.unwrap_or(usual);
                asked.max_output_tokens.map_or(known, |asked| asked.min(known))
            }
        };
        context.saturating_sub(room)
    });
    of_model.into_iter().chain(asked.truncation.max_tokens).min()
}

/// `CONTEXT_LENGTH_EXCEEDED`, with how long the conversation is at least and how long it may be.
fn too_long(estimated: u64, allowed: u64) -> Error {
    let text = format!(
        "the conversation has some {estimated} tokens, and the model is to be given no more than {allowed}"
    );
    Error::new(Reason::ContextLengthExceeded, text)
        .with("estimated_tokens", estimated.to_string())
        .with("allowed_tokens", allowed.to_string())
}

/// Where turns begin: where the caller speaks after somebody else.
fn turns(history: &[Arc<Message>]) -> impl DoubleEndedIterator<Item = usize> {
    let begins = |&place: &usize| {
        history[place].role == Role::User && (place == 0 || history[place - 1].role != Role::User)
    };
    (0..history.len()).filter(begins)
}

/// The first message that a run cannot do without: the first that it has written or that it was asked, or else what
/// the caller said last, or whoever spoke last.
pub(super) fn kept_from(history: &[Arc<Message>], run: &RunId) -> usize {
    let own = history
        .iter()
        .rev()
        .take_while(|message| message.run.as_ref() == Some(run));
    let first_own = history.len() - own.count();
    let is_question = history
        .get(first_own)
        .is_some_and(|first| first.role == Role::User);
    if is_question {
        return first_own;
    }
    let before = &history[..first_own];
    let question = before.iter().rposition(|message| message.role == Role::User);
    question.unwrap_or(first_own.saturating_sub(1))
}

/// Where the newest turns begin.
fn newest_turns(history: &[Arc<Message>], count: u32) -> usize {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    turns(history).rev().nth(count.saturating_sub(1)).unwrap_or(0)
}

/// What a request says beside the conversation.
struct Around {
    /// No fewer than it has tokens.
    bytes: u64,
    /// Those of its tools, and of the schema of the answer.
    schemas: u64,
    /// The summary of what is left out; empty for none.
    summary: String,
}

impl Around {
    fn of(asked: &Asked<'_>, summary: Option<&Summary<'_>>) -> Self {
        let schemas = asked.tools.map_or(0, Catalogue::size_bytes) + answer_bytes(asked.options);
        let summary = summary
            .map(|summary| summary::framed(summary.message))
            .unwrap_or_default();
        Self {
            bytes: TOKENS_AROUND + length(asked.instructions) + length(&summary) + schemas,
            schemas,
            summary,
        }
    }

    /// The estimate. Schemas are not read for it.
    fn tokens(&self, asked: &Asked<'_>) -> u64 {
        let tokenizer = &asked.bounds.tokenizer;
        let summary = match self.summary.as_str() {
            "" => 0,
            summary => TOKENS_AROUND + tokenizer.count(summary),
        };
        TOKENS_AROUND + tokenizer.count(asked.instructions) + summary + self.schemas / BYTES_OF_JSON
    }
}

fn length(text: &str) -> u64 {
    text.len() as u64
}

/// A piece of a message, as a model reads it.
enum Piece<'a> {
    Text(&'a str),
    Media,
}

/// No fewer than the request has tokens, about: all of it that a model reads. What a provider alone knows the meaning of
/// is not in it.
pub fn bytes_of(request: &ModelRequest) -> u64 {
    let messages: u64 = request.messages.iter().map(|message| bytes(message)).sum();
    TOKENS_AROUND + length(&request.instructions) + schema_bytes(request) + messages
}

/// How many tokens the request has, about.
pub fn tokens_of(request: &ModelRequest, tokenizer: &dyn Tokenizer) -> u64 {
    let message = |message: &Arc<Message>| TOKENS_AROUND + tokens(message, tokenizer);
    let messages: u64 = request.messages.iter().map(message).sum();
    TOKENS_AROUND + tokenizer.count(&request.instructions) + schema_bytes(request) / BYTES_OF_JSON + messages
}

/// Bytes of its tools, and of the schema of the answer.
fn schema_bytes(request: &ModelRequest) -> u64 {
    let tools = request.tools.as_deref().map_or(0, Catalogue::size_bytes);
    tools + answer_bytes(&request.options)
}

/// Bytes of what the answer has to look like.
fn answer_bytes(options: &ModelOptions) -> u64 {
    match &options.output_format {
        Some(OutputFormat::JsonSchema(answer)) => {
            length(&answer.name) + length(&answer.description) + length(&answer.schema.to_string())
        }
        Some(OutputFormat::Text | OutputFormat::JsonObject { .. }) | None => 0,
    }
}

fn bytes(message: &Message) -> u64 {
    let mut total = TOKENS_AROUND;
    pieces(message, |piece| {
        total += match piece {
            Piece::Text(text) => length(text),
            Piece::Media => TOKENS_OF_MEDIA,
        }
    });
    total
}

fn tokens(message: &Message, tokenizer: &dyn Tokenizer) -> u64 {
    let mut total = 0;
    pieces(message, |piece| {
        total += match piece {
            Piece::Text(text) => tokenizer.count(text),
            Piece::Media => TOKENS_OF_MEDIA,
        }
    });
    total
}

fn pieces<'a>(message: &'a Message, mut give: impl FnMut(Piece<'a>)) {
    for part in &message.content {
        match part {
            Part::Text(text) | Part::Refusal(text) => give(Piece::Text(text)),
            Part::Image(media) | Part::File(media) => {
                give(Piece::Media);
                if let MediaSource::Url(url) = &media.source {
                    give(Piece::Text(url));
                }
            }
            Part::Resource(attached) => {
                for contents in &attached.contents {
                    match &contents.body {
                        ResourceBody::Text(text) => give(Piece::Text(text)),
                        ResourceBody::Base64(_) => give(Piece::Media),
                    }
                    give(Piece::Text(&contents.uri));
                }
            }
            Part::ToolCall(call) => {
                give(Piece::Text(call.id.as_str()));
                give(Piece::Text(&call.tool));
                give(Piece::Text(&call.arguments));
            }
            // What is encrypted beside it is not read again beyond the run, and then in the provider's own count.
            Part::Reasoning(reasoning) => give(Piece::Text(&reasoning.summary)),
            Part::Annotations(_) | Part::Continuation(_) | Part::Summarized(_) => {}
            Part::ToolOutput(output) => {
                give(Piece::Text(output.call.as_str()));
                for content in &output.output.content {
                    match content {
                        Content::Text(text) => give(Piece::Text(text)),
                        Content::ResourceLink { uri, name, .. } => {
                            give(Piece::Text(uri));
                            give(Piece::Text(name));
                        }
                        Content::Resource(contents) => match &contents.body {
                            ResourceBody::Text(text) => give(Piece::Text(text)),
                            ResourceBody::Base64(_) => give(Piece::Text(&contents.uri)),
                        },
                        Content::Image { .. } | Content::Audio { .. } => give(Piece::Media),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
