//! What the group has committed of a partition: an offset, and beside it of which topic it is and how far back the
//! projection reached then.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// What the words of a committed offset's note begin with, so that another's are not taken for ours.
const HELD_FROM: &str = "held-from:";
const TOPIC: &str = "topic:";

/// A committed offset, as Kafka keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next to be processed.
    pub offset: i64,
    /// The oldest record that the projection held, where that is known: below `offset`, or at it where it held none.
    pub held_from: Option<i64>,
    /// The id of the topic that the offset is of, where that is known: one of the same name may have come in its place.
    pub topic: Option<Uuid>,
}

impl CommittedOffset {
    /// What was committed with that note; one of another kind says nothing, as after `kafka-consumer-groups
    /// --reset-offsets`.
    pub fn parse(offset: i64, metadata: &str) -> Self {
        let held_from = metadata_field(metadata, HELD_FROM).and_then(|number| number.parse().ok());
        Self {
            offset,
            held_from: held_from.filter(|held_from| (0..=offset).contains(held_from)),
            topic: topic_of(metadata),
        }
    }

    /// What to commit beside the offset, the topic's id as Kafka's tools write it. Of what is held nothing may be below
    /// the offset, as processing can be ahead of what is committed.
    pub fn metadata(&self) -> String {
        let held_from = self.held_from.map(|held_from| format!("{HELD_FROM}{}", held_from.min(self.offset)));
        with_topic(held_from.unwrap_or_default(), self.topic)
    }
}

/// What follows that beginning in a note's words.
pub(crate) fn metadata_field<'a>(metadata: &'a str, beginning: &str) -> Option<&'a str> {
    metadata.split(' ').find_map(|word| word.strip_prefix(beginning))
}

/// The topic that a note is about, where it says so.
pub(crate) fn topic_of(metadata: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(metadata_field(metadata, TOPIC)?).ok()?).ok()
}

/// A note that says which topic it is about, where that is known.
pub(crate) fn with_topic(metadata: String, topic: Option<Uuid>) -> String {
    let Some(topic) = topic else { return metadata };
    let blank = if metadata.is_empty() { "" } else { " " };
    format!("{metadata}{blank}{TOPIC}{}", topic_id_text(topic))
}

/// A topic's id as Kafka's tools write it (`Uuid.toString` in Java).
pub(super) fn topic_id_text(topic: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(topic)
}
