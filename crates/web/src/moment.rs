//! A moment in JSON: ISO 8601 in UTC with milliseconds, `2026-05-01T10:00:00.000Z`.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// Now, to the millisecond: what is written down is what is read again.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

/// Writes it.
///
/// # Errors
///
/// The serializer's.
pub fn serialize<S: Serializer>(moment: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Reads it, to the millisecond.
///
/// # Errors
///
/// It is no date and time, or one that four digits of a year cannot say.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let moment = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
    Ok(moment.with_timezone(&Utc).trunc_subsecs(3))
}
