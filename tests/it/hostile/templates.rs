//! Path templates, and paths that they stand for.

use assistd::api::transcode::route::{Found, Router};
use assistd::api::transcode::template::{Segment, Template};
use http::Method;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::prop_assert;

use super::search;

/// Path templates, most of them almost right.
fn templates() -> impl Strategy<Value = String> {
    let pieces = vec![
        "*",
        "**",
        "a",
        "b-c",
        "{x}",
        "{x=*}",
        "{x.y=a/*}",
        "{x=**}",
        "{z=a/*/b/**}",
        "{",
        "}",
        "",
        "a:b",
        "%2F",
        "{x=}",
    ];
    let pieces = proptest::collection::vec(proptest::sample::select(pieces), 0..6);
    let verb = proptest::option::of("[a-zA-Z:]{0,4}");
    let made = (pieces, verb).prop_map(|(pieces, verb)| {
        let path: String = pieces.iter().map(|piece| format!("/{piece}")).collect();
        verb.map_or(path.clone(), |verb| format!("{path}:{verb}"))
    });
    prop_oneof![3 => made, 1 => r"[/{}=*a-z.:%_]{0,24}", 1 => any::<String>()]
}

#[test]
fn a_template_that_is_taken_matches_the_paths_that_it_stands_for() {
    search(templates(), |text| {
        let Ok(template) = Template::parse(&text) else {
            return Ok(());
        };
        let mut path = String::new();
        if template.segments.is_empty() {
            path.push('/');
        }
        for segment in &template.segments {
            path.push('/');
            path.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Any => "one",
                Segment::Rest => "one/two",
            });
        }
        if let Some(verb) = &template.verb {
            path.push_str(&format!(":{verb}"));
        }
        let mut router = Router::default();
        prop_assert!(router.add(Method::GET, &template, ()).is_ok());
        let mut segments = Vec::new();
        let found = router.find(&Method::GET, &path, &mut segments);
        prop_assert!(
            matches!(found, Found::Route(())),
            "{} does not match {}",
            text,
            path
        );
        Ok(())
    });
}
