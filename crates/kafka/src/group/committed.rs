//! A committed offset and its metadata: the topic's id, and the start of the projection at that time.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::OffsetAndMetadata;
use crate::{FetchPosition, LeaderEpochs};

/// The prefixes of the metadata's fields, which tell them from another program's.
const HELD_FROM: &str = "held-from:";
const TOPIC: &str = "topic:";

/// A committed offset, as Kafka keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be processed.
    pub offset: i64,
    /// The leader epoch of the record before it, if known (KIP-320). In another program's commit it may be a newer one, that of
    /// the leader: a member of Java's that begins at the end of the log commits so.
    pub leader_epoch: Option<i32>,
    /// The oldest record in the projection, if known: below `offset`, or equal to it if the projection was empty.
    pub held_from: Option<i64>,
    /// The id of the offset's topic, if known. A recreated topic has another.
    pub topic: Option<Uuid>,
}

impl CommittedOffset {
    /// Reads an offset and its metadata. Metadata of another program has no field, as after `kafka-consumer-groups
    /// --reset-offsets`.
    pub fn parse(offset: i64, metadata: &str) -> Self {
        let held_from = metadata_field(metadata, HELD_FROM).and_then(|number| number.parse().ok());
        Self {
            offset,
            leader_epoch: None,
            held_from: held_from.filter(|held_from| (0..=offset).contains(held_from)),
            topic: topic_of(metadata),
        }
    }

    /// The metadata to commit beside the offset, with the topic's id as Kafka's tools write it. `held_from` is at most
    /// the offset, as processing can be ahead of the commit.
    pub fn metadata(&self) -> String {
        let held_from = self.held_from.map(|held_from| format!("{HELD_FROM}{}", held_from.min(self.offset)));
        with_topic(held_from.unwrap_or_default(), self.topic)
    }
}

impl CommittedOffset {
    /// As [`CommittedOffset::parse`], with the leader epoch.
    pub(crate) fn from_fetched(fetched: &OffsetAndMetadata) -> Self {
        Self { leader_epoch: fetched.leader_epoch, ..Self::parse(fetched.offset, &fetched.metadata) }
    }

    /// The position without the metadata.
    pub(crate) fn position(self) -> FetchPosition {
        FetchPosition { offset: self.offset, leader_epoch: self.leader_epoch }
    }

    /// The epochs of the records before it, as far as they are known.
    pub(crate) fn epochs(self) -> LeaderEpochs {
        let is_ours = self.topic.is_some() || self.held_from.is_some();
        if is_ours { LeaderEpochs::before(self.position()) } else { LeaderEpochs::default() }
    }

    /// As it is committed.
    pub(crate) fn to_commit(self) -> OffsetAndMetadata {
        OffsetAndMetadata { offset: self.offset, leader_epoch: self.leader_epoch, metadata: self.metadata() }
    }
}

/// The value of the metadata's field with that prefix.
pub(crate) fn metadata_field<'a>(metadata: &'a str, beginning: &str) -> Option<&'a str> {
    metadata.split(' ').find_map(|word| word.strip_prefix(beginning))
}

/// The topic's id in metadata, if it has one.
pub(crate) fn topic_of(metadata: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(metadata_field(metadata, TOPIC)?).ok()?).ok()
}

/// Adds the topic's id to metadata, if known.
pub(crate) fn with_topic(metadata: String, topic: Option<Uuid>) -> String {
    let Some(topic) = topic else { return metadata };
    let blank = if metadata.is_empty() { "" } else { " " };
    format!("{metadata}{blank}{TOPIC}{}", topic_id_text(topic))
}

/// A topic's id as Kafka's tools write it (`Uuid.toString` in Java).
pub(crate) fn topic_id_text(topic: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(topic)
}
