//! Reads known fields of a JSON object, or all of its members, each as it was written. Values are not parsed, and unknown
//! fields are skipped without recursion and without memory.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The fault of a field that is there more than once: readers would not agree on which value counts.
pub const REPEATED: &str = "is given more than once";

/// The known fields of an object, in the order of their names.
#[derive(Debug)]
pub struct Object<'a, const FIELDS: usize> {
    /// The first value of each field, null included; `None` for an absent field.
    pub values: [Option<&'a RawValue>; FIELDS],
    /// Whether the field is there more than once.
    pub repeated: [bool; FIELDS],
}

impl<'a, const FIELDS: usize> Object<'a, FIELDS> {
    /// Reads the fields with these names. A name that is written with escapes is the same name.
    ///
    /// # Errors
    ///
    /// The text is not JSON, or not an object (a data error).
    pub fn parse(text: &'a str, names: &[&str; FIELDS]) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let object = deserializer.deserialize_map(FieldsVisitor(names))?;
        deserializer.end()?;
        Ok(object)
    }

    /// The values. Null counts as absent.
    pub fn present(&self) -> [Option<&'a RawValue>; FIELDS] {
        self.values.map(|value| value.filter(|value| value.get() != "null"))
    }

    /// The repeated ones of the names that it was read with.
    pub fn repeated<'n>(&self, names: &[&'n str; FIELDS]) -> impl Iterator<Item = &'n str> {
        let fields = names.iter().zip(self.repeated);
        fields.filter(|(_, is_repeated)| *is_repeated).map(|(name, _)| *name)
    }
}

/// All members of an object, in order, each value as it was written. So are the names where they are read as [`RawValue`]s.
///
/// # Errors
///
/// The text is not JSON, or not an object (a data error).
pub fn members<'a, N: Deserialize<'a>>(text: &'a str) -> serde_json::Result<Vec<(N, &'a RawValue)>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(MembersVisitor(PhantomData))?;
    deserializer.end()?;
    Ok(members)
}

struct MembersVisitor<N>(PhantomData<N>);

impl<'de, N: Deserialize<'de>> Visitor<'de> for MembersVisitor<N> {
    type Value = Vec<(N, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct FieldsVisitor<'n, const FIELDS: usize>(&'n [&'n str; FIELDS]);

impl<'de, const FIELDS: usize> Visitor<'de> for FieldsVisitor<'_, FIELDS> {
    type Value = Object<'de, FIELDS>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object { values: [None; FIELDS], repeated: [false; FIELDS] };
        while let Some(known) = map.next_key_seed(Index(self.0))? {
            match known {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(index) => {
                    let value = map.next_value()?;
                    object.repeated[index] |= object.values[index].is_some();
                    object.values[index].get_or_insert(value);
                }
            }
        }
        Ok(object)
    }
}

/// Reads a key as its index among the names, without copying it.
struct Index<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Index<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Index<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}
