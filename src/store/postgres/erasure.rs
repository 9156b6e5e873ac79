//! Deletes a user's events from a partition for good, in small batches. Then it notes the erasure and moves the partition's
//! position.
//!
//! A batch names no claim: every instance that has read the marker may delete the events before it. The note names one.

use sha2::{Digest as _, Sha256};

use super::{
    claim::{Claim, PartitionClaims},
    failure::Failure,
    pool::{Parameters, Pool},
    retention::{BATCH, LOCK_DEPARTED, depart},
};
use crate::store::{Erasure, LogPosition, event::user_key};

/// Whether the topic of an erasure `e` is that of the partition `p`, as far as that is known.
macro_rules! of_this_topic {
    () => {
        "(e.topic_id <> p.topic_id) IS NOT TRUE"
    };
}

/// The offset of the last erasure of any user.
const LAST: &str = concat!(
    "SELECT coalesce(max(e.marker), -1) FROM erasures AS e JOIN partitions AS p USING (partition) \
     WHERE e.partition = $1 AND ",
    of_this_topic!()
);

const IS_ERASED: &str = concat!(
    "SELECT EXISTS (SELECT FROM erasures AS e JOIN partitions AS p USING (partition) \
     WHERE e.partition = $1 AND e.user_hash = $2 AND e.marker > $3 AND ",
    of_this_topic!(),
    ")"
);

/// Whether there is anything to delete. A deletion holds admissions up, so it does not begin in vain.
const HAS_EVENTS: &str = "\
SELECT EXISTS (SELECT FROM events
WHERE partition = $1 AND hashtext(user_id) = hashtext($2) AND user_id = $2 AND position < $3)";

const DELETE: &str = depart!(
    "SELECT position FROM events
    WHERE partition = $1 AND hashtext(user_id) = hashtext($2) AND user_id = $2 AND position < $3
    LIMIT $4"
);

const NOTE: &str = "\
WITH p AS (
    UPDATE partitions SET next = $4, leader_epoch = CASE WHEN $4 > next THEN $7 ELSE leader_epoch END
    WHERE partition = $1 AND epoch = $2 AND next = $3 RETURNING topic_id
)
INSERT INTO erasures AS e (partition, user_hash, topic_id, marker) SELECT $1, $5, p.topic_id, $6 FROM p
ON CONFLICT (partition, user_hash) DO UPDATE SET
    marker = CASE WHEN e.topic_id <> excluded.topic_id THEN excluded.marker
        ELSE greatest(e.marker, excluded.marker) END,
    topic_id = coalesce(excluded.topic_id, e.topic_id), erased_at = now()
RETURNING marker";

/// Erases the partition's events of the user from before the erasure, and moves its position to `next`. Returns the number
/// of erased events; `None` if that erasure was noted before: an event after it must stay when the marker is read again.
pub(super) async fn erase(
    pool: &Pool,
    claims: &PartitionClaims,
    partition: i32,
    erasure: &Erasure,
    next: LogPosition,
) -> Result<Option<u64>, Failure> {
    let claim = claims.of(partition)?;
    let Claim { epoch, base, next: expected, .. } = claim;
    let expected = expected.ok_or(Failure::Fenced(partition))?;
    let user = user_key(&erasure.user_id);
    let is_known = is_erased(pool, partition, &erasure.user_id, erasure.offset - 1).await?;
    let mut events = 0;
    if !is_known {
        let end = base + erasure.offset;
        while let deleted @ 1.. = delete_batch(pool, partition, &user, end).await? {
            events += deleted;
        }
    }
    // A batch that waits for a dead letter also applies the erasures after it, before its position goes there.
    let LogPosition { offset, leader_epoch } = next;
    let next = (base + offset).max(expected);
    let user_hash = hash_of(&erasure.user_id);
    let parameters: Parameters<'_> =
        &[&partition, &epoch, &expected, &next, &user_hash, &erasure.offset, &leader_epoch];
    let noted = pool.query(NOTE, parameters).await?;
    noted.first().ok_or(Failure::Fenced(partition))?;
    let erased_below = claim.erased_below.max(erasure.offset);
    claims.put(partition, Claim { next: Some(next), erased_below, ..claim });
    Ok((!is_known).then_some(events))
}

/// Deletes a batch, and returns the number of deleted events.
async fn delete_batch(pool: &Pool, partition: i32, user: &str, end: i64) -> Result<u64, Failure> {
    // Dropped before its end, the connection is closed, which rolls the transaction back.
    let mut connection = pool.connection().await?;
    let mut deleted: i64 = 0;
    if connection.query(HAS_EVENTS, &[&partition, &user, &end]).await?.first().is_some_and(|row| row.get(0)) {
        connection.query("BEGIN", &[]).await?;
        connection.query(LOCK_DEPARTED, &[]).await?;
        let rows = connection.query(DELETE, &[&partition, &user, &end, &BATCH]).await?;
        deleted = rows.first().map_or(0, |row| row.get(0));
        connection.query("COMMIT", &[]).await?;
    }
    connection.done();
    Ok(deleted.unsigned_abs())
}

/// Whether an erasure of the user after that offset is noted.
pub(super) async fn is_erased(
    pool: &Pool,
    partition: i32,
    user_id: &str,
    offset: i64,
) -> Result<bool, Failure> {
    let rows = pool.query(IS_ERASED, &[&partition, &hash_of(user_id), &offset]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// The offset of the partition's last erasure.
pub(super) async fn last(pool: &Pool, partition: i32) -> Result<i64, Failure> {
    let rows = pool.query(LAST, &[&partition]).await?;
    Ok(rows.first().map_or(-1, |row| row.get(0)))
}

fn hash_of(user_id: &str) -> Vec<u8> {
    Sha256::digest(user_key(user_id)).to_vec()
}
