//! Reads requests: the dead letters to list, or to send back.

use highwater_kafka::dead_letter::{DlqCursor, DlqFilter, DlqPosition, RedriveSelection};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    cursor,
    http::{FieldError, Parameters, Problem, next_link},
    timestamp,
};

/// The most dead letters of one page.
pub(super) const MAX_LIMIT: usize = 1_000;
/// The most dead letters that one request can name.
const MAX_POSITIONS: usize = 1_000;

/// The requested dead letters.
#[derive(Debug)]
pub(super) struct ListQuery {
    pub(super) filter: DlqFilter,
    pub(super) cursor: Option<DlqCursor>,
    pub(super) limit: Option<usize>,
}

impl ListQuery {
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(query);
        let query = Self {
            filter: DlqFilter {
                reason: parameters.text("reason"),
                source_partition: parameters.parsed("partition", |text| {
                    text.parse().ok().filter(|number| *number >= 0).ok_or("must be a partition, such as 0")
                }),
                key: parameters.text("key"),
                from: parameters.parsed("from", timestamp::parse),
                to: parameters.parsed("to", timestamp::parse),
            },
            limit: parameters.parsed("limit", |text| {
                text.parse()
                    .ok()
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                    .ok_or("must be from 1 to 1000")
            }),
            cursor: parameters.parsed("cursor", |text| {
                let offsets = cursor::decode(text)?.into_iter().map(i64::try_from);
                offsets.collect::<Result<_, _>>().map(DlqCursor::new).map_err(|_| cursor::UNKNOWN)
            }),
        };
        parameters.finish()?;
        Ok(query)
    }

    /// The `Link` header of the next page.
    pub(super) fn next_link(&self, path: &str, limit: usize, next: &DlqCursor) -> String {
        let DlqFilter { reason, source_partition, key, from, to } = &self.filter;
        let parameters = [
            ("reason", reason.clone()),
            ("partition", source_partition.map(|partition| partition.to_string())),
            ("key", key.clone()),
            ("from", from.map(|timestamp| timestamp.to_rfc3339())),
            ("to", to.map(|timestamp| timestamp.to_rfc3339())),
            ("limit", Some(limit.to_string())),
            ("cursor", Some(cursor::encode(next.offsets().iter().map(|offset| offset.cast_unsigned())))),
        ];
        next_link(path, parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

/// The dead letters to send back: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redrive", extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RedriveBody {
    /// All dead letters.
    #[schemars(skip_serializing_if = "Option::is_none", extend("type" = "boolean", "const" = true))]
    all: Option<bool>,
    /// Those whose reason has this in it.
    #[schemars(skip_serializing_if = "Option::is_none", length(min = 1), extend("type" = "string"))]
    reason: Option<String>,
    /// Dead letters at these positions of the dead letter topic.
    #[schemars(skip_serializing_if = "Option::is_none", length(min = 1, max = MAX_POSITIONS), extend("type" = "array"))]
    positions: Option<Vec<DlqPosition>>,
}

/// Reads the body of a redrive: exactly one of `all`, `reason` and `positions`.
pub(super) fn selection(body: &str) -> Result<RedriveSelection, Problem> {
    const ONE: &str = "name the dead letters by one of {\"all\":true}, {\"reason\":\"…\"} and \
                       {\"positions\":[{\"partition\":0,\"offset\":0}]}";

    let body: RedriveBody =
        serde_json::from_str(body).map_err(|error| Problem::bad_request(format!("{ONE}: {error}")))?;
    let invalid = |field, message| Err(Problem::invalid(vec![FieldError::new(field, message)]));
    match (body.all, body.reason, body.positions) {
        (Some(true), None, None) => Ok(RedriveSelection::All),
        (Some(false), None, None) => invalid("all", "must be true"),
        (None, Some(reason), None) if reason.is_empty() => invalid("reason", "must not be empty"),
        (None, Some(reason), None) => Ok(RedriveSelection::Reason(reason)),
        (None, None, Some(positions)) if !(1..=MAX_POSITIONS).contains(&positions.len()) => {
            invalid("positions", "must be from 1 to 1000 of them")
        }
        (None, None, Some(positions)) => Ok(RedriveSelection::Positions(positions.into_iter().collect())),
        _ => Err(Problem::bad_request(ONE)),
    }
}
