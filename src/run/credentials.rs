//! The token of a request, for servers to which it may be passed on.

use std::fmt;
use std::sync::Arc;

/// The bearer token with which a request came (RFC 6750, section 2.1). It is held for as long as what the request asked
/// for goes on in this process: it is never written anywhere, and its `Debug` says nothing.
#[derive(Clone)]
pub struct Credentials(Arc<str>);

impl Credentials {
    /// From the token alone, without its scheme. None for a text that is no `b64token`: such a one could not be sent.
    pub fn bearer(token: &str) -> Option<Self> {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let inner = token.trim_end_matches('=');
        (!inner.is_empty() && inner.bytes().all(is_inner)).then(|| Self(token.into()))
    }

    /// The token itself, to be sent to where it may be passed on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_if_it_could_be_sent_and_never_shown() {
        for (token, is_taken) in [
            ("abc.DEF-_~+/0==", true),
            ("", false),
            ("==", false),
            ("a b", false),
            ("a=b", false),
            ("a\u{e9}", false),
            ("a\nb", false),
        ] {
            let taken = Credentials::bearer(token);
            assert_eq!(taken.is_some(), is_taken, "{token:?}");
            assert!(taken.is_none_or(|taken| format!("{taken:?}") == "…" && taken.reveal() == token));
        }
    }
}
