//! A store to test, and further handles on it, as other processes of the service have.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use highwater::store::{
    ActivityEvent, Admission, Config, Direction, EventQuery, EventRecord, EventStore, Log, MemoryStore,
    PostgresConfig, PostgresStore, PostgresUrl, Span, Start,
};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::support::{skipped, switch};

const IN_MEMORY: Config = Config { max_events: 1_000_000, max_bytes: u64::MAX };

/// A store of one kind.
pub(super) enum Stores {
    Memory(Arc<MemoryStore>),
    Postgres(Box<PostgresConfig>, String),
}

impl Stores {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Arc::new(MemoryStore::new(&IN_MEMORY)))
    }

    /// In a schema of its own; `None` where there is no server.
    pub(super) fn in_postgres() -> Option<Self> {
        let Some(url) = switch("TEST_POSTGRES_URL") else {
            skipped("postgres", "TEST_POSTGRES_URL names no server");
            return None;
        };
        let config = PostgresConfig {
            url: PostgresUrl::parse(&url).unwrap(),
            schema: format!("test_{}", Uuid::new_v4().simple()),
            topic: "events".to_owned(),
            connections: (4, 4),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            migrate: true,
            retention: None,
        };
        Some(Self::Postgres(Box::new(config), url))
    }

    /// A store of what all of them have: in PostgreSQL, that of another process.
    pub(super) async fn open(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Memory(store) => Arc::clone(store) as _,
            Self::Postgres(config, _) => Arc::new(PostgresStore::open((**config).clone()).await.unwrap()),
        }
    }

    /// As [`Stores::open`], of events that stay so long. In memory it is another store.
    pub(super) async fn keeping(&self, retention: Duration) -> Arc<dyn EventStore> {
        match self {
            Self::Memory(_) => MemoryStore::new(&IN_MEMORY).keeping(retention),
            Self::Postgres(config, _) => {
                let config = PostgresConfig { retention: Some(retention), ..(**config).clone() };
                Arc::new(PostgresStore::open(config).await.unwrap())
            }
        }
    }

    /// As [`Stores::open`], with partitions taken up whose logs are empty.
    pub(super) async fn with_partitions(&self, partitions: i32) -> Arc<dyn EventStore> {
        let store = self.open().await;
        for partition in 0..partitions {
            begin(&*store, partition).await;
        }
        store
    }

    /// The settings and a connection of one's own, in PostgreSQL.
    pub(super) async fn database(&self) -> Option<(PostgresConfig, tokio_postgres::Client)> {
        let Self::Postgres(config, url) = self else { return None };
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path TO {}", config.schema)).await.unwrap();
        Some(((**config).clone(), client))
    }

    /// Drops what a test has made.
    pub(super) async fn clean_up(self) {
        if let Some((config, client)) = self.database().await {
            client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", config.schema)).await.unwrap();
        }
    }
}

/// Runs each of these tests on both stores.
macro_rules! on_both_stores {
    ($($name:ident,)+) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::store::stores::Stores::in_memory()).await;
            })+
        }

        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(stores) = crate::store::stores::Stores::in_postgres() else { return };
                super::$name(&stores).await;
                stores.clean_up().await;
            })+
        }
    };
}
pub(super) use on_both_stores;

/// Takes a partition up, as a consumer does; where its next record is.
pub(super) async fn begin(store: &dyn EventStore, partition: i32) -> i64 {
    let log = Log { topic_id: None, offsets: 0..i64::MAX };
    match store.take_up(partition, &log).await.unwrap() {
        Start::NotKept => 0,
        Start::At(next) => next.offset,
        Start::Unknown => {
            store.move_to(partition, 0.into()).await.unwrap();
            0
        }
    }
}

pub(super) fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

/// An event; its number is its id and its time.
pub(super) fn event(number: u32, user_id: &str, event_type: &str) -> ActivityEvent {
    ActivityEvent::new(Uuid::from_u128(number.into()), user_id, event_type, moment(number.into()), None)
}

pub(super) fn record(offset: i64, event: ActivityEvent) -> EventRecord {
    EventRecord { offset, written_at: Utc::now().timestamp_millis(), event }
}

/// Events of these numbers from that offset on.
pub(super) fn records(offset: i64, numbers: impl IntoIterator<Item = u32>) -> Vec<EventRecord> {
    (offset..).zip(numbers).map(|(offset, number)| record(offset, event(number, "ada", "LOGIN"))).collect()
}

/// Admits records; which of them are new.
pub(super) async fn admit(store: &dyn EventStore, partition: i32, records: Vec<EventRecord>) -> Vec<bool> {
    let next = records.last().map_or(0, |last| last.offset + 1);
    let admissions = store.admit(partition, records, next.into()).await.unwrap();
    admissions.iter().map(|admission| matches!(admission, Admission::New(_))).collect()
}

/// The numbers of all events that match, in pages of at most so many.
pub(super) async fn listed(store: &dyn EventStore, query: &EventQuery, limit: usize) -> Vec<u32> {
    let mut rest = Some(Span::before(store.end().await.unwrap(), None, query.direction));
    let mut numbers = Vec::new();
    while let Some(within) = rest {
        let page = store.read(query, within, limit).await.unwrap();
        assert!(page.events.len() <= limit);
        numbers.extend(page.events.iter().map(|event| u32::try_from(event.id().as_u128()).unwrap()));
        rest = page.rest;
    }
    numbers
}

pub(super) async fn all(store: &dyn EventStore) -> Vec<u32> {
    listed(store, &EventQuery::default(), 1000).await
}

pub(super) fn newest_first(query: EventQuery) -> EventQuery {
    EventQuery { direction: Direction::Backward, ..query }
}

pub(super) fn of_user(user_id: &str) -> EventQuery {
    EventQuery { user_id: Some(user_id.to_owned()), ..EventQuery::default() }
}

pub(super) fn of_type(event_type: &str) -> EventQuery {
    EventQuery { event_type: Some(event_type.to_owned()), ..EventQuery::default() }
}
