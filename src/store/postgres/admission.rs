//! Stores a batch in one statement, which is one transaction: its events, the ids that tell new events from copies, and the
//! partition's position.
//!
//! With one statement, all of it has arrived before any of it begins. So a process that is stopped half way holds no lock,
//! and the next owner of its partition need not wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    array::Array,
    claim::{Claim, PartitionClaims},
    failure::Failure,
    pool::{Parameters, Pool},
    row,
    unjudged::{UnjudgedBatch, firsts},
};
use crate::store::{ActivityEvent, Admission, EventRecord, LogPosition, StoredEvent, event::type_key};

/// The statement of a batch, with the rule for an event whose id exists.
///
/// The ids of events that have left are looked up one by one, by their index: a join could read the whole table. If nothing
/// has left, which each statement checks once, none is looked up.
///
/// The statement is refused if the claim is not the newest, or the position is another: then nothing at all is written. An
/// existing position is an error: no event is dropped for that.
/// there is an error: no event is dropped for that.
macro_rules! admit {
    ($copies:literal) => {
        concat!(
            "\
WITH claimed AS (
    UPDATE partitions SET next = $4, leader_epoch = CASE WHEN $4 > next THEN $11 ELSE leader_epoch END,
        stored_at = greatest(stored_at, clock_timestamp())
    WHERE partition = $1 AND epoch = $2 AND next = $3
    RETURNING stored_at
), added AS (
    INSERT INTO events (partition, position, id, user_id, event_type, occurred_at, stored_at, event)
    SELECT $1, batch.position, batch.id, batch.user_id, batch.event_type, batch.occurred_at, claimed.stored_at, batch.event
    FROM claimed, unnest($5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::timestamptz[], $10::json[])
        AS batch (position, id, user_id, event_type, occurred_at, event)
    WHERE NOT (SELECT EXISTS (SELECT FROM departed))
        OR (SELECT departed.id FROM departed WHERE departed.id = batch.id) IS NULL
    ",
            $copies,
            "
    RETURNING position, occurred_at
), summed AS (
    INSERT INTO blocks AS b (partition, block, earliest, latest, events)
    SELECT $1, position >> 10, min(occurred_at), max(occurred_at), count(*) FROM added GROUP BY position >> 10
    ON CONFLICT (partition, block) DO UPDATE SET
        earliest = least(b.earliest, excluded.earliest),
        latest = greatest(b.latest, excluded.latest),
        events = b.events + excluded.events
)
SELECT stored_at, (SELECT coalesce(array_agg(position), '{}') FROM added) FROM claimed"
        )
    };
}

/// Fails as a whole if an id exists. Without copies it costs PostgreSQL a sixth less than [`ADMIT`].
const ADMIT_NEW: &str = admit!("");
/// An existing id keeps its event.
const ADMIT: &str = admit!("ON CONFLICT (id) DO NOTHING");

/// The number of batches after one with copies that use the statement for copies at once. Otherwise a topic with occasional
/// copies would make PostgreSQL begin many batches twice.
const BATCHES_EXPECTING_COPIES: u32 = 256;

