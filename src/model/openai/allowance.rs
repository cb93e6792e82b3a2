//! A limit of tokens that an API does not take, because it is too low: it is kept here.

use crate::model::tokens;
use crate::run::ports::ModelEvent;

/// What a model may still write, by the count of OpenAI's newer models.
#[derive(Debug)]
pub(super) struct Allowance {
    tokens: usize,
    /// What it has written: few tokens, so that they can be counted again with each piece.
    written: String,
}

impl Allowance {
    pub(super) fn new(tokens: u64) -> Self {
        Self {
            tokens: usize::try_from(tokens).unwrap_or(usize::MAX),
            written: String::new(),
        }
    }

    /// What has to be kept here of a limit, where the API takes none below `least`.
    pub(super) fn below(limit: Option<u64>, least: u64) -> Option<Self> {
        limit.filter(|limit| *limit < least).map(Self::new)
    }

    /// Cuts a piece of the answer where it goes beyond the allowance; none where it does not. Whether nothing of the piece
    /// is left is told.
    pub(super) fn cuts(&mut self, event: &mut ModelEvent) -> Option<bool> {
        let (ModelEvent::TextDelta(piece)
        | ModelEvent::RefusalDelta(piece)
        | ModelEvent::ReasoningDelta(piece)
        | ModelEvent::ToolCallArgumentsDelta { json: piece, .. }) = event
        else {
            return None;
        };
        let before = self.written.len();
        self.written.push_str(piece);
        let fits = tokens::beginning(&self.written, self.tokens).len();
        if fits >= self.written.len() {
            return None;
        }
        piece.truncate(fits.saturating_sub(before));
        Some(piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_within_the_piece_that_goes_beyond() {
        let mut allowance = Allowance::new(4);
        let text = |text: &str| ModelEvent::TextDelta(text.to_owned());
        let mut piece = text("one two");
        assert_eq!(allowance.cuts(&mut piece), None);
        assert_eq!(allowance.cuts(&mut ModelEvent::Unknown(1)), None);
        piece = text(" three four five six");
        assert_eq!(allowance.cuts(&mut piece), Some(false));
        assert_eq!(piece, text(" three four"));

        let mut allowance = Allowance::new(1);
        let mut piece = ModelEvent::ToolCallArgumentsDelta {
            index: 0,
            json: "one".to_owned(),
        };
        assert_eq!(allowance.cuts(&mut piece), None);
        piece = text(" two");
        assert_eq!(allowance.cuts(&mut piece), Some(true));
        assert_eq!(Allowance::new(0).cuts(&mut text("a")), Some(true));
    }

    #[test]
    fn a_limit_that_the_api_takes_is_left_to_it() {
        let kept = [(None, false), (Some(15), true), (Some(16), false)];
        for (limit, is_kept) in kept {
            assert_eq!(Allowance::below(limit, 16).is_some(), is_kept, "{limit:?}");
        }
    }
}
