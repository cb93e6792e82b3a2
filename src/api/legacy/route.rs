//! Which of the four paths a request is for, as FastAPI's router tells them apart.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /health`, and HEAD.
    Health,
    /// `POST /assistant/chat`.
    Chat,
    /// `POST /mcp/tools`.
    ListTools,
    /// `POST /mcp/call`.
    CallTool,
    /// One of the paths, by a method that it does not have; the methods to name in `Allow`.
    OtherMethod(&'static str),
    /// One of the paths with a slash too many; where it is.
    Elsewhere(String),
    /// None of them.
    Unknown,
}

static PATHS: [(&str, Route); 4] = [
    ("/health", Route::Health),
    ("/assistant/chat", Route::Chat),
    ("/mcp/tools", Route::ListTools),
    ("/mcp/call", Route::CallTool),
];

/// The route of a request.
pub fn find(method: &Method, uri: &Uri) -> Route {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    if let Some((_, route)) = named(&path) {
        return match (route, method) {
            // HEAD goes without saying wherever there is GET, and the original named only the latter.
            (Route::Health, &Method::GET | &Method::HEAD) => Route::Health,
            (Route::Health, _) => Route::OtherMethod("GET"),
            (route, &Method::POST) => route.clone(),
            _ => Route::OtherMethod("POST"),
        };
    }
    match named(path.trim_end_matches('/')) {
        Some((path, _)) => Route::Elsewhere(match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => (*path).to_owned(),
        }),
        None => Route::Unknown,
    }
}

fn named(path: &str) -> Option<&'static (&'static str, Route)> {
    PATHS.iter().find(|(name, _)| *name == path)
}

/// The last value of `tool_name` in a query, decoded as a form is; one without `=` is empty.
pub fn tool_name(query: &str) -> Option<String> {
    query.split('&').rev().find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == "tool_name").then(|| decode(value).into_owned())
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Method, Route, Uri, find, tool_name};

    #[test]
    fn paths_are_decoded_and_compared_whole() {
        let elsewhere = |path: &str| Route::Elsewhere(path.to_owned());
        let cases = [
            ("GET", "/health", Route::Health),
            ("HEAD", "/health?x=1", Route::Health),
            ("GET", "/he%61lth", Route::Health),
            ("POST", "/assistant/chat", Route::Chat),
            ("POST", "/mcp%2Ftools", Route::ListTools),
            ("POST", "/mcp/call?tool_name=echo", Route::CallTool),
            ("POST", "/health", Route::OtherMethod("GET")),
            ("OPTIONS", "/assistant/chat", Route::OtherMethod("POST")),
            ("HEAD", "/mcp/tools", Route::OtherMethod("POST")),
            ("GET", "/health/", elsewhere("/health")),
            (
                "POST",
                "/mcp/call/?tool_name=a",
                elsewhere("/mcp/call?tool_name=a"),
            ),
            ("GET", "/Health", Route::Unknown),
            ("GET", "//health", Route::Unknown),
            ("GET", "/he%FFalth", Route::Unknown),
            ("GET", "/assistant", Route::Unknown),
            ("GET", "/", Route::Unknown),
        ];
        for (method, uri, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(find(&method, &Uri::from_static(uri)), expected, "{method} {uri}");
        }
    }

    #[test]
    fn the_last_tool_name_wins_and_is_decoded_as_a_form() {
        let cases = [
            ("", None),
            ("x=1", None),
            ("tool_name=nope&tool_name=echo", Some("echo")),
            ("tool%5Fname=a+b%20c%2Bd&x=1", Some("a b c+d")),
            ("tool_name=a;b=c%zz%ff", Some("a;b=c%zz\u{fffd}")),
            ("tool_name=a&tool_name", Some("")),
        ];
        for (query, expected) in cases {
            assert_eq!(tool_name(query).as_deref(), expected, "{query}");
        }
    }
}
