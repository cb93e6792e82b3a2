//! Which route a method and a path lead to.
//!
//! A trie over segments: a literal beats `*`, and `*` beats `**`. A node lies as deep as the number
//! of segments that lead to it, so a lookup visits each node once at most, whatever the path.

use std::borrow::Cow;
use std::collections::HashMap;

use http::Method;

use super::template::{Segment, Template, Variable, decoded};

/// Routes to values of type `T`.
#[derive(Clone, Debug)]
pub struct Router<T> {
    /// One trie for paths without a verb (`None`) and one for each verb.
    tries: HashMap<Option<Box<str>>, Trie<T>>,
    longest_verb: usize,
}

#[derive(Clone, Debug)]
struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    literals: HashMap<Box<[u8]>, usize>,
    any: Option<usize>,
    here: Vec<(Method, T)>,
    rest: Vec<(Method, T)>,
}

/// What a lookup gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// The route.
    Route(&'a T),
    /// The path leads to routes of these methods only.
    OtherMethods(Vec<&'a Method>),
    /// The path leads nowhere.
    Nothing,
}

/// A route that cannot be told from one that is there already.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict<T>(pub T);

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self {
            tries: HashMap::new(),
            longest_verb: 0,
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            literals: HashMap::new(),
            any: None,
            here: Vec::new(),
            rest: Vec::new(),
        }
    }
}

impl<T: Clone> Router<T> {
    /// Adds a route.
    ///
    /// # Errors
    /// The value of the route that takes the same method and the same paths.
    pub fn add(&mut self, method: Method, template: &Template, value: T) -> Result<(), Conflict<T>> {
        let verb: Option<Box<str>> = template.verb.as_deref().map(Into::into);
        self.longest_verb = self.longest_verb.max(verb.as_ref().map_or(0, |verb| verb.len()));
        let trie = self.tries.entry(verb).or_insert_with(|| Trie {
            nodes: vec![Node::default()],
        });
        let mut at = 0;
        let mut ends_in_rest = false;
        for segment in &template.segments {
            let fresh = trie.nodes.len();
            let node = &mut trie.nodes[at];
            at = match segment {
                Segment::Literal(text) => *node.literals.entry(decoded(text).into()).or_insert(fresh),
                Segment::Any => *node.any.get_or_insert(fresh),
                Segment::Rest => {
                    ends_in_rest = true;
                    break;
                }
            };
            if at == fresh {
                trie.nodes.push(Node::default());
            }
        }
        let node = &mut trie.nodes[at];
        let routes = if ends_in_rest {
            &mut node.rest
        } else {
            &mut node.here
        };
        if let Some((_, other)) = routes.iter().find(|(other, _)| *other == method) {
            return Err(Conflict(other.clone()));
        }
        routes.push((method, value));
        Ok(())
    }
}

impl<T> Router<T> {
    /// Looks a path up. A verb that some route has comes before its colon as a part of a segment.
    /// `segments` is filled with the raw segments of the path, without the verb of the route.
    #[must_use]
    pub fn find<'p>(&self, method: &Method, path: &'p str, segments: &mut Vec<&'p str>) -> Found<'_, T> {
        let Some(path) = path.strip_prefix('/') else {
            return Found::Nothing;
        };
        let mut others = Vec::new();
        let last = path.rfind('/').map_or(0, |slash| slash + 1);
        let window = last.max(path.len().saturating_sub(self.longest_verb + 1));
        for (colon, _) in path
            .bytes()
            .enumerate()
            .skip(window)
            .filter(|(_, byte)| *byte == b':')
        {
            if let Some(trie) = self.tries.get(&Some(path[colon + 1..].into())) {
                split(&path[..colon], segments);
                if let Some(value) = trie.find(method, segments, &mut others) {
                    return Found::Route(value);
                }
            }
        }
        if let Some(trie) = self.tries.get(&None) {
            split(path, segments);
            if let Some(value) = trie.find(method, segments, &mut others) {
                return Found::Route(value);
            }
        }
        if others.is_empty() {
            Found::Nothing
        } else {
            Found::OtherMethods(others)
        }
    }
}

fn split<'p>(path: &'p str, segments: &mut Vec<&'p str>) {
    segments.clear();
    if !path.is_empty() {
        segments.extend(path.split('/'));
    }
}

