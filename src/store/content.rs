//! What two events of one id must agree in, and how that is told.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Event;

/// A hash of what an event says: its user, its type and its payload, never its timestamp, which a repeated
/// POST gets anew. The first 128 bits of SHA-256 over a canonical form.
///
/// In the canonical form neither blanks nor the order of an object's keys count, nor how a string is escaped.
/// Numbers count as they are written: `1.0` is not `1`. Keys that are there twice count twice, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content(u128);

impl Content {
    /// What this event says.
    pub fn of(event: &Event) -> Self {
        let mut hash = Sha256::new();
        text(&mut hash, &event.user_id());
        text(&mut hash, &event.event_type());
        value(&mut hash, event.payload());
        let mut beginning = [0; 16];
        beginning.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_be_bytes(beginning))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Each part begins with its kind and its length, so that no two values have the same bytes.
fn part(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn text(hash: &mut Sha256, text: &str) {
    part(hash, b'"', text.as_bytes());
}

/// Goes as deep as the payload nests, which is bounded where events are read.
fn value(hash: &mut Sha256, json: &str) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let Ok(Members(mut members)) = serde_json::from_str(json) else { return as_written(hash, json) };
            // Stable: of a key that is there twice the order stays.
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            hash.update(b"{");
            hash.update((members.len() as u64).to_be_bytes());
            for (key, member) in members {
                text(hash, &key);
                value(hash, member.get());
            }
        }
        Some(b'[') => {
            let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
                return as_written(hash, json);
            };
            hash.update(b"[");
            hash.update((elements.len() as u64).to_be_bytes());
            for element in elements {
                value(hash, element.get());
            }
        }
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(string) => text(hash, &string),
            Err(_) => as_written(hash, json),
        },
        _ => as_written(hash, json),
    }
}

/// Numbers and words; and what strict readers refuse, such as half of a surrogate pair.
fn as_written(hash: &mut Sha256, json: &str) {
    part(hash, b'=', json.as_bytes());
}

/// An object's members in the order in which they were written, none left out.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
