//! Path templates, as the comment of `google/api/http.proto` defines them:
//!
//! ```text
//! Template = "/" Segments [ Verb ] ;       Variable = "{" FieldPath [ "=" Segments ] "}" ;
//! Segments = Segment { "/" Segment } ;     FieldPath = IDENT { "." IDENT } ;
//! Segment  = "*" | "**" | LITERAL | Variable ;   Verb = ":" LITERAL ;
//! ```

use percent_encoding::percent_decode_str;

/// A parsed template; variables are replaced by their segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The segments between slashes.
    pub segments: Vec<Segment>,
    /// What follows the last colon, in the template's spelling; percent escapes in upper case.
    pub verb: Option<String>,
    /// The variables in the order of the path.
    pub variables: Vec<Variable>,
}

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any one segment that is not empty.
    Any,
    /// Any number of segments, none included.
    Rest,
}

/// A variable: the field it goes to, and the segments it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The names of the field path.
    pub path: Vec<String>,
    /// The first segment.
    pub start: usize,
    /// One past the last segment; where the last one is [`Segment::Rest`], all that is left.
    pub end: usize,
    /// Exactly one segment, so that every escape is decoded; else `%2F` stays.
    pub is_single: bool,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at} of the path template")]
pub struct TemplateError {
    /// The byte where it was noticed.
    pub at: usize,
    /// What it is.
    pub problem: &'static str,
}

impl Segment {
    /// The segment as the template has it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Segment::Literal(text) => text,
            Segment::Any => "*",
            Segment::Rest => "**",
        }
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// When it is not of the grammar, nests variables, binds a field twice, or has `**` anywhere but
    /// at the end.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser {
            text: text.as_bytes(),
            at: 0,
        };
        let mut template = Self {
            segments: Vec::new(),
            verb: None,
            variables: Vec::new(),
        };
        parser.expect(b'/', "expected a slash")?;
        if text == "/" {
            return Ok(template);
        }
        loop {
            parser.segment(&mut template)?;
            if !parser.takes(b'/') {
                break;
            }
        }
        if parser.takes(b':') {
            template.verb = Some(parser.literal(true)?);
        }
        if parser.at != text.len() {
            return Err(parser.error("unexpected character"));
        }
        let rest = template
            .segments
            .iter()
            .position(|segment| *segment == Segment::Rest);
        if rest.is_some_and(|position| position + 1 != template.segments.len()) {
            return Err(parser.error("** is not the last segment"));
        }
        Ok(template)
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, problem: &'static str) -> TemplateError {
        TemplateError { at: self.at, problem }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), TemplateError> {
        if self.takes(byte) {
            Ok(())
        } else {
            Err(self.error(problem))
        }
    }

    fn segment(&mut self, template: &mut Template) -> Result<(), TemplateError> {
        if self.takes(b'{') {
            return self.variable(template);
        }
        let segment = self.plain(false)?;
        template.segments.push(segment);
        Ok(())
    }

    fn plain(&mut self, in_variable: bool) -> Result<Segment, TemplateError> {
        if !self.takes(b'*') {
            return self.literal(in_variable).map(Segment::Literal);
        }
        Ok(if self.takes(b'*') {
            Segment::Rest
        } else {
            Segment::Any
        })
    }

    fn variable(&mut self, template: &mut Template) -> Result<(), TemplateError> {
        let mut path = vec![self.name()?];
        while self.takes(b'.') {
            path.push(self.name()?);
        }
        if template.variables.iter().any(|other| other.path == path) {
            return Err(self.error("field bound twice"));
        }
        let start = template.segments.len();
        if self.takes(b'=') {
            loop {
                if self.text.get(self.at) == Some(&b'{') {
                    return Err(self.error("variable inside a variable"));
                }
                let segment = self.plain(true)?;
                template.segments.push(segment);
                if !self.takes(b'/') {
                    break;
                }
            }
        } else {
            template.segments.push(Segment::Any);
        }
        self.expect(b'}', "expected a closing brace")?;
        let end = template.segments.len();
        let is_single = end - start == 1 && template.segments[start] != Segment::Rest;
        template.variables.push(Variable {
            path,
            start,
            end,
            is_single,
        });
        Ok(())
    }

    fn name(&mut self) -> Result<String, TemplateError> {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
            .count();
        if length == 0 || rest[0].is_ascii_digit() {
            return Err(self.error("expected a field name"));
        }
        self.at += length;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    /// A literal of unreserved characters, sub-delimiters, `@` and escapes; a colon only where it
    /// cannot begin a verb.
    fn literal(&mut self, with_colon: bool) -> Result<String, TemplateError> {
        let mut text = String::new();
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'%' => {
                    let digits = self.text.get(self.at + 1..self.at + 3).unwrap_or_default();
                    if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(self.error("malformed percent escape"));
                    }
                    text.push('%');
                    text.extend(digits.iter().map(|digit| char::from(digit.to_ascii_uppercase())));
                    self.at += 3;
                    continue;
                }
                b':' if with_colon => {}
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {}
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b',' | b';'
                | b'=' | b'@' => {}
                _ => break,
            }
            text.push(char::from(*byte));
            self.at += 1;
        }
        if text.is_empty() {
            Err(self.error("expected a segment"))
        } else {
            Ok(text)
        }
    }
}

/// A literal, or a segment of a request's path, without its escapes.
#[must_use]
pub fn decoded(text: &str) -> std::borrow::Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn templates_of_the_grammar_are_taken_apart() {
        for (text, segments, verb, variables) in [
            ("/", "", None, ""),
            ("/v1/tools", "v1 tools", None, ""),
            ("/v1/{name=tools/*}:call", "v1 tools *", Some("call"), "name 1-3"),
            ("/v1/{a.b}/x/{c=**}", "v1 * x **", None, "a.b 1-2, c 3-4"),
            ("/a%2fb/{x=c:d}:v:w", "a%2Fb c:d", Some("v:w"), "x 1-2"),
        ] {
            let template = Template::parse(text).unwrap();
            let shown: Vec<_> = template.segments.iter().map(super::Segment::text).collect();
            assert_eq!(shown.join(" "), segments, "{text}");
            assert_eq!(template.verb.as_deref(), verb, "{text}");
            let shown: Vec<_> = template
                .variables
                .iter()
                .map(|variable| format!("{} {}-{}", variable.path.join("."), variable.start, variable.end))
                .collect();
            assert_eq!(shown.join(", "), variables, "{text}");
        }
    }

    #[test]
    fn templates_outside_the_grammar_are_refused() {
        for text in [
            "",
            "a",
            "//",
            "/a/",
            "/a//b",
            "/{}",
            "/{a",
            "/{a}b",
            "/a{b}",
            "/{a={b}}",
            "/{a}/{a}",
            "/**/a",
            "/{a=**}/b",
            "/a:",
            "/:v",
            "/a:b/c",
            "/a?b",
            "/%2",
            "/***",
            "/{1a}",
            "/{a.}",
            "/{a-b}",
            "/ü",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
