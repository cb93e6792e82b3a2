//! Lists, page by page (AIP-158): sizes, orders and page tokens.
//!
//! A token holds a place in the list and a digest of that place and the question that it belongs to, so that one is
//! good for its own list only, and only as it was given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::run::error::{Error, Reason};
use crate::run::page::{Cursor, Order, Page};

/// Things on a page when the caller does not say, and at most.
const SIZE: u32 = 50;
const SIZE_IN_MEMORY: u32 = 100;
const SIZE_LIMIT: u32 = 1_000;

/// Bytes of the digest and of each half of the place.
const DIGEST_BYTES: usize = 8;
const HALF_BYTES: usize = 8;

/// What a list is asked, but for the place in it: the RPC's name and every parameter.
pub struct Question([u8; 32]);

impl Question {
    /// The question of these pieces.
    pub fn new(pieces: &[&str]) -> Self {
        Self(digest(pieces))
    }

    /// The part of the list that is asked for.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for a negative size, `PAGE_TOKEN_INVALID` for the token of another question and for
    /// what is no token.
    pub fn page(&self, page_size: i32, page_token: &str, order: Order) -> Result<Page, Error> {
        let limit = limit(page_size, SIZE)?;
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

    /// The part that is asked for of a list that is in memory, and the token of the next one. `key` names a thing
    /// apart from all others of the list, so that a page begins where the one before ended, whatever has changed
    /// elsewhere.
    ///
    /// # Errors
    /// Those of [`page`](Self::page); `PAGE_TOKEN_INVALID` also when the last thing of the page before is gone.
    pub fn of_memory<'a, T>(
        &self,
        page_size: i32,
        page_token: &str,
        items: impl Iterator<Item = &'a T>,
        key: impl Fn(&T) -> Cursor,
    ) -> Result<(Vec<&'a T>, String), Error> {
        let limit = limit(page_size, SIZE_IN_MEMORY)?;
        let after = self.page(page_size, page_token, Order::OldestFirst)?.after;
        let mut items = items.peekable();
        if let Some(last) = after
            && !items.any(|item| key(item) == last)
        {
            return Err(Error::new(
                Reason::PageTokenInvalid,
                "the list has changed since the page token was given; start again",
            ));
        }
        let page: Vec<&T> = items.by_ref().take(limit as usize).collect();
        let next = items.peek().and_then(|_| page.last()).map(|last| key(last));
        Ok((page, self.token(next)))
    }

    /// The token of the next page; empty when there is none.
    pub fn token(&self, next: Option<Cursor>) -> String {
        let Some(Cursor(first, second)) = next else {
            return String::new();
        };
        let halves = [first.to_be_bytes(), second.to_be_bytes()].concat();
        URL_SAFE_NO_PAD.encode([self.seal(&halves).as_slice(), &halves].concat())
    }

    fn place(&self, token: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (seal, halves) = bytes.split_at_checked(DIGEST_BYTES)?;
        let (first, second) = halves.split_at_checked(HALF_BYTES)?;
        if seal != self.seal(halves) {
            return None;
        }
        let half = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
        Some(Cursor(half(first)?, half(second)?))
    }

    /// What tells the token of this place from any other text.
    fn seal(&self, halves: &[u8]) -> [u8; DIGEST_BYTES] {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.0)
            .chain_update(halves)
            .finalize()
            .into();
        let mut seal = [0; DIGEST_BYTES];
        seal.copy_from_slice(&digest[..DIGEST_BYTES]);
        seal
    }
}

/// The place of a thing in a list that is in memory, by what names it.
pub fn place_of(pieces: &[&str]) -> Cursor {
    let digest = digest(pieces);
    let half = |from: usize| {
        let mut half = [0; HALF_BYTES];
        half.copy_from_slice(&digest[from..from + HALF_BYTES]);
        i64::from_be_bytes(half)
    };
    Cursor(half(0), half(HALF_BYTES))
}

fn digest(pieces: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for piece in pieces {
        digest.update(piece.len().to_be_bytes());
        digest.update(piece);
    }
    digest.finalize().into()
}

fn limit(page_size: i32, otherwise: u32) -> Result<u32, Error> {
    match u32::try_from(page_size) {
        Ok(0) => Ok(otherwise),
        Ok(size) => Ok(size.min(SIZE_LIMIT)),
        Err(_) => Err(Error::invalid("page_size", "must not be negative")),
    }
}

/// An order as `order_by` spells it in full: what a question says of it, however it was asked.
pub fn spelled(order: Order) -> &'static str {
    match order {
        Order::OldestFirst => "create_time",
        Order::NewestFirst => "create_time desc",
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
    fn a_token_is_taken_only_as_it_was_given() {
        let question = Question::new(&["ListThreads"]);
        let token = question.token(Some(Cursor(7, 8)));
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = token.clone();
            changed.replace_range(at..=at, other);
            let error = question.page(1, &changed, Order::OldestFirst).unwrap_err();
            assert_eq!(error.reason(), Reason::PageTokenInvalid, "{changed}");
        }
    }

    #[test]
    fn a_list_in_memory_goes_on_behind_what_was_seen_last() {
        let question = Question::new(&["ListTools"]);
        let key = |name: &String| place_of(&[name]);
        let list = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (first, token) = {
            let names = list("a b c d");
            let (page, token) = question.of_memory(2, "", names.iter(), key).unwrap();
            (page.into_iter().cloned().collect::<Vec<_>>(), token)
        };
        assert_eq!(first, ["a", "b"]);
        let cases = [
            ("a b c d", Some(("c d", false))),
            ("b c", Some(("c", false))),
            ("x b c d e", Some(("c d", true))),
            ("a b", Some(("", false))),
            ("a c d", None),
        ];
        for (names, expected) in cases {
            let names = list(names);
            let read = question.of_memory(2, &token, names.iter(), key);
            let read = read.map(|(page, next)| {
                let page: Vec<&str> = page.into_iter().map(String::as_str).collect();
                (page.join(" "), !next.is_empty())
            });
            match expected {
                Some((page, more)) => assert_eq!(read.unwrap(), (page.to_owned(), more), "{names:?}"),
                None => assert_eq!(read.unwrap_err().reason(), Reason::PageTokenInvalid),
            }
        }
        assert!(question.of_memory(-1, "", list("a").iter(), key).is_err());
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
        for order in [Order::OldestFirst, Order::NewestFirst] {
            assert_eq!(super::order(spelled(order), Order::OldestFirst).unwrap(), order);
        }
    }
}
