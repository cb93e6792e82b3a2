//! Who asks: as a proxy in front of the service says in a header, and the token with which a request comes.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderName};

use crate::run::credentials::Credentials;
use crate::run::error::Error;

/// The longest name of a caller, in bytes.
const LENGTH_LIMIT_BYTES: usize = 256;

/// The name of a caller, or why there is none that can be used.
#[derive(Clone, Debug)]
pub struct Caller(Result<Arc<str>, Unfit>);

/// Who makes a request, as far as anything says so.
#[derive(Debug, Default)]
pub struct Requester {
    /// The name of the caller; empty if nobody is named.
    pub name: String,
    /// The token of the request.
    pub credentials: Option<Credentials>,
}

impl Requester {
    /// As the front door has put it there.
    ///
    /// # Errors
    /// Those of [`Caller::of`].
    pub fn of(extensions: &Extensions) -> Result<Self, Error> {
        Ok(Self {
            name: Caller::of(extensions)?,
            credentials: extensions.get().cloned(),
        })
    }
}

/// The bearer token of a request. None where the header is given twice: one may be a proxy's, and the other the client's.
pub fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_ours = scheme.eq_ignore_ascii_case("bearer") && values.next().is_none();
    is_ours.then(|| Credentials::bearer(token.trim())).flatten()
}

/// What is wrong with a header.
#[derive(Clone, Debug)]
struct Unfit {
    header: HeaderName,
    reason: &'static str,
}

impl Caller {
    /// What that header says.
    pub fn read(headers: &HeaderMap, header: &HeaderName) -> Self {
        let unfit = |reason| Unfit {
            header: header.clone(),
            reason,
        };
        let mut values = headers.get_all(header).iter();
        let Some(value) = values.next() else {
            return Self(Ok("".into()));
        };
        if values.next().is_some() {
            // One may be the proxy's, and the other the client's.
            return Self(Err(unfit("must not be given twice")));
        }
        let Ok(name) = std::str::from_utf8(value.as_bytes()) else {
            return Self(Err(unfit("must be UTF-8")));
        };
        let name = name.trim();
        Self(if name.len() > LENGTH_LIMIT_BYTES {
            Err(unfit("must not be longer than 256 bytes"))
        } else if name.chars().any(char::is_control) {
            Err(unfit("must not hold control characters"))
        } else {
            Ok(name.into())
        })
    }

    /// The one that the front door has put there; empty if nobody is named.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` naming the header, for a name that cannot be used.
    pub fn of(extensions: &Extensions) -> Result<String, Error> {
        match extensions.get::<Self>() {
            None => Ok(String::new()),
            Some(Self(Ok(name))) => Ok(name.to_string()),
            Some(Self(Err(unfit))) => Err(Error::invalid(unfit.header.as_str(), unfit.reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_that_of_the_only_bearer() {
        let cases: [(&[&str], Option<&str>); 7] = [
            (&[], None),
            (&["Bearer abc"], Some("abc")),
            (&["bearer  abc"], Some("abc")),
            (&["Basic abc"], None),
            (&["Bearer"], None),
            (&["Bearer a b"], None),
            (&["Bearer abc", "Bearer def"], None),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let found = credentials(&headers);
            assert_eq!(found.as_ref().map(Credentials::reveal), expected, "{values:?}");
        }
    }

    #[test]
    fn a_name_is_taken_as_it_is_or_refused() {
        let header = HeaderName::from_static("x-forwarded-user");
        let long = "a".repeat(LENGTH_LIMIT_BYTES + 1);
        type Case<'c> = (&'c [&'c [u8]], Result<&'c str, &'c str>);
        let cases: [Case<'_>; 8] = [
            (&[], Ok("")),
            (&[b""], Ok("")),
            (&[b" ann@example.com "], Ok("ann@example.com")),
            (&["Zoë, Köln".as_bytes()], Ok("Zoë, Köln")),
            (&[&long.as_bytes()[1..]], Ok(&long[1..])),
            (&[long.as_bytes()], Err("must not be longer than 256 bytes")),
            (&[b"a\xff"], Err("must be UTF-8")),
            (&[b"ann", b"bob"], Err("must not be given twice")),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&header, HeaderValue::from_bytes(value).unwrap());
            }
            let mut extensions = Extensions::new();
            extensions.insert(Caller::read(&headers, &header));
            match (Caller::of(&extensions), expected) {
                (Ok(name), expected) => assert_eq!(Ok(name.as_str()), expected),
                (Err(error), expected) => {
                    assert_eq!(error.violations()[0].field, "x-forwarded-user");
                    assert_eq!(Err(error.violations()[0].description.as_str()), expected);
                }
            }
        }
        assert_eq!(Caller::of(&Extensions::new()).unwrap(), "");
    }
}
