//! Lists, page by page (AIP-158): sizes, orders and page tokens.
//!
//! A token holds a place in the list and a digest of the question that it belongs to, so that one is good for
//! its own list only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::run::error::{Error, Reason};
use crate::run::page::{Cursor, Order, Page};

/// Things on a page when the caller does not say, and at most.
const SIZE: u32 = 50;
const SIZE_LIMIT: u32 = 1_000;

/// Bytes of the digest and of each half of the place.
const DIGEST_BYTES: usize = 8;
const HALF_BYTES: usize = 8;

/// What a list is asked, but for the place in it: the RPC's name and every parameter.
pub struct Question([u8; DIGEST_BYTES]);

impl Question {
    /// The question of these pieces.
    pub fn new(pieces: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for piece in pieces {
            digest.update(piece.len().to_be_bytes());
            digest.update(piece);
        }
        let mut short = [0; DIGEST_BYTES];
        short.copy_from_slice(&digest.finalize()[..DIGEST_BYTES]);
        Self(short)
    }

    /// The part of the list that is asked for.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for a negative size, `PAGE_TOKEN_INVALID` for the token of another question and for
    /// what is no token.
    pub fn page(&self, page_size: i32, page_token: &str, order: Order) -> Result<Page, Error> {
        let limit = match u32::try_from(page_size) {
            Ok(0) => SIZE,
            Ok(size) => size.min(SIZE_LIMIT),
            Err(_) => return Err(Error::invalid("page_size", "must not be negative")),
        };
        let after = match page_token {
            "" => None,
            token => Some(self.place(token).ok_or_else(|| {
                Error::new(
                    Reason::PageTokenInvalid,
                    "the page token is not one of this list, or belongs to another question",
                )
            })?),
        };
        Ok(Page { after, limit, order })
    }

    /// The token of the next page; empty when there is none.
    pub fn token(&self, next: Option<Cursor>) -> String {
        let Some(Cursor(first, second)) = next else {
            return String::new();
        };
        let halves = [first.to_be_bytes(), second.to_be_bytes()].concat();
        URL_SAFE_NO_PAD.encode([self.0.as_slice(), &halves].concat())
    }

    fn place(&self, token: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (first, second) = bytes.strip_prefix(&self.0)?.split_at_checked(HALF_BYTES)?;
        let half = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
        Some(Cursor(half(first)?, half(second)?))
    }
}

/// Reads `order_by`.
///
/// # Errors
/// `VALIDATION_FAILED` for anything but the two orders that there are.
pub fn order(order_by: &str, otherwise: Order) -> Result<Order, Error> {
    let mut words = order_by.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(otherwise),
        (Some("create_time"), None | Some("asc"), None) => Ok(Order::OldestFirst),
        (Some("create_time"), Some("desc"), None) => Ok(Order::NewestFirst),
        _ => Err(Error::invalid(
            "order_by",
            "must be `create_time` or `create_time desc`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_question_only() {
        let mine = Question::new(&["ListRuns", "threads/t", "create_time"]);
        let other = Question::new(&["ListRuns", "threads/tc", "reate_time"]);
        let token = mine.token(Some(Cursor(-5, i64::MAX)));
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            "{token}"
        );
        let page = mine.page(0, &token, Order::OldestFirst).unwrap();
        assert_eq!((page.after, page.limit), (Some(Cursor(-5, i64::MAX)), SIZE));
        for (question, token) in [
            (&other, token.as_str()),
            (&mine, "zzzz"),
            (&mine, &token[1..]),
            (&mine, "?"),
        ] {
            let error = question.page(1, token, Order::OldestFirst).unwrap_err();
            assert_eq!(error.reason(), Reason::PageTokenInvalid, "{token}");
        }
    }

    #[test]
    fn sizes_and_orders_are_bounded() {
        let question = Question::new(&[]);
        let size = |asked| {
            question
                .page(asked, "", Order::OldestFirst)
                .map(|page| page.limit)
        };
        assert_eq!(size(i32::MAX).unwrap(), SIZE_LIMIT);
        assert_eq!(size(7).unwrap(), 7);
        assert!(size(-1).is_err());
        let cases = [
            ("", Some(Order::NewestFirst)),
            ("create_time", Some(Order::OldestFirst)),
            (" create_time  desc ", Some(Order::NewestFirst)),
            ("create_time up", None),
            ("title", None),
            ("create_time, title", None),
        ];
        for (order_by, expected) in cases {
            assert_eq!(order(order_by, Order::NewestFirst).ok(), expected, "{order_by}");
        }
    }
}
