//! ISO 8601 as clients and producers write it.

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};

/// Date, time, and an offset in either way of writing it; without an offset it is UTC. Kept to the
/// millisecond. `None` for anything else, and for years that four digits do not hold.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let timestamp = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|timestamp| timestamp.to_utc())
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|naive| naive.and_utc()))
        .ok()?;
    let whole = DateTime::from_timestamp_millis(timestamp.timestamp_millis())?;
    (0..=9999).contains(&whole.year()).then_some(whole)
}
