//! A hash of an event's content, in which two events with one id must agree.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::ActivityEvent;

/// A hash of an event's user, type and payload: the first 128 bits of SHA-256 over a canonical form. The timestamp does
/// not count, since a repeated POST gets a new one.
///
/// The canonical form ignores blanks, the order of an object's keys and the escapes in a string. Numbers count as they are
/// written: `1.0` is not `1`. A key that occurs twice counts twice, in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(u128);

impl ContentHash {
    /// The hash of this event's content.
    pub fn of(event: &ActivityEvent) -> Self {
        let mut hash = Sha256::new();
        text(&mut hash, &event.user_id());
        text(&mut hash, &event.event_type());
        value(&mut hash, event.payload());
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_be_bytes(prefix))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Hashes one part of the form. The part begins with its kind and its length, so that no two values have the same bytes.
fn part(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn text(hash: &mut Sha256, text: &str) {
    part(hash, b'"', text.as_bytes());
}

/// Recurses as deep as the payload nests; the readers of events bound that depth.
fn value(hash: &mut Sha256, json: &str) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let Ok(Members(mut members)) = serde_json::from_str(json) else { return as_written(hash, json) };
            // The sort is stable, so a key that occurs twice keeps its order.
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

/// Hashes numbers and literals, and what a strict parser refuses, such as half of a surrogate pair.
fn as_written(hash: &mut Sha256, json: &str) {
    part(hash, b'=', json.as_bytes());
}

/// All members of an object, in the order in which they were written.
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
