//! Resources that are attached to a message: read when the message is made.

use futures::future::join_all;

use super::Handlers;
use crate::api::pb;
use crate::run::error::{Error, Kind, Violation};
use crate::run::message::{AttachedResource, Part, ResourceContents};

/// How many there may be in one message.
const RESOURCES_LIMIT: usize = 16;
/// The most that they may hold together, in bytes before any encoding.
const SIZE_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Whether resources are attached to what a caller says.
pub(super) fn are_among(parts: &[pb::ContentPart]) -> bool {
    let is_resource = |part: &pb::ContentPart| matches!(part.part, Some(pb::content_part::Part::Resource(_)));
    parts.iter().any(is_resource)
}

/// What came of reading the resource at a place among the parts.
type Reading = (usize, Result<Vec<ResourceContents>, Error>);

impl Handlers {
    /// Reads the resources among what a caller says; `field` is the path of the parts, `caller` the
    /// name of who says it.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` naming every resource that cannot be had or is too large; whatever is not the request's
    /// fault as it is, such as `MCP_UNAVAILABLE`.
    pub(super) async fn read_attached(
        &self,
        field: &str,
        parts: &mut [Part],
        caller: &str,
    ) -> Result<(), Error> {
        let attached: Vec<(usize, &AttachedResource)> = attached(parts).collect();
        if let Some((place, _)) = attached.get(RESOURCES_LIMIT) {
            let description = format!("must be at most {RESOURCES_LIMIT} in one message");
            return Err(Error::invalid(format!("{field}[{place}].resource"), description));
        }
        let readings = attached.into_iter().map(async |(place, attached)| {
            let read = self.resource(&attached.server, &attached.uri, caller).await;
            (place, read)
        });
        for (place, contents) in accepted(field, join_all(readings).await)? {
            if let Some(Part::Resource(attached)) = parts.get_mut(place) {
                attached.contents = contents;
            }
        }
        Ok(())
    }
}

fn attached(parts: &[Part]) -> impl Iterator<Item = (usize, &AttachedResource)> {
    parts.iter().enumerate().filter_map(|(place, part)| match part {
        Part::Resource(attached) => Some((place, attached)),
        _ => None,
    })
}

/// What was read, by the places of the resources, if the message can be made with it.
fn accepted(field: &str, readings: Vec<Reading>) -> Result<Vec<(usize, Vec<ResourceContents>)>, Error> {
    let mut accepted = Vec::with_capacity(readings.len());
    let mut violations = Vec::new();
    let mut size_bytes: usize = 0;
    for (place, read) in readings {
        let description = match read {
            Ok(contents) => {
                size_bytes += contents.iter().map(ResourceContents::size_bytes).sum::<usize>();
                accepted.push((place, contents));
                if size_bytes <= SIZE_LIMIT_BYTES {
                    continue;
                }
                format!("makes more than the {SIZE_LIMIT_BYTES} bytes that resources may have together")
            }
            Err(error) => match error.kind() {
                Kind::NotFound | Kind::FailedPrecondition | Kind::InvalidArgument => {
                    error.message().to_owned()
                }
                _ => return Err(error),
            },
        };
        violations.push(Violation {
            field: format!("{field}[{place}].resource"),
            description,
        });
    }
    match violations.is_empty() {
        true => Ok(accepted),
        false => Err(Error::invalid_fields(violations)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::error::Reason;
    use crate::run::message::ResourceBody;

    fn holding(size_bytes: usize) -> Result<Vec<ResourceContents>, Error> {
        Ok(vec![ResourceContents {
            uri: "u".into(),
            mime_type: String::new(),
            body: ResourceBody::Text("x".repeat(size_bytes)),
        }])
    }

    fn failing(reason: Reason) -> Result<Vec<ResourceContents>, Error> {
        Err(Error::new(reason, "no"))
    }

    #[test]
    fn what_cannot_be_had_is_a_violation_and_what_may_come_back_is_not() {
        type Case = (Vec<Reading>, Result<usize, (Reason, &'static [&'static str])>);
        let refused = Reason::ValidationFailed;
        let cases: Vec<Case> = vec![
            (vec![], Ok(0)),
            (vec![(1, holding(SIZE_LIMIT_BYTES)), (3, holding(0))], Ok(2)),
            (
                vec![(0, holding(SIZE_LIMIT_BYTES)), (2, holding(1))],
                Err((refused, &["parts[2].resource"])),
            ),
            (
                vec![
                    (0, failing(Reason::ResourceNotFound)),
                    (1, holding(1)),
                    (2, failing(Reason::McpRequestRejected)),
                    (3, failing(Reason::ContentTooLarge)),
                ],
                Err((
                    refused,
                    &["parts[0].resource", "parts[2].resource", "parts[3].resource"],
                )),
            ),
            (
                vec![
                    (0, failing(Reason::ResourceNotFound)),
                    (1, failing(Reason::McpUnavailable)),
                ],
                Err((Reason::McpUnavailable, &[])),
            ),
        ];
        for (readings, expected) in cases {
            let shown = accepted("parts", readings).map(|all| all.len()).map_err(|error| {
                let fields = error.violations().iter().map(|one| one.field.clone());
                (error.reason(), fields.collect::<Vec<_>>())
            });
            let expected = expected.map_err(|(reason, fields)| {
                (reason, fields.iter().map(|field| (*field).to_owned()).collect())
            });
            assert_eq!(shown, expected);
        }
    }
}
