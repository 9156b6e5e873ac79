//! From the consumer into the store: each event once, with a line in the log.

use std::sync::Arc;

use async_trait::async_trait;
use log::{debug, info, warn};

use super::record;
use crate::{
    messaging::{Handler, Passing, Poison, Record, Stopped, Verdict},
    store::{Admission, Event, EventStore},
};

/// The target of the line that each processed event gets.
const TARGET: &str = "highwater::processed";

/// Stores what the records say.
pub struct Processor {
    store: Arc<dyn EventStore>,
}

impl Processor {
    /// A processor into that store.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Handler for Processor {
    async fn handle(&self, records: &[Record]) -> Verdict {
        let Some(first) = records.first() else { return Verdict::default() };
        let mut verdict = Verdict::default();
        let mut events = Vec::with_capacity(records.len());
        let mut places = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            match record::parse(record) {
                Ok(event) => {
                    events.push(event);
                    places.push(index);
                }
                Err(malformed) => verdict.poison.push(Poison { index, reason: malformed.to_string() }),
            }
        }
        let Some(&first_good) = places.first() else { return verdict };
        match self.store.admit(first.partition, events).await {
            Ok(admissions) => {
                for (index, admission) in places.into_iter().zip(&admissions) {
                    log_admission(&records[index], admission);
                }
            }
            Err(unavailable) => {
                // Admitting is all that can fail: what is malformed before that is settled all the same.
                verdict.poison.retain(|poison| poison.index < first_good);
                verdict.stopped =
                    Some(Stopped { index: first_good, cause: Passing(unavailable.to_string()) });
            }
        }
        verdict
    }

    async fn topic_has(&self, partitions: usize) {
        if let Err(error) = self.store.share_among(partitions).await {
            warn!("the store's bound is not shared among {partitions} partitions: {error}");
        }
    }

    fn restores(&self) -> u64 {
        self.store.share()
    }

    async fn restore(&self, records: &[Record]) -> Result<(), Passing> {
        let Some(first) = records.first() else { return Ok(()) };
        // What is malformed was set aside when it was processed.
        let events: Vec<Event> = records.iter().filter_map(|record| record::parse(record).ok()).collect();
        match self.store.admit(first.partition, events).await {
            Ok(_) => Ok(()),
            Err(unavailable) => Err(Passing(unavailable.to_string())),
        }
    }

    async fn wants_older(&self, partition: i32) -> bool {
        self.store.is_full(partition).await.is_ok_and(|full| !full)
    }

    async fn forget(&self, partition: i32) {
        if let Err(error) = self.store.forget(partition).await {
            warn!("the events of partition {partition} are not forgotten: {error}");
        }
    }
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processor").finish_non_exhaustive()
    }
}

/// An event gets its line once it is stored, and only once; a copy of it is nothing new.
fn log_admission(record: &Record, admission: &Admission) {
    let (partition, offset) = (record.partition, record.offset);
    match admission {
        Admission::New(event) => {
            let (id, user, kind) = (event.id().hyphenated(), event.user_id(), event.event_type());
            info!(
                target: TARGET,
                eventId:% = id, userId = user.as_ref(), eventType = kind.as_ref(), partition, offset;
                "processed"
            );
        }
        Admission::Duplicate => debug!(target: TARGET, partition, offset; "duplicate, already stored"),
    }
}
