//! An operator's actions on sequences: list, redrive, drop.

use std::sync::Arc;

use thiserror::Error;
use tokio::time::Instant;

use super::{
    KeySequences, SEQUENCE, SequenceBounds, VERDICT,
    entry::{Source, origin},
    handler::Letters,
    in_place,
};
use crate::{
    PublishError, Publisher, ReadError,
    dead_letter::{DeadLetter, DlqPosition, DlqReadError, DlqReader},
    group::topic_id_text,
    topic,
    wire::WireError,
};

/// The keys of a topic that wait in a group, and verdicts about them, from any process.
///
/// A verdict is a record in the dead letter topic. The consumer that has the partition acts on it within about a second, or
/// as soon as there is one.
pub struct SequencedDeadLetters {
    reader: DlqReader,
    publisher: Arc<dyn Publisher>,
    source: Arc<str>,
    group: Arc<str>,
}

/// A key that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sequence {
    /// The dead letter that the others wait behind. If it waits itself, the consumer is about to process it.
    pub head: DeadLetter,
    /// The number of dead letters of the key, the head included.
    pub letters: usize,
}

/// Nothing was decided about a dead letter.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum VerdictError {
    /// There is no dead letter at the position.
    #[error("there is no dead letter at {}/{}", .0.partition, .0.offset)]
    Missing(DlqPosition),
    /// The dead letter is in no sequence of this topic and group: [`super::super::Redriver`] sends it back.
    #[error("the dead letter at {}/{} is in no sequence of this topic and group", .0.partition, .0.offset)]
    NotInSequence(DlqPosition),
    /// The dead letter waits behind another, which is to be redriven or dropped.
    #[error("the dead letter at {}/{} waits behind another: redrive or drop that one", .0.partition, .0.offset)]
    Behind(DlqPosition),
    /// Only the beginning of its value is there: it can be dropped, and not redriven.
    #[error("the dead letter at {}/{} is cut off: it can only be dropped", .0.partition, .0.offset)]
    Truncated(DlqPosition),
    /// The dead letters cannot be read now.
    #[error(transparent)]
    Unreadable(#[from] DlqReadError),
    /// The verdict was not written.
    #[error(transparent)]
    NotWritten(#[from] PublishError),
}

impl SequencedDeadLetters {
    /// The waiting keys of the topic `source` in `group`. `reader` reads the dead letter topic, and `publisher` sends to it.
    pub fn new(reader: DlqReader, publisher: Arc<dyn Publisher>, source: &str, group: &str) -> Self {
        Self { reader, publisher, source: source.into(), group: group.into() }
    }

    /// The keys that wait. It reads all dead letters.
    ///
    /// # Errors
    ///
    /// They cannot be read now.
    pub async fn sequences(&self) -> Result<Vec<Sequence>, DlqReadError> {
        let topic_id = self.topic_id().await?;
        let mut found = Vec::new();
        for (partition, range) in (0..).zip(self.reader.ranges().await?) {
            let source = self.source(partition, &topic_id);
            let (sequences, now) = (KeySequences::new(SequenceBounds::default()), Instant::now());
            let reader = self.reader.partition_reader(partition).without_waiting();
            let mut letters =
                Letters { sequences, reader, next: range.start.into(), turn_at: now, looked_at: now };
            letters.follow(&source).await.map_err(DlqReadError::new)?;
            for (offset, count) in letters.sequences.heads() {
                if let Some(head) = self.read(DlqPosition { partition, offset }).await? {
                    found.push(Sequence { head, letters: count });
                }
            }
        }
        Ok(found)
    }

    /// Lets the consumer process a dead letter again, and then those that wait behind it, in order. If it is poison still,
    /// it is another dead letter, and they wait on.
    ///
    /// # Errors
    ///
    /// Nothing was decided.
    pub async fn redrive(&self, position: DlqPosition) -> Result<(), VerdictError> {
        let letter = self.letter(position).await?;
        if letter.waits() {
            return Err(VerdictError::Behind(position));
        }
        if letter.truncated_from.is_some() {
            return Err(VerdictError::Truncated(position));
        }
        self.decide(position, &letter, "redrive").await
    }

    /// Gives a dead letter up. Those that wait behind it are processed, in order.
    ///
    /// # Errors
    ///
    /// Nothing was decided.
    pub async fn drop(&self, position: DlqPosition) -> Result<(), VerdictError> {
        let letter = self.letter(position).await?;
        self.decide(position, &letter, "drop").await
    }

    async fn decide(
        &self,
        position: DlqPosition,
        letter: &DeadLetter,
        verdict: &str,
    ) -> Result<(), VerdictError> {
        let original = letter.original();
        let topic_id = letter.record.headers.last(SEQUENCE).unwrap_or_default();
        let source = self.source(position.partition, &String::from_utf8_lossy(topic_id));
        let is_its = source.entry(&letter.record).is_some();
        let Some(origin) = origin(&original).filter(|_| is_its) else {
            return Err(VerdictError::NotInSequence(position));
        };
        let receipt = self.publisher.publish(source.verdict(origin, verdict)).await?;
        in_place(receipt, position.partition)?;
        Ok(())
    }

    async fn letter(&self, position: DlqPosition) -> Result<DeadLetter, VerdictError> {
        self.read(position).await?.ok_or(VerdictError::Missing(position))
    }

    /// The dead letter at a position, if there is one.
    async fn read(&self, position: DlqPosition) -> Result<Option<DeadLetter>, DlqReadError> {
        let DlqPosition { partition, offset } = position;
        let mut reader = self.reader.partition_reader(partition).without_waiting();
        let records = match reader.read(offset).await {
            Ok(fetched) => fetched.records,
            Err(ReadError::OutOfRange) => Vec::new(),
            Err(error) => return Err(DlqReadError::new(error)),
        };
        let found = records.into_iter().find(|record| record.offset == offset);
        Ok(found.filter(|record| !record.headers.contains(VERDICT)).map(DeadLetter::read))
    }

    fn source(&self, partition: i32, topic_id: &str) -> Source {
        let (topic, group) = (Arc::clone(&self.source), Arc::clone(&self.group));
        Source { topic, topic_id: topic_id.into(), group, partition }
    }

    /// The source topic's id, as dead letters have it.
    async fn topic_id(&self) -> Result<String, DlqReadError> {
        let asking = async {
            let mut any = self.reader.cluster().connect().await?;
            topic::id(&mut any, &self.source).await
        };
        match asking.await {
            Ok(id) if !id.is_nil() => Ok(topic_id_text(id)),
            Ok(_) | Err(WireError::Unsupported(_)) => Ok(String::new()),
            Err(error) => Err(DlqReadError::new(error)),
        }
    }
}

impl std::fmt::Debug for SequencedDeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedDeadLetters")
            .field("source", &self.source)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
