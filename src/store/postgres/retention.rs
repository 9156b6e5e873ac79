//! Events older than the retention leave, the oldest first, in small batches and by one process at a time. Their ids stay.

use std::time::Duration;

use super::{failure::Failure, pool::Pool};

/// The most events that leave in one transaction.
pub(super) const BATCH: i64 = 2_000;
/// The first half of the advisory lock that a process holds while it deletes; the other half is the schema.
pub(super) const LOCK: i32 = 0x7265_7461;

/// Another process may be deleting already, which is enough.
const TRY_LOCK: &str = "SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))";

const PARTITIONS: &str = "SELECT partition FROM partitions ORDER BY partition";

/// Waits for admissions under way and holds up new ones. So an admission either sees the event, or begins after this
/// transaction and sees its id among those that left. One that saw neither would store a copy.
pub(super) const LOCK_DEPARTED: &str = "LOCK TABLE departed IN ACCESS EXCLUSIVE MODE";

/// Deletes the events of partition `$1` at the positions that a query selects. Their ids stay.
macro_rules! depart {
    ($positions:literal) => {
        concat!(
            "WITH due AS (",
            $positions,
            "), gone AS (
                DELETE FROM events USING due WHERE events.partition = $1 AND events.position = due.position
                RETURNING events.id, events.position
            ), known AS (
                INSERT INTO departed (id) SELECT id FROM gone ON CONFLICT DO NOTHING
            ), counted AS (
                UPDATE blocks SET events = blocks.events - left_block.events
                FROM (SELECT position >> 10 AS block, count(*) AS events FROM gone GROUP BY position >> 10) AS left_block
                WHERE blocks.partition = $1 AND blocks.block = left_block.block
            )
            SELECT count(*) FROM gone"
        )
    };
}
pub(super) use depart;

/// Within a partition, events were stored in the order of their positions, so the primary key finds the oldest.
const DELETE: &str = depart!(
    "SELECT position FROM (
        SELECT position, stored_at FROM events WHERE partition = $1 ORDER BY position LIMIT $2
    ) AS oldest WHERE stored_at < now() - make_interval(secs => $3)"
);

/// A deleted block is made again when events come to it.
const DELETE_EMPTY_BLOCKS: &str = "DELETE FROM blocks WHERE events = 0";

/// Whether the oldest event of a partition is to leave. Only then is an admission held up.
const IS_DUE: &str = "\
SELECT coalesce((SELECT stored_at < now() - make_interval(secs => $2) FROM events WHERE partition = $1 \
ORDER BY position LIMIT 1), false)";

/// Deletes all events that were stored longer ago than this. `left` gets the size of each deleted batch.
pub(super) async fn enforce(pool: &Pool, retention: Duration, left: impl Fn(u64)) -> Result<(), Failure> {
    let mut any = false;
    for row in pool.query(PARTITIONS, &[]).await? {
        while let Some(events @ 1..) = delete_batch(pool, row.get(0), retention).await? {
            left(events);
            any = true;
        }
    }
    if any {
        pool.query(DELETE_EMPTY_BLOCKS, &[]).await?;
    }
    Ok(())
}

/// Deletes a batch, and returns the number of deleted events; `None` if another process is deleting.
async fn delete_batch(pool: &Pool, partition: i32, retention: Duration) -> Result<Option<u64>, Failure> {
    let seconds = retention.as_secs_f64();
    // Dropped before its end, the connection is closed, which rolls the transaction back.
    let mut connection = pool.connection().await?;
    connection.query("BEGIN", &[]).await?;
    let is_ours = connection.query(TRY_LOCK, &[&LOCK]).await?.first().is_some_and(|row| row.get(0));
    let is_due = is_ours
        && connection.query(IS_DUE, &[&partition, &seconds]).await?.first().is_some_and(|row| row.get(0));
    let mut deleted: i64 = 0;
    if is_due {
        connection.query(LOCK_DEPARTED, &[]).await?;
        let rows = connection.query(DELETE, &[&partition, &BATCH, &seconds]).await?;
        deleted = rows.first().map_or(0, |row| row.get(0));
    }
    connection.query("COMMIT", &[]).await?;
    connection.done();
    Ok(is_ours.then_some(deleted.unsigned_abs()))
}
