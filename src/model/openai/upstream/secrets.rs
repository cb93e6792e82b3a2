//! What a provider is told of us and must not quote to anybody else.

use reqwest::Url;

use crate::model::{Config, Secret};

/// Secrets shorter than this are not struck out of texts: they would be found everywhere.
const SECRET_LENGTH_BYTES: usize = 6;
/// Words of a header shorter than this are not taken for secrets: most are ordinary words.
const WORD_LENGTH_BYTES: usize = 8;

/// The texts that are struck out, the longest first: a shorter one may be a part of it.
#[derive(Debug)]
pub(super) struct Secrets(Vec<Secret>);

impl Secrets {
    /// Those of this configuration: its key, the values of its headers, and what the query of its address says. A
    /// provider may quote a value without the authentication scheme before it, or only one of its words.
    pub(super) fn of(config: &Config, address: &Url) -> Self {
        let key = config.api_key.iter().map(|key| key.expose());
        let headers = config.headers.iter().map(|(_, value)| value.as_str());
        let query: Vec<String> = address
            .query_pairs()
            .map(|(_, value)| value.into_owned())
            .collect();
        let written = address.query().into_iter().flat_map(|query| query.split('&'));
        let written = written.filter_map(|pair| Some(pair.split_once('=')?.1));
        let query = query.iter().map(String::as_str).chain(written);
        let mut texts: Vec<&str> = key.chain(headers).chain(query).flat_map(parts).collect();
        texts.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        texts.dedup();
        Self(texts.into_iter().map(Secret::new).collect())
    }

    /// The text without them.
    pub(super) fn conceal(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| strike_out(&text, secret))
    }
}

/// The text without this secret.
pub(super) fn strike_out(text: &str, secret: &Secret) -> String {
    text.replace(secret.expose(), "***")
}

/// What of a value must not be told: all of it, what stands behind its scheme, and each word that may be a secret.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let value = value.trim();
    let behind_scheme = value.split_once(char::is_whitespace).map(|(_, rest)| rest.trim());
    let is_long = |text: &&str| text.len() >= SECRET_LENGTH_BYTES;
    let words = value.split(|letter: char| letter.is_whitespace() || "=,;:\"'".contains(letter));
    std::iter::once(value)
        .chain(behind_scheme)
        .filter(is_long)
        .chain(words.filter(|word| word.len() >= WORD_LENGTH_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_says_is_struck_out_in_whole_and_in_words() {
        // A header's value, what is said of it, what is told.
        let table = [
            ("Bearer abcdef", "bad key abcdef", "bad key ***"),
            ("Bearer abcdef", "'Bearer abcdef'", "'***'"),
            ("Bearer abcde", "abcde, Bearer abcde", "abcde, ***"),
            ("Bearer  k1-abcdefg ", "no k1-abcdefg here", "no *** here"),
            (
                "Token token=\"k1abcdefg\", org=acme",
                "k1abcdefg of acme",
                "*** of acme",
            ),
            ("user:k1abcdefg", "k1abcdefg", "***"),
            ("k1abcdefg k1abcdefghij", "k1abcdefghij", "***"),
            ("short", "short", "short"),
        ];
        for (value, said, told) in table {
            let config = Config {
                headers: vec![("authorization".to_owned(), value.to_owned())],
                ..Config::default()
            };
            let address = Url::parse("http://host/v1").unwrap();
            assert_eq!(
                Secrets::of(&config, &address).conceal(said.to_owned()),
                told,
                "{value:?}"
            );
        }
    }

    #[test]
    fn what_the_query_of_an_address_says_is_struck_out_however_it_is_written() {
        let address = Url::parse("http://host/v1?api-version=2024-10-21&key=k1%2Bsecret").unwrap();
        let secrets = Secrets::of(&Config::default(), &address);
        for (said, told) in [
            ("no key k1+secret", "no key ***"),
            ("no such path /v1?key=k1%2Bsecret", "no such path /v1?key=***"),
        ] {
            assert_eq!(secrets.conceal(said.to_owned()), told);
        }
    }
}