impl<T> Trie<T> {
    fn find<'t>(&'t self, method: &Method, segments: &[&str], others: &mut Vec<&'t Method>) -> Option<&'t T> {
        // Nodes still to be looked at, the best last.
        let mut open = vec![(0, 0, false)];
        while let Some((at, depth, as_rest)) = open.pop() {
            let node = &self.nodes[at];
            let routes = match segments.get(depth) {
                _ if as_rest => &node.rest,
                None => {
                    open.push((at, depth, true));
                    &node.here
                }
                Some(segment) => {
                    open.push((at, depth, true));
                    if let Some(any) = node.any.filter(|_| !segment.is_empty()) {
                        open.push((any, depth + 1, false));
                    }
                    if let Some(literal) = node.literals.get(&*decoded(segment)) {
                        open.push((*literal, depth + 1, false));
                    }
                    continue;
                }
            };
            for (other, value) in routes {
                if other == method {
                    return Some(value);
                }
                if !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        None
    }
}

/// A path that is not well-formed where a variable takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed percent escape or text that is not utf-8")]
pub struct BadPath;

/// What a variable takes of a path's raw segments, decoded once: all of it for a single segment; for
/// several, everything but an escaped slash, which could not be told from a real one.
///
/// # Errors
/// [`BadPath`] when an escape is cut short or the text is not UTF-8.
pub fn capture<'p>(
    variable: &Variable,
    template: &Template,
    segments: &[&'p str],
) -> Result<Cow<'p, str>, BadPath> {
    if variable.is_single {
        return unescape(
            segments.get(variable.start).copied().unwrap_or_default(),
            Slash::Decoded,
        );
    }
    let takes_rest = template.segments.get(variable.end - 1) == Some(&Segment::Rest);
    let end = if takes_rest { segments.len() } else { variable.end };
    let mut text = String::new();
    for (index, segment) in segments
        .get(variable.start..end)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        if index > 0 {
            text.push('/');
        }
        text.push_str(&unescape(segment, Slash::Kept)?);
    }
    Ok(Cow::Owned(text))
}

/// What becomes of an escaped slash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Decoded,
    Kept,
}

fn unescape(raw: &str, slash: Slash) -> Result<Cow<'_, str>, BadPath> {
    let Some(first) = raw.find('%') else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut text = raw.as_bytes()[..first].to_vec();
    for part in raw[first..].split('%').skip(1) {
        let digit = |at: usize| {
            part.as_bytes()
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(BadPath);
        };
        match (high << 4 | low) as u8 {
            b'/' if slash == Slash::Kept => text.extend_from_slice(b"%2F"),
            byte => text.push(byte),
        }
        text.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(text).map(Cow::Owned).map_err(|_| BadPath)
}

#[cfg(test)]
mod tests {
    use super::{Conflict, Found, Router, capture};
    use crate::api::transcode::template::Template;
    use http::Method;

    fn router(templates: &[&str]) -> Router<String> {
        let mut router = Router::default();
        for text in templates {
            let (method, path) = text.split_once(' ').unwrap();
            let template = Template::parse(path).unwrap();
            router
                .add(method.parse().unwrap(), &template, (*text).to_owned())
                .unwrap();
        }
        router
    }

    #[test]
    fn the_more_special_route_wins() {
        let router = router(&[
            "GET /a/b",
            "GET /a/*",
            "GET /a/**",
            "POST /a/c",
            "GET /*/b/c",
            "GET /a/*:do",
            "GET /a/{x=**}:do",
        ]);
        for (path, route) in [
            ("/a/b", "GET /a/b"),
            ("/a/c", "GET /a/*"),
            ("/a/b/c", "GET /a/**"),
            ("/z/b/c", "GET /*/b/c"),
            ("/a", "GET /a/**"),
            ("/a/b:do", "GET /a/*:do"),
            ("/a/b/c:do", "GET /a/{x=**}:do"),
            ("/a/b:other", "GET /a/*"),
            ("/a/%62", "GET /a/b"),
        ] {
            assert_eq!(
                router.find(&Method::GET, path, &mut Vec::new()),
                Found::Route(&route.to_owned()),
                "{path}"
            );
        }
        assert_eq!(router.find(&Method::GET, "/z", &mut Vec::new()), Found::Nothing);
        assert_eq!(
            router.find(&Method::PUT, "/z/b/c", &mut Vec::new()),
            Found::OtherMethods(vec![&Method::GET])
        );
    }

    #[test]
    fn two_routes_for_the_same_paths_conflict() {
        let mut router = router(&["GET /v1/{name=a/*}"]);
        let other = Template::parse("/v1/a/{id}").unwrap();
        assert_eq!(
            router.add(Method::GET, &other, "other".to_owned()),
            Err(Conflict("GET /v1/{name=a/*}".to_owned()))
        );
        assert_eq!(router.add(Method::PUT, &other, "other".to_owned()), Ok(()));
    }

    #[test]
    fn sixty_four_thousand_slashes_lead_nowhere() {
        let router = router(&["GET /a/*/b", "GET /*/*/c"]);
        let path = format!("/a{}y", "/".repeat(64_000));
        assert_eq!(router.find(&Method::GET, &path, &mut Vec::new()), Found::Nothing);
    }

    #[test]
    fn variables_are_decoded_once_and_keep_an_escaped_slash_where_it_matters() {
        let template = Template::parse("/{one}/{many=x/**}").unwrap();
        for (path, one, many) in [
            ("a%2Fb/x/c", "a/b", "x/c"),
            ("a%252Fb/x/c%2fd/%2F/e%20f", "a%2Fb", "x/c%2Fd/%2F/e f"),
            ("%E4%BD%A0/x", "你", "x"),
        ] {
            let segments: Vec<_> = path.split('/').collect();
            assert_eq!(
                capture(&template.variables[0], &template, &segments).unwrap(),
                one
            );
            assert_eq!(
                capture(&template.variables[1], &template, &segments).unwrap(),
                many
            );
        }
        for path in ["a%2/x", "%zz/x", "%ff/x", "%"] {
            let segments: Vec<_> = path.split('/').collect();
            assert!(
                capture(&template.variables[0], &template, &segments).is_err(),
                "{path}"
            );
        }
    }
}
