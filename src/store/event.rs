//! An event. Its JSON is written once, and serves as record value, stored value and answer.

use std::{borrow::Cow, ops::Range};

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use highwater_web::json::{is_compact, push_compact};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::ContentHash;

/// `{"eventId":"` and the 36 characters of a UUID and its closing quote.
const BEFORE_USER_ID: usize = ID_FIELD.len() + 36 + USER_FIELD.len();
const ID_FIELD: &[u8] = br#"{"eventId":""#;
const USER_FIELD: &[u8] = br#"","userId":"#;
const TYPE_FIELD: &[u8] = br#","eventType":"#;
const TIMESTAMP_FIELD: &[u8] = br#","timestamp":""#;
const PAYLOAD_FIELD: &[u8] = br#"","payload":"#;
/// `2026-11-21T07:43:00.123Z`
const TIMESTAMP_LENGTH: usize = 24;

/// A user activity event, kept as JSON.
///
/// The JSON is `{"eventId":…,"userId":…,"eventType":…,"timestamp":…,"payload":…}` on one line, in this order. The
/// payload's numbers and keys stay as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityEvent {
    id: Uuid,
    json: Box<[u8]>,
    /// The lengths of two JSON strings, quotes included. With them, every field is a slice of `json`.
    user_id_len: u32,
    event_type_len: u32,
}

impl ActivityEvent {
    /// An event of these fields. Without a payload, the payload is `{}`. The timestamp is kept to the millisecond, and
    /// is clamped to the years 0 to 9999.
    pub fn new(
        id: Uuid,
        user_id: &str,
        event_type: &str,
        timestamp: DateTime<Utc>,
        payload: Option<&RawValue>,
    ) -> Self {
        let payload = payload.map_or("{}", RawValue::get);
        // The capacity is exact where no string needs an escape and the payload is compact, which is the usual case.
        let quotes_and_brace = 5;
        let fixed = BEFORE_USER_ID + TYPE_FIELD.len() + TIMESTAMP_FIELD.len() + TIMESTAMP_LENGTH;
        let fixed = fixed + PAYLOAD_FIELD.len() + quotes_and_brace;
        let mut json = Vec::with_capacity(fixed + user_id.len() + event_type.len() + payload.len());
        json.extend_from_slice(ID_FIELD);
        json.extend_from_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        json.extend_from_slice(USER_FIELD);
        let user_id_len = push_string(&mut json, user_id);
        json.extend_from_slice(TYPE_FIELD);
        let event_type_len = push_string(&mut json, event_type);
        json.extend_from_slice(TIMESTAMP_FIELD);
        json.extend_from_slice(&timestamp_text(timestamp));
        json.extend_from_slice(PAYLOAD_FIELD);
        push_compact(&mut json, payload);
        json.push(b'}');
        // An allocator may keep the larger block when a vector shrinks in place; a copy takes no more than it needs.
        let json = if json.len() == json.capacity() { json.into() } else { Box::from(&*json) };
        Self { id, json, user_id_len, event_type_len }
    }

    /// The eventId.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The timestamp in milliseconds since 1970. Each call parses it from the JSON.
    pub fn timestamp_millis(&self) -> i64 {
        read_timestamp(&self.json[self.timestamp()])
    }

