use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::run::id::{CallId, MessageId, Mint};
use crate::run::message::{CallOutput, ToolCall, ToolOutput};
use crate::run::rules::{self, Quarters};

static PLAIN: LazyLock<ModelOptions> = LazyLock::new(ModelOptions::default);

/// What is said, by one letter each: the caller, the model, a call with its output, the operator.
fn history(script: &str, size: usize, run: &RunId) -> Vec<Arc<Message>> {
    let mut mint = Mint::Sequential(1 << 32);
    let own = script
        .find('!')
        .map_or(usize::MAX, |place| script[..place].chars().count());
    let mut messages: Vec<Arc<Message>> = Vec::new();
    for (place, letter) in script.chars().filter(|letter| *letter != '!').enumerate() {
        let mut say = |role, content, mint: &mut Mint| {
            messages.push(Arc::new(Message {
                id: MessageId::new(mint),
                role,
                content,
                run: (place >= own).then(|| run.clone()),
                incomplete: false,
                create_time: UNIX_EPOCH,
                metadata: Default::default(),
            }));
        };
        let text = || vec![Part::Text("x".repeat(size))];
        match letter {
            'u' => say(Role::User, text(), &mut mint),
            's' => say(Role::System, text(), &mut mint),
            'c' => {
                let call = CallId::new(&mut mint);
                let asked = ToolCall {
                    id: call.clone(),
                    tool: "t".into(),
                    arguments: "{}".into(),
                };
                say(Role::Assistant, vec![Part::ToolCall(asked)], &mut mint);
                let answer = CallOutput {
                    call,
                    tool: "t".into(),
                    output: ToolOutput::failure("x".repeat(size)),
                    truncated: false,
                };
                say(Role::Tool, vec![Part::ToolOutput(answer)], &mut mint);
            }
            _ => say(Role::Assistant, text(), &mut mint),
        }
    }
    messages
}

fn run() -> RunId {
    RunId::new(&mut Mint::Sequential(0))
}

fn bounds(context_tokens: Option<u64>) -> Bounds {
    Bounds {
        context_tokens,
        max_output_tokens: None,
        tokenizer: Arc::new(Quarters),
    }
}

fn asked<'a>(history: &'a [Arc<Message>], truncation: Truncation, bounds: &'a Bounds) -> Asked<'a> {
    Asked {
        history,
        unread: 0,
        kept_from: kept_from(history, &run()),
        instructions: "",
        tools: None,
        options: &PLAIN,
        max_output_tokens: None,
        truncation,
        may_sum_up: true,
        bounds,
    }
}

impl Context {
    /// What a model is given where nothing is summed up.
    fn select(&mut self, asked: &Asked<'_>) -> Result<Selected, Error> {
        self.choose(asked).map(|choice| match choice {
            Choice::Give(selected) => selected,
            Choice::SumUp(gap) => panic!("nothing is to be summed up: {gap:?}"),
        })
    }
}

/// The roles of what a model is given, a letter each.
fn letters(selected: &Selected) -> String {
    let letter = |message: &Arc<Message>| match message.role {
        Role::User => 'u',
        Role::Assistant => 'a',
        Role::Tool => 't',
        Role::System => 's',
    };
    selected.messages.iter().map(letter).collect()
}

/// The same for this conversation; or what is allowed.
fn given(script: &str, truncation: Truncation, context_tokens: Option<u64>) -> String {
    // 100 bytes are 25 tokens, and 8 stand around each message and around the whole.
    let history = history(script, 100, &run());
    let bounds = bounds(context_tokens);
    let selected = Context::default().select(&asked(&history, truncation, &bounds));
    match selected {
        Ok(selected) => {
            let count = |count: usize| u32::try_from(count).unwrap();
            assert_eq!(selected.used.messages, count(selected.messages.len()));
            assert_eq!(
                selected.used.omitted,
                count(history.len() - selected.messages.len())
            );
            letters(&selected)
        }
        Err(error) => {
            assert_eq!(error.reason(), Reason::ContextLengthExceeded);
            let [(_, estimated), (_, allowed)] = error.metadata() else {
                panic!("{error:?}");
            };
            assert!(
                estimated.parse::<u64>().unwrap() > allowed.parse().unwrap(),
                "{error}"
            );
            format!("more than {allowed}")
        }
    }
}

