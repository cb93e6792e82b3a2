//! What a server that wants authorization says: the header `WWW-Authenticate` (RFC 6750, section 3; RFC 9728,
//! section 5.1).

use serde::{Deserialize, Serialize};

/// The parameters of the scheme `Bearer` that are of use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Challenge {
    /// Where the metadata of the resource is.
    pub(super) resource_metadata: Option<String>,
    /// The scopes that the request needs.
    pub(super) scopes: Vec<String>,
    /// What is wrong with the token, such as `insufficient_scope`.
    pub(super) error: Option<String>,
}

impl Challenge {
    /// Reads a header. What is not understood is left out: the well-known places say the rest.
    pub(super) fn parse(header: &str) -> Self {
        let mut challenge = Self::default();
        let mut is_bearer = false;
        for item in items(header) {
            let parameter = match scheme(item) {
                Some((scheme, rest)) => {
                    is_bearer = scheme.eq_ignore_ascii_case("bearer");
                    rest
                }
                None => item,
            };
            let Some((name, value)) = parameter.split_once('=').filter(|_| is_bearer) else {
                continue;
            };
            let value = unquoted(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "resource_metadata" => challenge.resource_metadata = Some(value),
                "scope" => challenge.scopes = value.split_ascii_whitespace().map(str::to_owned).collect(),
                "error" => challenge.error = Some(value),
                _ => {}
            }
        }
        challenge
    }
}

/// What stands between the commas that are outside of quotes.
fn items(header: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let parts = header.split(move |letter: char| {
        let splits = letter == ',' && !is_quoted;
        if letter == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = letter == '\\' && is_quoted && !is_escaped;
        splits
    });
    parts.map(str::trim)
}

/// The scheme that an item begins with, and the rest; none for a parameter of the scheme before.
fn scheme(item: &str) -> Option<(&str, &str)> {
    let (first, rest) = item.split_once(char::is_whitespace).unwrap_or((item, ""));
    let rest = rest.trim_start();
    (!first.contains('=') && !rest.starts_with('=')).then_some((first, rest))
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_wants_is_read_from_its_header() {
        // The header, and of it: resource_metadata, scope, error.
        let cases = [
            ("Bearer", None, "", None),
            (
                r#"Bearer resource_metadata="https://h/x,y", scope="a b""#,
                Some("https://h/x,y"),
                "a b",
                None,
            ),
            (
                r#"Bearer error="insufficient_scope", scope=a"#,
                None,
                "a",
                Some("insufficient_scope"),
            ),
            (r#"bearer realm="a \"b\", c" , SCOPE = "x""#, None, "x", None),
            (
                r#"Basic realm="x", scope="no", Bearer scope="yes""#,
                None,
                "yes",
                None,
            ),
            (
                r#"Bearer scope="yes", DPoP scope="no", algs="ES256""#,
                None,
                "yes",
                None,
            ),
            (r#"Bearer scope="unclosed"#, None, "\"unclosed", None),
            ("", None, "", None),
            ("=,=,\"", None, "", None),
        ];
        for (header, resource_metadata, scopes, error) in cases {
            let expected = Challenge {
                resource_metadata: resource_metadata.map(str::to_owned),
                scopes: scopes.split_ascii_whitespace().map(str::to_owned).collect(),
                error: error.map(str::to_owned),
            };
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