    /// The userId, unescaped.
    pub fn user_id(&self) -> Cow<'_, str> {
        unescape(self.user_id_json())
    }

    /// The eventType, unescaped.
    pub fn event_type(&self) -> Cow<'_, str> {
        unescape(self.event_type_json())
    }

    /// The payload: a JSON object without blanks between its parts.
    pub fn payload(&self) -> &str {
        // The payload was given as text, so it is UTF-8.
        std::str::from_utf8(self.split().1).unwrap_or_default()
    }

    /// Whether another event has the same user, type and payload. Equal bytes are the usual case; else the
    /// [`ContentHash`] decides.
    pub fn has_same_content_as(&self, other: &Self) -> bool {
        let same_bytes = self.user_and_type() == other.user_and_type() && self.payload() == other.payload();
        same_bytes || ContentHash::of(self) == ContentHash::of(other)
    }

    /// The whole event as one line of JSON.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// As [`ActivityEvent::json`], by value.
    pub fn into_json(self) -> Vec<u8> {
        self.json.into_vec()
    }

    /// The event in two parts, for answers that name the payload differently: everything before the comma that
    /// introduces the payload, and the payload.
    pub fn split(&self) -> (&[u8], &[u8]) {
        let before_payload = self.timestamp().end + 1;
        let payload = before_payload + PAYLOAD_FIELD.len() - 1;
        (&self.json[..before_payload], &self.json[payload..self.json.len() - 1])
    }

    /// The event of this text, where it is JSON that [`ActivityEvent::new`] would write again byte by byte.
    pub fn as_written(text: &str) -> Option<Self> {
        let event = Self::from_json(text.as_bytes())?;
        let is_plain = |names: &[u8]| names.iter().all(|byte| *byte >= b' ' && *byte != b'\\');
        let is_lower_case = |id: &[u8]| !id.iter().any(u8::is_ascii_uppercase);
        let payload = text.get(event.timestamp().end + PAYLOAD_FIELD.len()..text.len() - 1)?;
        let is_it = is_plain(event.user_and_type())
            && is_lower_case(&event.json[ID_FIELD.len()..BEFORE_USER_ID - USER_FIELD.len()])
            && is_timestamp(&event.json[event.timestamp()])
            && payload.starts_with('{')
            && serde_json::from_str::<IgnoredAny>(payload).is_ok()
            && is_compact(payload);
        is_it.then_some(event)
    }

    /// The event of this JSON, where it is as [`ActivityEvent::new`] writes it, as far as its fields can be found.
    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let rest = json.strip_prefix(ID_FIELD)?;
        let id = Uuid::try_parse_ascii(rest.get(..36)?).ok()?;
        let rest = rest[36..].strip_prefix(USER_FIELD)?;
        let user_id_len = string_len(rest)?;
        let rest = rest[user_id_len..].strip_prefix(TYPE_FIELD)?;
        let event_type_len = string_len(rest)?;
        let rest = rest[event_type_len..].strip_prefix(TIMESTAMP_FIELD)?;
        rest.get(TIMESTAMP_LENGTH..)?.strip_prefix(PAYLOAD_FIELD)?.strip_suffix(b"}")?;
        let (user_id_len, event_type_len) = (user_id_len as u32, event_type_len as u32);
        Some(Self { id, json: json.into(), user_id_len, event_type_len })
    }

    /// The user in the form of [`user_key`].
    #[cfg(feature = "postgres")]
    pub(super) fn user_key(&self) -> &[u8] {
        let json = self.user_id_json();
        &json[1..json.len() - 1]
    }

    /// The userId as a JSON string. Equal users have equal bytes, since one serializer writes them all.
    pub(super) fn user_id_json(&self) -> &[u8] {
        &self.json[BEFORE_USER_ID..BEFORE_USER_ID + self.user_id_len as usize]
    }

    fn user_and_type(&self) -> &[u8] {
        &self.json[BEFORE_USER_ID..self.after_type()]
    }

    fn event_type_json(&self) -> &[u8] {
        &self.json[self.after_type() - self.event_type_len as usize..self.after_type()]
    }

    /// The place of the timestamp in the JSON.
    fn timestamp(&self) -> Range<usize> {
        let begin = self.after_type() + TIMESTAMP_FIELD.len();
        begin..begin + TIMESTAMP_LENGTH
    }

    fn after_type(&self) -> usize {
        BEFORE_USER_ID + self.user_id_len as usize + TYPE_FIELD.len() + self.event_type_len as usize
    }
}