#[test]
fn half_of_what_a_provider_finds_too_long_is_left_out_turn_by_turn() {
    // What is said, and what the model is given then, until nothing may be left out any more.
    for (script, then) in [
        ("uauauaua!u", vec!["uau", "u", ""]),
        // A turn stays or goes as a whole, its call with its output.
        ("uacauauaua!u", vec!["uauau", "u", ""]),
        ("uacaua!u", vec!["uau", "u", ""]),
        // What the run has asked and done itself stays.
        ("ucaua!ucu", vec!["uatu", ""]),
        ("suauauaua!u", vec!["suau", "su", ""]),
        ("!u", vec![""]),
        ("!uca", vec![""]),
    ] {
        let (run, bounds) = (run(), bounds(None));
        let history = history(script, 100, &run);
        let mut context = Context::default();
        for strategy in [Strategy::Auto, Strategy::Summarize] {
            let truncation = Truncation {
                strategy,
                ..Truncation::default()
            };
            let asked = Asked {
                may_sum_up: false,
                ..asked(&history, truncation, &bounds)
            };
            let mut context = Context::default();
            let whole = context.select(&asked).unwrap();
            assert_eq!(whole.messages.len(), history.len(), "{script}");
            for shorter in &then {
                let is_shorter = context.halve(&asked);
                assert_eq!(is_shorter, !shorter.is_empty(), "{script} {shorter}");
                if is_shorter {
                    let given = context.select(&asked).unwrap();
                    assert_eq!(letters(&given), *shorter, "{script}");
                }
            }
        }
        let bound = asked(&history, Truncation::default(), &bounds);
        context.select(&bound).unwrap();
        assert!(!context.halve(&bound), "nothing may be left out");
    }
}

fn auto(last_turns: Option<u32>, max_tokens: Option<u64>) -> Truncation {
    Truncation {
        strategy: Strategy::Auto,
        last_turns,
        max_tokens,
    }
}

#[test]
fn whole_turns_are_left_out_the_oldest_first() {
    let disabled = Truncation::default();
    for (script, truncation, context, expected) in [
        ("uaua!u", disabled, None, "uauau"),
        ("uaua!u", auto(None, None), None, "uauau"),
        ("uaua!u", auto(Some(1), None), None, "u"),
        ("uaua!u", auto(Some(2), None), None, "uau"),
        ("uaua!u", auto(Some(9), None), None, "uauau"),
        // Somebody who speaks twice has one turn.
        ("uauua!u", auto(Some(2), None), None, "uuau"),
        ("suaua!u", auto(Some(1), None), None, "su"),
        ("uasua!u", auto(Some(1), None), None, "su"),
        ("ucaua!u", auto(Some(2), None), None, "uau"),
        ("ucaua!uc", auto(Some(1), None), None, "uat"),
        // Tokens: each message has 33, and there are 8 around.
        ("uaua!u", auto(None, Some(173)), None, "uauau"),
        ("uaua!u", auto(None, Some(172)), None, "uau"),
        ("uaua!u", auto(None, Some(107)), None, "uau"),
        ("uaua!u", auto(None, Some(106)), None, "u"),
        ("uaua!u", auto(None, Some(41)), None, "u"),
        ("uaua!u", auto(None, Some(40)), None, "more than 40"),
        ("suaua!u", auto(None, Some(140)), None, "suau"),
        // What was said before the first turn is the first to go.
        ("aua!u", auto(None, Some(107)), None, "uau"),
        ("aa!u", auto(None, Some(60)), None, "u"),
        // The model's context, without room for the answer.
        ("uaua!u", auto(None, None), Some(196), "uau"),
        ("uaua!u", auto(None, None), Some(200), "uauau"),
        ("uaua!u", disabled, Some(173), "uauau"),
        ("uaua!u", disabled, Some(172), "more than 172"),
        // The thread as it stands: what was said last is what is answered.
        ("uauau", auto(None, Some(41)), None, "u"),
        ("uaua", auto(None, Some(74)), None, "ua"),
        ("aaa", auto(None, Some(41)), None, "a"),
        // A run's own messages stay, however many.
        ("ua!uaaa", auto(Some(1), Some(140)), None, "uaaa"),
        ("ua!uaaa", auto(Some(1), Some(139)), None, "more than 139"),
    ] {
        assert_eq!(
            given(script, truncation, context),
            expected,
            "{script} {truncation:?} {context:?}"
        );
    }
}

