//! From the consumer into the store: each event once, with a line in the log.

use std::sync::Arc;

use async_trait::async_trait;
use log::{debug, info, warn};

use super::{Conflicts, record};
use crate::{
    messaging::{Handler, Passing, Poison, Record, Stopped, Verdict},
    store::{Admission, EventStore, Offered},
};

/// The target of the line that each processed event gets.
const TARGET: &str = "highwater::processed";

/// How many records are processed between two chances for others to run: about a millisecond's worth.
const AT_ONCE: usize = 1024;

/// Stores what the records say.
pub struct Processor {
    store: Arc<dyn EventStore>,
    conflicts: Arc<Conflicts>,
}

impl Processor {
    /// A processor into that store, that notes what says otherwise than an event of the same id before.
    pub fn new(store: Arc<dyn EventStore>, conflicts: Arc<Conflicts>) -> Self {
        Self { store, conflicts }
    }

    /// Processes some of a batch, whose first record stands at `start` in it.
    async fn process(&self, start: usize, records: &[Record], verdict: &mut Verdict) {
        let mut events = Vec::with_capacity(records.len());
        let mut good = Vec::with_capacity(records.len());
        let mut poison = Vec::new();
        for (place, record) in records.iter().enumerate() {
            match record::parse(record) {
                Ok(event) => {
                    events.push(Offered { offset: record.offset, event });
                    good.push(place);
                }
                Err(malformed) => {
                    poison.push(Poison { index: start + place, reason: malformed.to_string() });
                }
            }
        }
        if let Some(&first) = good.first() {
            match self.store.admit(records[first].partition, events).await {
                Ok(admissions) => {
                    for (place, admission) in good.into_iter().zip(&admissions) {
                        self.tell(&records[place], admission);
                    }
                }
                Err(unavailable) => {
                    // What is malformed before the first good record is settled all the same.
                    let index = start + first;
                    poison.retain(|poison| poison.index < index);
                    verdict.stopped = Some(Stopped { index, cause: Passing(unavailable.to_string()) });
                }
            }
        }
        verdict.poison.append(&mut poison);
    }

    /// An event gets its line once it is stored, and only once; a copy of it is nothing new.
    fn tell(&self, record: &Record, admission: &Admission) {
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
            Admission::Duplicate => {
                debug!(target: TARGET, partition, offset; "duplicate, already stored");
            }
            Admission::Conflict(first) => self.conflicts.note(record, first),
        }
    }
}

#[async_trait]
impl Handler for Processor {
    async fn handle(&self, records: &[Record]) -> Verdict {
        let mut verdict = Verdict::default();
        for (number, some) in records.chunks(AT_ONCE).enumerate() {
            if number > 0 {
                tokio::task::yield_now().await;
            }
            self.process(number * AT_ONCE, some, &mut verdict).await;
            if verdict.stopped.is_some() {
                break;
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
        for some in records.chunks(AT_ONCE) {
            // What is malformed was set aside when it was processed.
            let offered = |record: &Record| {
                record::parse(record).ok().map(|event| Offered { offset: record.offset, event })
            };
            self.store
                .admit(some[0].partition, some.iter().filter_map(offered).collect())
                .await
                .map_err(|unavailable| Passing(unavailable.to_string()))?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn wants_older(&self, partition: i32) -> bool {
        self.store.is_full(partition).await.is_ok_and(|full| !full)
    }

    async fn forget(&self, partition: i32) {
        self.conflicts.forget(partition);
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