/// A user in the form that PostgreSQL compares: as JSON escapes it, without quotes. Unlike the user itself, it has no
/// character that PostgreSQL's text lacks.
#[cfg(feature = "postgres")]
pub(super) fn user_key(user_id: &str) -> String {
    let mut json = Vec::with_capacity(user_id.len() + 2);
    push_string(&mut json, user_id);
    String::from_utf8_lossy(&json[1..json.len() - 1]).into_owned()
}

/// A type in the form that PostgreSQL compares: in lower case, and escaped as by [`user_key`].
#[cfg(feature = "postgres")]
pub(super) fn type_key(event_type: &str) -> String {
    user_key(&event_type.to_lowercase())
}

/// A user in the form of the events' JSON: the same serializer writes both.
pub(super) fn user_json(user_id: &str) -> Vec<u8> {
    serde_json::to_vec(user_id).unwrap_or_default()
}

/// The length of the JSON string at the beginning, its quotes included.
fn string_len(json: &[u8]) -> Option<usize> {
    let mut bytes = json.strip_prefix(b"\"")?.iter().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return Some(index + 2),
            _ => {}
        }
    }
    None
}

/// The text of a JSON string that the event's constructor wrote.
fn unescape(json: &[u8]) -> Cow<'_, str> {
    let inner = &json[1..json.len() - 1];
    if inner.contains(&b'\\') {
        Cow::Owned(serde_json::from_slice(json).unwrap_or_default())
    } else {
        // The constructor was given text, so it is UTF-8.
        Cow::Borrowed(std::str::from_utf8(inner).unwrap_or_default())
    }
}

fn push_string(json: &mut Vec<u8>, text: &str) -> u32 {
    let before = json.len();
    if serde_json::to_writer(&mut *json, text).is_err() {
        // Unreachable: a string is always serializable, and a Vec always takes it.
        json.truncate(before);
        json.extend_from_slice(b"\"\"");
    }
    (json.len() - before) as u32
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`
fn timestamp_text(timestamp: DateTime<Utc>) -> [u8; TIMESTAMP_LENGTH] {
    /// 0000-01-01T00:00:00.000Z
    const FIRST: i64 = -62_167_219_200_000;
    /// 9999-12-31T23:59:59.999Z
    const LAST: i64 = 253_402_300_799_999;

    // The way over milliseconds turns chrono's leap seconds into the next second.
    let millis = timestamp.timestamp_millis().clamp(FIRST, LAST);
    let time = DateTime::from_timestamp_millis(millis).unwrap_or_default().naive_utc();
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], time.year().unsigned_abs());
    put(&mut text[5..7], time.month());
    put(&mut text[8..10], time.day());
    put(&mut text[11..13], time.hour());
    put(&mut text[14..16], time.minute());
    put(&mut text[17..19], time.second());
    put(&mut text[20..23], time.and_utc().timestamp_subsec_millis());
    text
}

/// Whether it is the [`timestamp_text`] of any time.
fn is_timestamp(text: &[u8]) -> bool {
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    let is_below = |at: usize, end| number(text, at..at + 2) < end;
    text.len() == TIMESTAMP_LENGTH
        && text.iter().zip(b"0000-00-00T00:00:00.000Z").all(fits)
        && date(text).is_some()
        && is_below(11, 24)
        && is_below(14, 60)
        && is_below(17, 60)
}

/// The milliseconds since 1970 of a [`timestamp_text`].
fn read_timestamp(text: &[u8]) -> i64 {
    let number = |digits| number(text, digits);
    // The constructor wrote a valid date.
    let days = date(text).unwrap_or_default().to_epoch_days();
    let seconds = i64::from((number(11..13) * 60 + number(14..16)) * 60 + number(17..19));
    (i64::from(days) * 86_400 + seconds) * 1000 + i64::from(number(20..23))
}

fn date(timestamp: &[u8]) -> Option<NaiveDate> {
    let number = |digits| number(timestamp, digits);
    NaiveDate::from_ymd_opt(number(0..4) as i32, number(5..7), number(8..10))
}

fn number(text: &[u8], digits: Range<usize>) -> u32 {
    text[digits].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

/// Writes the last digits of a number.
fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