#[test]
fn the_providers_count_stands_in_place_of_estimates() {
    let (run, bounds) = (run(), bounds(None));
    let truncation = auto(None, Some(60));
    let mut context = Context::default();
    let whole = history("!ua", 100, &run);
    let question = &whole[..1];
    context.select(&asked(question, truncation, &bounds)).unwrap();
    // Fewer than are estimated: 74 would be too many.
    context.count(&Usage {
        input_tokens: 20,
        output_tokens: 10,
        ..Usage::default()
    });
    assert_eq!(
        context
            .select(&asked(&whole, truncation, &bounds))
            .unwrap()
            .messages,
        whole
    );
    let more = history("!uaa", 100, &run);
    let refused = context.select(&asked(&more, truncation, &bounds)).unwrap_err();
    assert_eq!(refused.reason(), Reason::ContextLengthExceeded);
}

/// Counts how much it has read.
#[derive(Debug, Default)]
struct Reader(std::sync::atomic::AtomicU64);

impl Tokenizer for Reader {
    fn count(&self, text: &str) -> u64 {
        self.0
            .fetch_add(text.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Quarters.count(text)
    }
}

#[test]
fn no_more_is_read_than_can_matter() {
    let run = run();
    let reader = Arc::new(Reader::default());
    let read = || reader.0.swap(0, std::sync::atomic::Ordering::Relaxed);
    let bounds = Bounds {
        context_tokens: None,
        max_output_tokens: None,
        tokenizer: Arc::<Reader>::clone(&reader),
    };
    let long = history(&("ua".repeat(1_000) + "!u"), 100, &run);
    let mut context = Context::default();
    context.select(&asked(&long, auto(None, None), &bounds)).unwrap();
    assert_eq!(read(), 0, "nothing bounds it");
    context
        .select(&asked(&long, auto(None, Some(1 << 20)), &bounds))
        .unwrap();
    assert_eq!(read(), 0, "it has fewer bytes than tokens are allowed");
    context
        .select(&asked(&long, auto(None, Some(1_000)), &bounds))
        .unwrap();
    assert!((2_000..4_000).contains(&read()), "only the newest are read");
    context
        .select(&asked(&long, auto(None, Some(1_000)), &bounds))
        .unwrap();
    assert_eq!(read(), 0, "and but once");
}

/// A summary of everything up to that place.
fn summary(history: &[Arc<Message>], end: usize, text: &str) -> Arc<Message> {
    let summarized = Summarized {
        first: history[0].id.clone(),
        last: history[end - 1].id.clone(),
        messages: small(end),
    };
    Arc::new(Message {
        id: MessageId::new(&mut Mint::System),
        role: Role::System,
        content: vec![Part::Text(text.to_owned()), Part::Summarized(summarized)],
        ..(*history[0]).clone()
    })
}

/// What is to be summed up, by the places of its ends and how many messages an earlier summary tells of; or the places of
/// what is given, with `S` for a summary.
fn chosen(history: &[Arc<Message>], truncation: Truncation, may_sum_up: bool) -> String {
    let bounds = bounds(None);
    let asked = Asked {
        may_sum_up,
        ..asked(history, truncation, &bounds)
    };
    let place = |id: &MessageId| history.iter().position(|message| message.id == *id).unwrap();
    match Context::default().choose(&asked).unwrap() {
        Choice::SumUp(gap) => {
            let earlier = gap.earlier.iter().filter_map(|earlier| earlier.summarized());
            let earlier: u32 = earlier.map(|summarized| summarized.messages).sum();
            assert_eq!(gap.summarized.messages, earlier + small(gap.messages.len()));
            let (first, last) = (gap.messages.first().unwrap(), gap.messages.last().unwrap());
            format!(
                "sum up {}..={} behind {earlier}",
                place(&first.id),
                place(&last.id)
            )
        }
        Choice::Give(selected) => {
            let places =
                selected
                    .messages
                    .iter()
                    .map(|message| match message.text().starts_with("Summary of") {
                        true => "S".to_owned(),
                        false => place(&message.id).to_string(),
                    });
            places.collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn what_is_left_out_is_summed_up_and_a_summary_lasts_for_some_turns() {
    let summing = |last_turns, max_tokens| Truncation {
        strategy: Strategy::Summarize,
        last_turns,
        max_tokens,
    };
    let run = run();
    // Each message has 33 tokens, and there are 8 around.
    let plain = history("uauaua!u", 100, &run);
    for (truncation, may_sum_up, expected) in [
        (summing(None, None), true, "0 1 2 3 4 5 6"),
        (summing(None, Some(239)), true, "0 1 2 3 4 5 6"),
        // Half of it holds the question and one turn.
        (summing(None, Some(230)), true, "sum up 0..=3 behind 0"),
        (summing(None, Some(230)), false, "2 3 4 5 6"),
        // Half of it does not even hold the question.
        (summing(None, Some(60)), true, "sum up 0..=5 behind 0"),
        (summing(Some(3), None), true, "sum up 0..=3 behind 0"),
        (summing(Some(3), None), false, "2 3 4 5 6"),
        (summing(Some(1), None), true, "sum up 0..=5 behind 0"),
    ] {
        assert_eq!(chosen(&plain, truncation, may_sum_up), expected, "{truncation:?}");
    }
    // It is the operator's, and its size counts.
    let mut told = history("uauaua!u", 100, &run);
    told.insert(4, summary(&told, 4, &"y".repeat(100)));
    for (truncation, expected) in [
        (summing(None, None), "S 5 6 7"),
        (summing(None, Some(190)), "S 5 6 7"),
        (summing(None, Some(150)), "sum up 5..=6 behind 4"),
        // Who does not ask for summaries does not get them.
        (auto(None, None), "0 1 2 3 5 6 7"),
    ] {
        assert_eq!(chosen(&told, truncation, true), expected, "{truncation:?}");
    }
    // What must be given leaves no room for it.
    assert_eq!(chosen(&told, summing(None, Some(60)), false), "7");
    // A call stays with its output, and what the operator says stays.
    let calls = history("uscaua!uc", 100, &run);
    assert_eq!(
        chosen(&calls, summing(Some(1), None), true),
        "sum up 0..=6 behind 0"
    );
    assert_eq!(chosen(&calls, summing(Some(1), None), false), "1 7 8 9");
}

proptest! {
    #[test]
    fn what_a_model_is_given_is_a_conversation(
        turns in prop::collection::vec(prop_oneof![
            Just("ua"), Just("uca"), Just("u"), Just("s"), Just("uccca"), Just("a")], 0..12),
        own in prop_oneof![Just("!u"), Just("!uc"), Just("!ucca"), Just("u"), Just("!a")],
        size in 0..200_usize,
        last_turns in prop::option::of(1..6_u32),
        max_tokens in prop::option::of(1..1_500_u64),
        is_disabled in any::<bool>(),
    ) {
        let run = run();
        let script = turns.concat() + own;
        let history = history(&script, size, &run);
        let bounds = bounds(None);
        let truncation = match is_disabled {
            true => Truncation { strategy: Strategy::Disabled, last_turns: None, max_tokens },
            false => auto(last_turns, max_tokens),
        };
        let asked = asked(&history, truncation, &bounds);
        let weigh = |messages: &[Arc<Message>]| {
            TOKENS_AROUND + messages.iter().map(|message| TOKENS_AROUND + tokens(message, &Quarters)).sum::<u64>()
        };
        let must: Vec<_> = history.iter().enumerate()
            .filter(|(place, message)| *place >= asked.kept_from || message.role == Role::System)
            .map(|(_, message)| Arc::clone(message)).collect();
        let mut context = Context::default();
        let Ok(selected) = context.select(&asked) else {
            let least = if is_disabled { &history } else { &must };
            prop_assert!(weigh(least) > max_tokens.unwrap_or(u64::MAX), "it would have fitted");
            return Ok(());
        };
        prop_assert!(weigh(&selected.messages) <= max_tokens.unwrap_or(u64::MAX), "it fits");
        rules::check_answered(&selected.messages)?;
        for message in &must {
            prop_assert!(selected.messages.contains(message), "what must be kept is kept");
        }
        // Beside what the operator said, it is the end of the conversation, from where a caller speaks.
        let spoken = |messages: &[Arc<Message>]| -> Vec<MessageId> {
            messages.iter().filter(|message| message.role != Role::System).map(|message| message.id.clone()).collect()
        };
        let (all, some) = (spoken(&history), spoken(&selected.messages));
        prop_assert!(all.ends_with(&some));
        prop_assert!(!is_disabled || all == some);
        let first = history.iter().position(|message| Some(&message.id) == some.first());
        if let Some(first) = first.filter(|_| some.len() < all.len()) {
            prop_assert!(history[first].role == Role::User || first == asked.kept_from);
        }
        // One turn more would have been too much.
        let begins: Vec<usize> = super::turns(&history).collect();
        if let (None, Some(first)) = (truncation.last_turns, first)
            && let Some(&before) = begins.iter().rev().find(|begin| **begin < first)
            && some.len() < all.len()
        {
            let system = history[..before].iter().filter(|message| message.role == Role::System);
            let more: Vec<_> = system.chain(&history[before..]).cloned().collect();
            prop_assert!(weigh(&more) > max_tokens.unwrap_or(u64::MAX), "nothing is left out that fits");
        }
        // Asked again, it says the same.
        prop_assert_eq!(context.select(&asked).unwrap(), selected);
    }
}

/// What a store gives of a thread: see [`Reach`].
fn read(stored: &[Arc<Message>], reach: Reach) -> (Vec<Arc<Message>>, u64) {
    let begins: Vec<usize> = turns(stored).collect();
    let start = match reach {
        Reach::All => 0,
        Reach::Turns(count) => newest_turns(stored, count),
        Reach::Messages(count) => {
            let oldest = stored.len().saturating_sub(usize::try_from(count).unwrap());
            let begin = begins.into_iter().rev().find(|&begin| begin <= oldest);
            begin.unwrap_or(0)
        }
    };
    let (before, rest) = stored.split_at(start);
    let kept = before.iter().filter(|message| message.role == Role::System);
    let part: Vec<_> = kept.chain(rest).cloned().collect();
    let unread = (stored.len() - part.len()) as u64;
    (part, unread)
}

proptest! {
    #[test]
    fn of_what_a_run_reaches_the_same_is_selected_as_of_all(
        turns in prop::collection::vec(prop_oneof![
            Just("ua"), Just("uca"), Just("u"), Just("s"), Just("uccca"), Just("a")], 0..16),
        own in prop_oneof![Just("!u"), Just("!uc"), Just("!ucca"), Just("u"), Just("!a")],
        size in 0..40_usize,
        last_turns in prop::option::of(1..6_u32),
        max_tokens in prop::option::of(1..300_u64),
        context_tokens in prop::option::of(1..300_u64),
    ) {
        let run = run();
        let script = turns.concat() + own;
        let all = history(&script, size, &run);
        let bounds = bounds(context_tokens);
        let truncation = auto(last_turns, max_tokens);
        let stored = all.iter().take_while(|message| message.run.is_none()).count();
        let (mut part, unread) = read(&all[..stored], reach(truncation, &bounds));
        part.extend_from_slice(&all[stored..]);
        let of_part = Context::default().select(&Asked { unread, ..asked(&part, truncation, &bounds) });
        let of_all = Context::default().select(&asked(&all, truncation, &bounds));
        match (of_part, of_all) {
            (Ok(of_part), Ok(of_all)) => {
                prop_assert_eq!(of_part.messages, of_all.messages);
                prop_assert_eq!(of_part.used, of_all.used);
            }
            (Err(of_part), Err(of_all)) => prop_assert_eq!(of_part.reason(), of_all.reason()),
            (of_part, of_all) => prop_assert!(false, "{of_part:?} {of_all:?}"),
        }
    }
}
