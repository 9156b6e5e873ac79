//! The right to write a partition. The process that claimed it last has it. Each claim has an epoch that is one higher
//! than the one before, and every write names its own.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{erasure, failure::Failure, pool::Pool, unjudged::Unjudged};
use crate::store::{Log, LogPosition, Start};

/// A partition that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) epoch: i64,
    /// The number that is added to an offset for a position.
    pub(super) base: i64,
    /// The position of the next record, if it is known.
    pub(super) next: Option<i64>,
    /// The offset of the last erasure of any user: no erasure concerns later records.
    pub(super) erased_below: i64,
    /// The number of further batches that are expected to have copies of stored events.
    pub(super) batches_expecting_copies: u32,
}

/// The partitions that this process has claimed.
#[derive(Debug)]
pub(super) struct PartitionClaims {
    /// For people who look into the table.
    owner: String,
    topic: String,
    held: Mutex<HashMap<i32, Claim>>,
    unjudged: Unjudged,
}

/// Waits for a write that is in progress; later writes of the same writer are refused. If the log is of another topic than
/// the one that was read, positions continue above the stored ones.
const CLAIM: &str = "\
INSERT INTO partitions AS p (partition, topic, topic_id, owner) VALUES ($1, $2, $3, $4)
ON CONFLICT (partition) DO UPDATE SET
    epoch = p.epoch + 1, owner = excluded.owner, claimed_at = now(),
    base = CASE WHEN p.topic_id <> excluded.topic_id THEN coalesce(p.next - $5, p.base) ELSE p.base END,
    leader_epoch = CASE WHEN p.topic_id <> excluded.topic_id THEN NULL ELSE p.leader_epoch END,
    topic_id = coalesce(excluded.topic_id, p.topic_id)
WHERE p.topic = excluded.topic
RETURNING epoch, base, next, leader_epoch";

/// Moves forward over records that the log has lost, and backward by a new base, above the stored positions.
const MOVE: &str = "\
UPDATE partitions SET
    base = CASE WHEN $3 < next - base THEN next - $3 ELSE base END,
    next = CASE WHEN $3 < next - base THEN next ELSE base + $3 END,
    leader_epoch = $4
WHERE partition = $1 AND epoch = $2
RETURNING base, next";

const ADVANCE: &str = "\
UPDATE partitions SET next = $3, leader_epoch = $5 WHERE partition = $1 AND epoch = $2 AND next = $4 RETURNING next";

impl PartitionClaims {
    pub(super) fn new(topic: String) -> Self {
        let owner = format!("process {} ({})", std::process::id(), Uuid::new_v4().simple());
        Self { owner, topic, held: Mutex::default(), unjudged: Unjudged::default() }
    }

    /// The claim on that partition.
    pub(super) fn of(&self, partition: i32) -> Result<Claim, Failure> {
        self.held().get(&partition).copied().ok_or(Failure::Fenced(partition))
    }

    /// The position of the partition's next record, if the partition is claimed and the position is known.
    pub(super) fn position(&self, partition: i32) -> Option<i64> {
        self.of(partition).ok()?.next
    }

    /// The batches to be compared when their partitions are claimed anew.
    pub(super) fn unjudged(&self) -> &Unjudged {
        &self.unjudged
    }

    /// Keeps the new state of a claim. Nothing changes if another claim has taken its place.
    pub(super) fn put(&self, partition: i32, claim: Claim) {
        if let Some(held) = self.held().get_mut(&partition).filter(|held| held.epoch == claim.epoch) {
            *held = claim;
        }
    }

    /// Forgets each claim that is no longer the newest, and each whose position was moved back. A process that does not
    /// write would not notice that.
    pub(super) async fn check(&self, pool: &Pool) -> Result<(), Failure> {
        const CLAIMED: &str = "SELECT partition, epoch, next FROM partitions";

        let before = self.held().clone();
        if before.is_empty() {
            return Ok(());
        }
        let rows = pool.query(CLAIMED, &[]).await?;
        let found: HashMap<i32, (i64, Option<i64>)> =
            rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        self.held().retain(|partition, claim| {
            // A claim that has changed meanwhile is newer than the rows.
            let is_newer = before.get(partition) != Some(claim);
            is_newer
                || found
                    .get(partition)
                    .is_some_and(|(epoch, next)| *epoch == claim.epoch && *next >= claim.next)
        });
        Ok(())
    }

    /// Nothing more is written of that partition.
    pub(super) fn forget(&self, partition: i32) {
        self.held().remove(&partition);
    }

    /// Claims a partition from its current owner. Returns the place to read on from.
    pub(super) async fn take_up(&self, pool: &Pool, partition: i32, log: &Log) -> Result<Start, Failure> {
        self.forget(partition);
        let parameters: super::pool::Parameters<'_> =
            &[&partition, &self.topic, &log.topic_id, &self.owner, &log.offsets.start];
        let rows = pool.query(CLAIM, parameters).await?;
        let Some(row) = rows.first() else {
            return Err(Failure::Schema(format!(
                "partition {partition} in the database is of another topic than {}: each topic needs a schema of its own \
                 (STORE_SCHEMA)",
                self.topic
            )));
        };
        let erased_below = erasure::last(pool, partition).await?;
        let claim = Claim {
            epoch: row.get(0),
            base: row.get(1),
            next: row.get(2),
            erased_below,
            batches_expecting_copies: 0,
        };
        self.unjudged.judge(pool, partition, &claim).await?;
        self.held().insert(partition, claim);
        let leader_epoch = row.get(3);
        let position = |next| LogPosition { offset: next - claim.base, leader_epoch };
        Ok(claim.next.map_or(Start::Unknown, |next| Start::At(position(next))))
    }

    /// The next record is at that place, whatever was known.
    pub(super) async fn move_to(
        &self,
        pool: &Pool,
        partition: i32,
        next: LogPosition,
    ) -> Result<(), Failure> {
        let claim = self.of(partition)?;
        let LogPosition { offset, leader_epoch } = next;
        let rows = pool.query(MOVE, &[&partition, &claim.epoch, &offset, &leader_epoch]).await?;
        let row = rows.first().ok_or(Failure::Fenced(partition))?;
        self.put(partition, Claim { base: row.get(0), next: row.get(1), ..claim });
        Ok(())
    }

    /// All below that place is done, though nothing of it may be stored.
    pub(super) async fn advance(
        &self,
        pool: &Pool,
        partition: i32,
        next: LogPosition,
    ) -> Result<(), Failure> {
        let claim = self.of(partition)?;
        let LogPosition { offset, leader_epoch } = next;
        let next = claim.base + offset;
        if claim.next == Some(next) {
            return Ok(());
        }
        let rows =
            pool.query(ADVANCE, &[&partition, &claim.epoch, &next, &claim.next, &leader_epoch]).await?;
        rows.first().ok_or(Failure::Fenced(partition))?;
        self.put(partition, Claim { next: Some(next), ..claim });
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<i32, Claim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
