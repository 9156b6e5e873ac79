//! The headers of a record, which are decoded only for a reader.

use std::{borrow::Cow, fmt};

use bytes::{BufMut as _, Bytes};

use super::wire::{put_varint, take_bytes};

/// The headers of a record: names and values, in order. Kafka allows a null value, and a name that repeats.
///
/// They are a slice of the batch that the record came in. A record whose headers nobody reads costs nothing for them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// The headers in this checked encoding, one after the other (KIP-98).
    pub(super) fn encoded(encoded: Bytes) -> Self {
        Self(encoded)
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first header of that name; `None` if there is none, or it is null.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.raw().find(|(known, _)| *known == name.as_bytes())?.1
    }

    /// The value of the last header of that name, which was added last; `None` if there is none, or it is null.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        self.raw().filter(|(known, _)| *known == name.as_bytes()).last()?.1
    }

    /// Whether there is a header of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.raw().any(|(known, _)| known == name.as_bytes())
    }

    /// All headers. Bytes of a name that are not UTF-8 become U+FFFD.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Option<Bytes>)> {
        self.raw()
            .map(|(name, value)| (String::from_utf8_lossy(name), value.map(|value| self.0.slice_ref(value))))
    }

    fn raw(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let name = take_bytes(&mut rest).ok()??;
            Some((name, take_bytes(&mut rest).ok()?))
        })
    }
}

impl<N: AsRef<str>> FromIterator<(N, Option<Bytes>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, Option<Bytes>)>>(headers: I) -> Self {
        let mut encoded = Vec::new();
        for (name, value) in headers {
            put_varint(&mut encoded, name.as_ref().len() as i64);
            encoded.put_slice(name.as_ref().as_bytes());
            put_varint(&mut encoded, value.as_ref().map_or(-1, |value| value.len() as i64));
            encoded.put_slice(value.as_deref().unwrap_or_default());
        }
        Self(encoded.into())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
