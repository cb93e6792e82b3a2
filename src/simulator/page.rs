//! Lists, page by page, as threads and conversations have them.

use serde_json::{Value, json};

use super::refusal::Refusal;

const DEFAULT_LIMIT: usize = 20;
const MOST: usize = 100;

/// What a list request says of the page that it wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    limit: Option<usize>,
    is_ascending: bool,
    after: Option<String>,
    before: Option<String>,
    /// Only messages of this run.
    pub run: Option<String>,
}

impl Query {
    /// Reads the part of the address behind the question mark. Ids and numbers need no decoding.
    pub fn read(query: &str) -> Result<Self, Refusal> {
        let mut read = Query::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=MOST) => read.limit = Some(limit),
                    _ => return Err(wrong("limit", value)),
                },
                "order" if matches!(value, "asc" | "desc") => read.is_ascending = value == "asc",
                "order" => return Err(wrong("order", value)),
                "after" => read.after = Some(value.to_owned()),
                "before" => read.before = Some(value.to_owned()),
                "run_id" => read.run = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(read)
    }

    /// The page of these objects, which are given oldest first.
    pub fn page<'a>(&self, objects: impl Iterator<Item = &'a Value>) -> Value {
        let mut objects: Vec<&Value> = objects.collect();
        if !self.is_ascending {
            objects.reverse();
        }
        let place = |id: &String| objects.iter().position(|object| object["id"] == **id);
        let start = self.after.as_ref().and_then(place).map_or(0, |place| place + 1);
        let end = self.before.as_ref().and_then(place).unwrap_or(objects.len());
        let wanted = objects.get(start..end).unwrap_or_default();
        let page = &wanted[..wanted.len().min(self.limit.unwrap_or(DEFAULT_LIMIT))];
        let id = |object: Option<&&Value>| object.map_or_else(|| json!(""), |object| object["id"].clone());
        json!({
            "object": "list",
            "data": page,
            "first_id": id(page.first()),
            "last_id": id(page.last()),
            "has_more": page.len() < wanted.len(),
        })
    }
}

fn wrong(name: &str, value: &str) -> Refusal {
    let message = format!("Invalid value: '{value}' for '{name}'.");
    Refusal::invalid(Some(name), Some("invalid_value"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_in_either_order() {
        let objects: Vec<Value> = ["a", "b", "c"].map(|id| json!({ "id": id })).to_vec();
        for (query, ids, has_more) in [
            ("", vec!["c", "b", "a"], false),
            ("order=asc&limit=2", vec!["a", "b"], true),
            ("order=asc&limit=2&after=b", vec!["c"], false),
            ("before=a&limit=1", vec!["c"], true),
            ("after=a", vec![], false),
            ("unknown=1", vec!["c", "b", "a"], false),
        ] {
            let page = Query::read(query).unwrap().page(objects.iter());
            let found: Vec<&str> = page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|object| object["id"].as_str().unwrap())
                .collect();
            assert_eq!((found, &page["has_more"]), (ids, &json!(has_more)), "{query}");
        }
        for wrong in ["limit=0", "limit=101", "limit=x", "order=up"] {
            assert!(Query::read(wrong).is_err(), "{wrong}");
        }
    }
}
