//! A turn: the worker of a partition reads the new entries about its dead letters, and processes the letters that are due.
//!
//! The consumer has committed everything that is done, and letters of records above that are not due. So a record whose
//! letter is processed here does not come again, and after the last letter of a key come the records that nobody has
//! processed yet. The lease is checked before each letter and before each write.

use std::{slice, time::Duration};

use futures::future::join_all;
use log::{info, warn};
use tokio::time::Instant;

use super::{
    KeySequences, Place, SequencedHandler, Waiting,
    entry::Source,
    handler::{Letters, SequencedPartition},
    in_place,
};
use crate::{ReadError, Record, TransientError, dead_letter::DeadLetter, group::Lease};

/// The time between two turns, unless letters are due.
const INTERVAL: Duration = Duration::from_secs(1);
/// The time after which a turn leaves its letters and lets records be read, about.
const TURN: Duration = Duration::from_millis(500);
/// The interval between two looks for letters that the dead letter topic no longer keeps.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

impl SequencedHandler {
    /// Takes one turn. Returns the numbers of waiting keys and letters after it.
    pub(super) async fn turn(
        &self,
        partition: &mut SequencedPartition,
        committed: i64,
        lease: &Lease,
    ) -> Result<Waiting, TransientError> {
        let (source, letters) = self.letters(partition).await?;
        letters.turn_at = Instant::now() + INTERVAL;
        match self.process_due(source, letters, committed, lease).await {
            Ok(()) => {
                if letters.sequences.first_due(committed).is_some() {
                    letters.turn_at = Instant::now();
                }
                Ok(letters.sequences.waiting())
            }
            // The topic has lost records that were read, or was made again: its current content counts.
            Err(TurnError::Read(
                ReadError::OutOfRange | ReadError::TopicRecreated | ReadError::Truncated(_),
            )) => {
                let before = letters.sequences.waiting().letters;
                partition.letters = None;
                let (source, letters) = self.letters(partition).await?;
                let waiting = letters.sequences.waiting();
                report_lost(source, before.saturating_sub(waiting.letters));
                Ok(waiting)
            }
            Err(TurnError::Read(error)) => Err(TransientError::new(error)),
            Err(TurnError::Other(error)) => Err(error),
        }
    }

    async fn process_due(
        &self,
        source: &Source,
        letters: &mut Letters,
        committed: i64,
        lease: &Lease,
    ) -> Result<(), TurnError> {
        self.settle(source, &mut letters.sequences, lease).await?;
        let is_at_end = letters.follow(source).await?;
        // Letters of committed records were acknowledged. Only a new leader may not show them yet, and its range is an error
        // until then (KIP-207).
        if is_at_end
            && letters.sequences.has_unread(committed)
            && letters.reader.range().await?.end <= letters.next.offset
        {
            return Err(ReadError::Truncated(None).into());
        }
        if letters.looked_at.elapsed() >= LOOK_INTERVAL {
            letters.looked_at = Instant::now();
            let start = letters.reader.range().await?.start;
            report_lost(source, letters.sequences.expire(start));
        }
        let due = Due { committed, by: Instant::now() + TURN, lease };
        while let Some(from) = letters.sequences.first_due(committed)
            && Instant::now() < due.by
            && lease.is_valid()
        {
            let fetched = letters.reader.read(from).await?;
            if fetched.records.first().is_none_or(|record| record.offset != from) {
                if fetched.next <= from {
                    break; // it can be read later
                }
                letters.sequences.missing(from);
                report_lost(source, 1);
                continue;
            }
            let processed = self.process_letters(source, &mut letters.sequences, &fetched.records, due).await;
            self.settle(source, &mut letters.sequences, lease).await?;
            processed?;
            if letters.sequences.first_due(committed) == Some(from) && lease.is_valid() {
                // Another record is there: the topic was truncated.
                return Err(ReadError::Truncated(None).into());
            }
        }
        Ok(())
    }

    /// Processes those of these records of the dead letter topic that are due, in their order.
    async fn process_letters(
        &self,
        source: &Source,
        sequences: &mut KeySequences,
        records: &[Record],
        due: Due<'_>,
    ) -> Result<(), TransientError> {
        for record in records {
            let Some(entry) = source.entry(record) else { continue };
            if !sequences.is_due(entry.origin, record.offset, due.committed) {
                continue;
            }
            if !due.lease.is_valid() {
                break;
            }
            let letter = DeadLetter::read(record.clone());
            if letter.truncated_from.is_some() && !letter.waits() {
                sequences.refuse(entry.origin); // the verdict was on an earlier letter of it, which had all
                continue;
            }
            let original = letter.original();
            let mut outcome = self.handler.handle(slice::from_ref(&original)).await;
            if let Some(retry) = outcome.retry_from {
                let (partition, offset, error) = (original.partition, original.offset, retry.error);
                return Err(TransientError::new(format!("at {partition}/{offset}: {error}")));
            }
            match outcome.poison.pop() {
                None => sequences.processed(entry.origin),
                // The next owner finds out as well.
                Some(_) if !due.lease.is_valid() => break,
                Some(poison) => {
                    let (partition, offset, reason) = (original.partition, original.offset, &poison.reason);
                    warn!(partition, offset; "a dead letter is poison still: {reason}");
                    let place = Place { topic_id: source.topic_id.clone(), behind: None };
                    let sent = self.dead_letters.send(&original, reason, Some(&place)).await;
                    sent.map_err(TransientError::new)?;
                    sequences.failed(entry.origin);
                }
            }
            if Instant::now() >= due.by {
                break;
            }
        }
        Ok(())
    }

    /// Tells the dead letter topic which letters are processed. Only then do their keys go on.
    async fn settle(
        &self,
        source: &Source,
        sequences: &mut KeySequences,
        lease: &Lease,
    ) -> Result<(), TransientError> {
        let mut deliveries = Vec::new();
        for origin in sequences.unsettled() {
            if !lease.is_valid() {
                return Ok(()); // the next owner processes them again
            }
            deliveries.push(self.dead_letters.publisher.enqueue(source.verdict(origin, "done")).await);
        }
        if deliveries.is_empty() {
            return Ok(());
        }
        for delivered in join_all(deliveries).await {
            let receipt = delivered.map_err(TransientError::new)?;
            in_place(receipt, source.partition).map_err(TransientError::new)?;
        }
        let before = sequences.waiting();
        sequences.settle();
        let after = sequences.waiting();
        let (processed, keys) = (before.letters - after.letters, before.keys - after.keys);
        info!(partition = source.partition; "dead letters processed in order: {processed}; keys that wait no more: {keys}");
        Ok(())
    }
}

fn report_lost(source: &Source, lost: usize) {
    if lost > 0 {
        let partition = source.partition;
        warn!(partition; "{lost} dead letters left their topic before they were processed: their keys go on without them");
    }
}

/// The letters that a turn processes.
#[derive(Clone, Copy)]
struct Due<'a> {
    /// Letters of records below this offset.
    committed: i64,
    /// The end of the turn.
    by: Instant,
    /// The lease, which must be valid.
    lease: &'a Lease,
}

/// The reason why a turn ended early.
enum TurnError {
    Read(ReadError),
    Other(TransientError),
}

impl From<ReadError> for TurnError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<TransientError> for TurnError {
    fn from(error: TransientError) -> Self {
        Self::Other(error)
    }
}
