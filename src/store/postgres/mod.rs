//! The store in PostgreSQL: one for all instances, without a bound.
//!
//! ```text
//! take_up ─▶ claim: epoch + 1 ─▶ position      admit ─▶ one statement: position, events, ids, blocks
//!                                               read  ─▶ some rows of each partition, merged
//! ```
//!
//! The position in the database is the truth. It moves in the transaction that stores a batch, and only under the newest
//! claim. A statement whose answer was lost is not repeated: the next claim waits for it and reads its outcome.

mod admission;
mod array;
mod availability;
mod claim;
mod config;
mod erasure;
mod failure;
mod migration;
mod pool;
mod reading;
mod rebuild;
mod retention;
mod row;
mod tls;
mod unjudged;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use log::warn;
use tokio::{
    sync::{Notify, OnceCell, watch},
    task::JoinHandle,
    time::{interval, sleep},
};
use uuid::Uuid;

use super::{
    Admission, Erasure, ErasureCounts, EventPage, EventQuery, EventRecord, EventStore, Log, LogPosition,
    Positions, Span, Start, Stats, StoreError, StoredEvent, erasure::ErasureCounter, retention_interval,
    waiters::Waiters,
};
use availability::Availability;
use claim::PartitionClaims;
pub use config::{PostgresConfig, PostgresUrl};
use failure::Failure;
use pool::Pool;
pub use rebuild::{Rebuild, Swapped};

/// The interval at which the database is asked for events that requests wait for.
const LOOK_FOR_AWAITED: Duration = Duration::from_millis(100);
/// The interval between counts of the stored events. It also bounds how late an outage of the database is noticed.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);

/// The value in place of a timestamp, while there is no event or nothing is counted yet.
const NO_EVENT: i64 = i64::MIN;

/// A store of events in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    inner: Arc<Inner>,
    tasks: [JoinHandle<()>; 3],
}

#[derive(Debug)]
struct Inner {
    config: PostgresConfig,
    prepared: OnceCell<()>,
    writers: Pool,
    readers: Pool,
    claims: PartitionClaims,
    waiters: Waiters,
    /// Notified when a request begins to wait.
    awaited: Notify,
    events: AtomicU64,
    /// The timestamp of the oldest event, or [`NO_EVENT`].
    oldest_millis: AtomicI64,
    duplicates: AtomicU64,
    expired: AtomicU64,
    erasures: ErasureCounter,
    availability: Availability,
}

impl PostgresStore {
    /// A store in that database. If the database is away, connecting is retried until it is there.
    ///
    /// # Errors
    ///
    /// The database is there, and this program cannot use its schema.
    pub async fn open(config: PostgresConfig) -> Result<Self, StoreError> {
        let (writers, readers) = config.connections;
        let inner = Arc::new(Inner {
            prepared: OnceCell::new(),
            writers: Pool::new(config.clone(), writers),
            readers: Pool::new(config.clone(), readers),
            claims: PartitionClaims::new(config.topic.clone()),
            waiters: Waiters::default(),
            awaited: Notify::new(),
            events: AtomicU64::new(0),
            oldest_millis: AtomicI64::new(NO_EVENT),
            duplicates: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            erasures: ErasureCounter::default(),
            availability: Availability::default(),
            config,
        });
        match inner.prepare().await {
            Err(wrong @ Failure::Schema(_)) => return Err(wrong.into()),
            Err(failure) => inner.availability.failed(&failure),
            Ok(()) => {}
        }
        let (counted, looked_for, kept) = (Arc::clone(&inner), Arc::clone(&inner), Arc::clone(&inner));
        let tasks = [
            tokio::spawn(async move { counted.keep_counting().await }),
            tokio::spawn(async move { looked_for.look_for_awaited().await }),
            tokio::spawn(async move { kept.keep_retention().await }),
        ];
        Ok(Self { inner, tasks })
    }

    /// The offset of the next record of each partition that has a position.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn offsets(&self) -> Result<BTreeMap<i32, i64>, StoreError> {
        const OFFSETS: &str = "SELECT partition, next - base FROM partitions WHERE next IS NOT NULL";

