//! Which codings a client takes, and which it likes best (RFC 9110, 12.5.3).

use http::{HeaderMap, header};

use super::Coding;

/// A weight in thousandths; none where nothing is said.
type Weight = Option<u16>;

/// What a client says of codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    gzip: Weight,
    zstd: Weight,
    identity: Weight,
}

impl Accepted {
    /// Reads `Accept-Encoding`. A coding that is not named is what `*` says of it; what cannot be read says nothing.
    pub fn read(headers: &HeaderMap) -> Self {
        let (mut accepted, mut others) = (Self::default(), None);
        let values = headers.get_all(header::ACCEPT_ENCODING).iter();
        let items = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        for item in items {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let Some(weight) = weight(parameters) else {
                continue;
            };
            match (name.trim(), Coding::named(name.trim())) {
                (_, Some(Coding::Gzip)) => accepted.gzip = Some(weight),
                (_, Some(Coding::Zstd)) => accepted.zstd = Some(weight),
                ("*", None) => others = Some(weight),
                (name, None) if name.eq_ignore_ascii_case("identity") => accepted.identity = Some(weight),
                (_, None) => {}
            }
        }
        Self {
            gzip: accepted.gzip.or(others),
            zstd: accepted.zstd.or(others),
            // Whoever takes anything takes it as it is, unless it says that it does not.
            identity: accepted.identity.or(others.filter(|weight| *weight == 0)),
        }
    }

    /// Whether it takes no answer at all that could be made.
    pub fn is_nothing(self) -> bool {
        self.identity == Some(0) && self.best(true).is_none()
    }

    /// The coding for an answer; none if it is best sent as it is. One that is not worth it is coded only for those who
    /// would not take it otherwise.
    pub fn best(self, is_worthwhile: bool) -> Option<Coding> {
        let (gzip, zstd) = (self.gzip.unwrap_or(0), self.zstd.unwrap_or(0));
        let (coding, weight) = if gzip > zstd {
            (Coding::Gzip, gzip)
        } else {
            (Coding::Zstd, zstd)
        };
        let is_needed = self.identity == Some(0);
        let is_preferred = is_worthwhile && weight >= self.identity.unwrap_or(0);
        (weight > 0 && (is_needed || is_preferred)).then_some(coding)
    }
}

/// The weight among an item's parameters; the most if there is none.
fn weight(parameters: &str) -> Weight {
    let mut named = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='));
    let Some((_, text)) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else {
        return Some(1000);
    };
    let weight: f32 = text.trim().parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_chooses_as_far_as_it_is_worth_it() {
        use Coding::{Gzip, Zstd};
        // What is accepted, the coding of a large answer and of a tiny one, and whether nothing can be sent.
        let cases = [
            ("", None, None, false),
            ("gzip", Some(Gzip), None, false),
            ("GZIP, deflate, br, zstd", Some(Zstd), None, false),
            ("gzip;q=1.0, zstd;q=0.5", Some(Gzip), None, false),
            ("gzip;q=0, zstd", Some(Zstd), None, false),
            ("gzip;q=0", None, None, false),
            ("br", None, None, false),
            ("*", Some(Zstd), None, false),
            ("*;q=0.5, zstd;q=0.1", Some(Gzip), None, false),
            ("identity, gzip;q=0.5", None, None, false),
            ("identity;q=0.5, gzip", Some(Gzip), None, false),
            ("gzip, identity;q=0", Some(Gzip), Some(Gzip), false),
            ("zstd, *;q=0", Some(Zstd), Some(Zstd), false),
            ("identity;q=0", None, None, true),
            ("*;q=0", None, None, true),
            ("*;q=0, identity", None, None, false),
            ("gzip; q=2, zstd;q=x", None, None, false),
            ("gzip ; Q = 0.3", Some(Gzip), None, false),
        ];
        for (accept, large, tiny, nothing) in cases {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            let accepted = Accepted::read(&headers);
            assert_eq!(accepted.best(true), large, "{accept}");
            assert_eq!(accepted.best(false), tiny, "{accept}");
            assert_eq!(accepted.is_nothing(), nothing, "{accept}");
        }
        assert_eq!(Accepted::read(&HeaderMap::new()), Accepted::default());
    }
}
