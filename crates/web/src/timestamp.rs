//! Timestamps in requests, records and JSON: ISO 8601, written in UTC with milliseconds, `2026-05-01T10:00:00.000Z`. The
//! module serves `#[serde(with)]`.

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, SubsecRound as _, Utc};
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// The current time, to the millisecond, so that the written text reads back as the same value.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

/// Formats a timestamp with milliseconds.
pub fn format(timestamp: &DateTime<Utc>) -> String {
    timestamp.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Serializes a timestamp.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(timestamp: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(timestamp))
}

/// Deserializes a timestamp, truncated to milliseconds.
///
/// # Errors
///
/// The text is not RFC 3339.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let timestamp = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
    Ok(timestamp.with_timezone(&Utc).trunc_subsecs(3))
}

/// Reads a date and time of ISO 8601, truncated to milliseconds.
///
/// That is `YYYY-MM-DDTHH:MM[:SS[.fraction]]` or, in the basic form, `YYYYMMDDTHHMM[SS[.fraction]]`, and then nothing (for
/// UTC), `Z`, `±HH`, `±HHMM` or `±HH:MM`. A blank may stand for the `T` (RFC 3339, 5.6). `t`, `z`, and a comma before the
/// fraction are accepted. A date alone is no moment. The result lies in the years 0000 to 9999 of UTC, which four digits can
/// express. A leap second (`23:59:60` in UTC) is the first second of the next day, as in POSIX time; `24:00:00` is the
/// beginning of the next day.
///
/// # Errors
///
/// The requirement.
pub fn parse(text: &str) -> Result<DateTime<Utc>, &'static str> {
    read(text).ok_or(
        "must be an ISO 8601 date and time, such as 2024-05-01T10:00:00.000Z, 2024-05-01 12:00+02 or 20240501T100000Z",
    )
}

const MINUTES_OF_A_DAY: i64 = 24 * 60;

fn read(text: &str) -> Option<DateTime<Utc>> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4)?;
    let is_extended = rest.after(b"-").is_some();
    let month = rest.number(2)?;
    let day = if is_extended { rest.after(b"-")?.number(2)? } else { rest.number(2)? };
    let hour = rest.after(b"Tt ")?.number(2)?;
    let minute = if is_extended { rest.after(b":")?.number(2)? } else { rest.number(2)? };
    let has_seconds = if is_extended { rest.after(b":").is_some() } else { rest.is_digit_next() };
    let (second, millis) = if has_seconds { (rest.number(2)?, rest.millis()?) } else { (0, 0) };
    let offset = rest.offset_minutes()?;
    if !rest.0.is_empty() {
        return None;
    }

    let ends_the_day = (hour, minute, second, millis) == (24, 0, 0, 0);
    if (hour > 23 && !ends_the_day) || minute > 59 || second > 60 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let minutes = i64::from(date.to_epoch_days()) * MINUTES_OF_A_DAY + i64::from(hour * 60 + minute) - offset;
    if second == 60 && minutes.rem_euclid(MINUTES_OF_A_DAY) != MINUTES_OF_A_DAY - 1 {
        return None;
    }
    let seconds = minutes * 60 + i64::from(second);
    DateTime::from_timestamp_millis(seconds * 1_000 + i64::from(millis)).filter(is_in_range)
}

/// Whether the moment's year can be written with four digits.
pub fn is_in_range(timestamp: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&timestamp.year())
}

/// The unread rest of the text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Skips one of these bytes; `None` if the next byte is none of them.
    fn after(&mut self, any_of: &[u8]) -> Option<&mut Self> {
        let (first, rest) = self.0.split_first()?;
        any_of.contains(first).then(|| {
            self.0 = rest;
            self
        })
    }

    fn is_digit_next(&self) -> bool {
        self.0.first().is_some_and(u8::is_ascii_digit)
    }

    fn digit(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first()?;
        first.is_ascii_digit().then(|| {
            self.0 = rest;
            u32::from(first - b'0')
        })
    }

    /// A number of exactly this many digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    /// A fraction of a second, if there is one. Digits beyond milliseconds are read and dropped.
    fn millis(&mut self) -> Option<u32> {
        if self.after(b".,").is_none() {
            return Some(0);
        }
        let mut millis = self.digit()? * 100;
        for unit in [10, 1] {
            millis += self.digit().unwrap_or(0) * unit;
        }
        while self.digit().is_some() {}
        Some(millis)
    }

    /// The offset of the local time from UTC.
    fn offset_minutes(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.after(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.after(b"+").is_some() {
            1
        } else {
            self.after(b"-")?;
            -1
        };
        let hours = self.number(2)?;
        let minutes = if self.after(b":").is_some() || !self.0.is_empty() { self.number(2)? } else { 0 };
        (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
    }
}