        self.inner.prepare().await?;
        let rows = self.inner.readers.query(OFFSETS, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Brings the database's schema up to date.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, refuses, or has a newer schema.
    pub async fn migrate(config: &PostgresConfig) -> Result<(), StoreError> {
        Ok(migration::migrate(config).await?)
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Inner {
    /// Prepares the schema, once.
    async fn prepare(&self) -> Result<(), Failure> {
        let prepare = async || match self.config.migrate {
            true => migration::migrate(&self.config).await,
            false => migration::check(&self.config).await,
        };
        self.prepared.get_or_try_init(prepare).await.copied()
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Arc<StoredEvent>>, Failure> {
        self.prepare().await?;
        Ok(unjudged::firsts(&self.readers, ids).await?.into_values().collect())
    }

    /// Looks for events that other instances store.
    async fn look_for_awaited(&self) {
        loop {
            if self.waiters.len() == 0 {
                self.awaited.notified().await;
            }
            let ids = self.waiters.ids();
            if let Ok(found) = self.availability.noted(self.find(&ids).await) {
                self.waiters.wake(found.iter());
            }
            sleep(LOOK_FOR_AWAITED).await;
        }
    }

    async fn keep_counting(&self) {
        // The first row of each partition is found by the primary key.
        const COUNT: &str = "\
SELECT (SELECT coalesce(sum(events), 0)::bigint FROM blocks), (
    SELECT (extract(epoch FROM min(first.occurred_at)) * 1000)::bigint FROM partitions CROSS JOIN LATERAL (
        SELECT occurred_at FROM events WHERE partition = partitions.partition ORDER BY position LIMIT 1
    ) AS first
)";

        let count = async || {
            self.prepare().await?;
            let rows = self.readers.query(COUNT, &[]).await?;
            Ok(rows.first().map_or((0, None), |row| (row.get::<_, i64>(0), row.get::<_, Option<i64>>(1))))
        };
        let mut ticks = interval(COUNT_INTERVAL);
        loop {
            ticks.tick().await;
            if let Ok((events, oldest)) = self.availability.noted(count().await) {
                self.events.store(events.unsigned_abs(), Ordering::Relaxed);
                self.oldest_millis.store(oldest.unwrap_or(NO_EVENT), Ordering::Relaxed);
                // If it fails, the next count fails as well.
                let _ = self.claims.check(&self.readers).await;
            }
        }
    }
}

impl Inner {
    /// Returns at once if events stay for ever.
    async fn keep_retention(&self) {
        let Some(retention) = self.config.retention else { return };
        let enforce = async || {
            self.prepare().await?;
            let left = |events| {
                self.expired.fetch_add(events, Ordering::Relaxed);
            };
            retention::enforce(&self.writers, retention, left).await
        };
        let mut ticks = retention_interval(retention);
        loop {
            ticks.tick().await;
            if let Err(failure) = enforce().await {
                // No request waits for it, so the outcome of other calls decides about the store's availability.
                warn!("old events are not deleted for now: {failure}");
            }
        }
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn take_up(&self, partition: i32, log: &Log) -> Result<Start, StoreError> {
        let inner = &self.inner;
        let take_up = async {
            inner.prepare().await?;
            inner.claims.take_up(&inner.writers, partition, log).await
        };
        let start = inner.availability.noted(take_up.await)?;
        inner.availability.taken_up(partition, inner.claims.position(partition));
        Ok(start)
    }

    fn is_claimed(&self, partition: i32) -> bool {
        self.inner.claims.of(partition).is_ok()
    }

    async fn move_to(&self, partition: i32, next: LogPosition) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.availability.noted(inner.claims.move_to(&inner.writers, partition, next).await)
    }

    async fn advance(&self, partition: i32, next: LogPosition) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.availability.noted(inner.claims.advance(&inner.writers, partition, next).await)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn error(&self) -> Option<String> {
        self.inner.availability.error()
    }

    async fn admit(
        &self,
        partition: i32,
        records: Vec<EventRecord>,
        next: LogPosition,
    ) -> Result<Vec<Admission>, StoreError> {
        let inner = &self.inner;
        let position = inner.claims.position(partition);
        let admitted = admission::admit(&inner.writers, &inner.claims, partition, records, next).await;
        let admissions = inner.availability.noted_write(partition, position, admitted)?;
        let new = |admission: &&Admission| matches!(admission, Admission::New(_));
        let copies = admissions.len() - admissions.iter().filter(new).count();
        inner.duplicates.fetch_add(copies as u64, Ordering::Relaxed);
        inner.waiters.wake(admissions.iter().filter_map(|admission| match admission {
            Admission::New(stored) => Some(stored),
            Admission::Duplicate | Admission::Conflict(_) => None,
        }));
        Ok(admissions)
    }

    fn late_conflicts(&self, partition: i32) -> Vec<(i64, Arc<StoredEvent>)> {
        self.inner.claims.unjudged().take_conflicts(partition)
    }

    fn admissions(&self) -> watch::Receiver<()> {
        self.inner.waiters.admissions()
    }

    async fn erase(&self, partition: i32, erasure: &Erasure, next: LogPosition) -> Result<(), StoreError> {
        let inner = &self.inner;
        let position = inner.claims.position(partition);
        let erased = erasure::erase(&inner.writers, &inner.claims, partition, erasure, next).await;
        if let Some(events) = inner.availability.noted_write(partition, position, erased)? {
            inner.erasures.add(events);
        }
        Ok(())
    }

    fn erased_below(&self, partition: i32) -> i64 {
        self.inner.claims.of(partition).map_or(i64::MIN, |claim| claim.erased_below)
    }

    async fn is_erased(&self, partition: i32, user_id: &str, offset: i64) -> Result<bool, StoreError> {
        let asked = erasure::is_erased(&self.inner.writers, partition, user_id, offset).await;
        self.inner.availability.noted(asked)
    }

    fn erasures(&self) -> ErasureCounts {
        self.inner.erasures.counts()
    }

    async fn next_offsets(&self) -> Result<Option<BTreeMap<i32, i64>>, StoreError> {
        self.offsets().await.map(Some)
    }

    async fn get(&self, id: Uuid) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let found = self.inner.find(&[id]).await;
        Ok(self.inner.availability.noted(found)?.pop())
    }

    async fn wait_for(&self, id: Uuid, timeout: Duration) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        // The waiter registers before the look, so that an admission here in between wakes it.
        let waiter = self.inner.waiters.register(id);
        if let Some(stored) = self.get(id).await? {
            return Ok(Some(stored));
        }
        self.inner.awaited.notify_one();
        Ok(tokio::time::timeout(timeout, waiter.found()).await.unwrap_or_default())
    }

    async fn end(&self) -> Result<Positions, StoreError> {
        const END: &str = "SELECT partition, next FROM partitions WHERE next IS NOT NULL";

        let end = async {
            self.inner.prepare().await?;
            self.inner.readers.query(END, &[]).await
        };
        let rows = self.inner.availability.noted(end.await)?;
        Ok(Positions(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
    }

    async fn read(&self, query: &EventQuery, within: Span, limit: usize) -> Result<EventPage, StoreError> {
        let page = async {
            let mut connection = self.inner.readers.connection().await?;
            let page = reading::page(&mut connection, query, within, limit).await?;
            connection.done();
            Ok(page)
        };
        self.inner.availability.noted(page.await)
    }

    async fn set_partition_count(&self, _: usize) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> Option<Stats> {
        Some(Stats {
            events: self.inner.events.load(Ordering::Relaxed),
            duplicates: self.inner.duplicates.load(Ordering::Relaxed),
            evicted: 0,
        })
    }

    fn expired(&self) -> Option<u64> {
        Some(self.inner.expired.load(Ordering::Relaxed))
    }

    fn oldest_millis(&self) -> Option<i64> {
        let oldest = self.inner.oldest_millis.load(Ordering::Relaxed);
        (oldest != NO_EVENT).then_some(oldest)
    }

    /// Nothing is restored, since the database has everything.
    fn max_events_per_partition(&self) -> u64 {
        0
    }

    async fn is_full(&self, _: i32) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Its events stay; another process has claimed the partition, or will.
    async fn forget(&self, partition: i32) -> Result<(), StoreError> {
        self.inner.claims.forget(partition);
        self.inner.claims.unjudged().forget(partition);
        self.inner.availability.is_written(partition);
        Ok(())
    }
}
