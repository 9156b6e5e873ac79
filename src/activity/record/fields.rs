//! The fields of the contract within a JSON object, each as it was written.

use std::fmt;

use highwater_kafka::Malformed;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::malformed;

/// What was written for each field, if anything. Nothing is built from values, and unknown ones are
/// skipped without recursion.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) event_id: Option<&'a RawValue>,
    pub(super) user_id: Option<&'a RawValue>,
    pub(super) event_type: Option<&'a RawValue>,
    pub(super) timestamp: Option<&'a RawValue>,
    pub(super) payload: Option<&'a RawValue>,
    pub(super) metadata: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Malformed> {
        // Asked beforehand: the parser's own complaint would quote a value of any length.
        if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            let fault = serde_json::from_str::<IgnoredAny>(text).err();
            return Err(fault.map_or_else(
                || malformed("not a JSON object"),
                |error| malformed(format!("not JSON: {error}")),
            ));
        }
        serde_json::from_str(text).map_err(|error| {
            // What this file says of itself, such as a field that is there twice, is about valid JSON.
            malformed(if error.is_data() { error.to_string() } else { format!("not JSON: {error}") })
        })
    }
}

/// A name within the object. Written with escapes it is the same name.
#[derive(Debug, Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    EventId,
    UserId,
    EventType,
    Timestamp,
    Payload,
    Metadata,
    #[serde(other)]
    Unknown,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key()? {
            let (field, text) = match name {
                Name::EventId => (&mut fields.event_id, "eventId"),
                Name::UserId => (&mut fields.user_id, "userId"),
                Name::EventType => (&mut fields.event_type, "eventType"),
                Name::Timestamp => (&mut fields.timestamp, "timestamp"),
                Name::Payload => (&mut fields.payload, "payload"),
                Name::Metadata => (&mut fields.metadata, "metadata"),
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if field.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(format_args!("{text} is there twice")));
            }
        }
        Ok(fields)
    }
}