/// Stores the new events of a batch, and moves the partition's position to `next`.
pub(super) async fn admit(
    pool: &Pool,
    claims: &PartitionClaims,
    partition: i32,
    events: Vec<EventRecord>,
    next: LogPosition,
) -> Result<Vec<Admission>, Failure> {
    let claim = claims.of(partition)?;
    let Claim { epoch, base, next: expected, batches_expecting_copies, .. } = claim;
    // The batch was read from another place than the database's position, which is to be asked for again.
    if expected.is_none_or(|expected| events.iter().any(|offered| base + offered.offset < expected)) {
        return Err(Failure::Fenced(partition));
    }
    // A batch that waits for a dead letter also stores the events after it, before its position goes there.
    let LogPosition { offset, leader_epoch } = next;
    let next = (base + offset).max(expected.unwrap_or_default());
    let batch = BatchColumns::of(&events, base);
    let parameters: Parameters<'_> = &[
        &partition,
        &epoch,
        &expected,
        &next,
        &batch.positions,
        &batch.ids,
        &batch.user_ids,
        &batch.event_types,
        &batch.times,
        &batch.events,
        &leader_epoch,
    ];
    let mut connection = pool.connection().await?;
    let admitted = match batches_expecting_copies {
        0 => connection.query(ADMIT_NEW, parameters).await,
        _ => connection.query(ADMIT, parameters).await,
    };
    let admitted = match admitted {
        // None of it is stored, and the connection is as good as before.
        Err(failure) if failure.is_taken() => connection.query(ADMIT, parameters).await,
        admitted => admitted,
    };
    let rows = match admitted {
        Ok(rows) => rows,
        Err(failure) => {
            let events = events.into_iter().map(|record| (base + record.offset, record.event)).collect();
            claims.unjudged().keep(partition, UnjudgedBatch { base, next, events });
            return Err(failure);
        }
    };
    connection.done();
    let row = rows.first().ok_or(Failure::Fenced(partition))?;
    let added: Vec<i64> = row.get(1);
    let has_copies = added.len() < events.len();
    let batches_expecting_copies =
        if has_copies { BATCHES_EXPECTING_COPIES } else { batches_expecting_copies.saturating_sub(1) };
    claims.put(partition, Claim { next: Some(next), batches_expecting_copies, ..claim });
    let sequence = row::sequence(row, 0);
    let stored = |EventRecord { offset, event, .. }| StoredEvent {
        sequence,
        partition,
        position: base + offset,
        event,
    };
    let events = events.into_iter().map(stored);
    if !has_copies {
        return Ok(events.map(|stored| Admission::New(Arc::new(stored))).collect());
    }
    let (added, events): (HashSet<i64>, Vec<_>) = (added.into_iter().collect(), events.collect());
    let repeated = || events.iter().filter(|stored| !added.contains(&stored.position));
    let ids: Vec<Uuid> = repeated().map(|stored| stored.id()).collect();
    let firsts = firsts(pool, &ids).await.unwrap_or_else(|failure| {
        // The batch is stored. Its copies are compared under another claim.
        log::warn!("copies of stored events cannot be compared with these yet: {failure}");
        let events = repeated().map(|stored| (stored.position, stored.event.clone())).collect();
        claims.unjudged().keep(partition, UnjudgedBatch { base, next, events });
        claims.forget(partition);
        HashMap::new()
    });
    let say = |stored: StoredEvent| {
        if added.contains(&stored.position) {
            return Admission::New(Arc::new(stored));
        }
        match firsts.get(&stored.id()) {
            Some(first) if !first.has_same_content_as(&stored) => Admission::Conflict(Arc::clone(first)),
            _ => Admission::Duplicate,
        }
    };
    Ok(events.into_iter().map(say).collect())
}

/// A batch as columns. If it has copies of one event, the columns have the first alone.
struct BatchColumns {
    positions: Array,
    ids: Array,
    user_ids: Array,
    event_types: Array,
    times: Array,
    events: Array,
}

impl BatchColumns {
    fn of(events: &[EventRecord], base: i64) -> Self {
        let bytes = events.iter().map(|offered| offered.event.json().len()).sum::<usize>();
        let length = events.len();
        let mut columns = Self {
            positions: Array::of(Type::INT8, length, 8),
            ids: Array::of(Type::UUID, length, 16),
            user_ids: Array::of(Type::TEXT, length, 16),
            event_types: Array::of(Type::TEXT, length, 16),
            times: Array::of(Type::TIMESTAMPTZ, length, 8),
            events: Array::of(Type::JSON, length, bytes / length.max(1) + 1),
        };
        let mut seen = HashSet::with_capacity(length);
        for EventRecord { offset, event, .. } in events {
            if seen.insert(event.id()) {
                columns.push(base + offset, event);
            }
        }
        columns
    }

    fn push(&mut self, position: i64, event: &ActivityEvent) {
        self.positions.push(&position.to_be_bytes());
        self.ids.push(event.id().as_bytes());
        self.user_ids.push(event.user_key());
        self.event_types.push(type_key(&event.event_type()).as_bytes());
        self.times.push(&row::micros(event.timestamp_millis()).to_be_bytes());
        self.events.push(event.json());
    }
}
