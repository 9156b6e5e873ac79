//! Listings to slow clients, for HEAD requests, and from stores that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::Utc;
use highwater::{
    activity::{Api, Config, EventStreams, LoggedEvents, PATHS, PostedBatchLimits, routes},
    store::{
        self, ActivityEvent, Admission, Erasure, ErasureCounts, EventPage, EventQuery, EventRecord,
        EventStore, LogPosition, MemoryStore, Positions, Span, StoreError, StoredEvent,
    },
};
use highwater_kafka::{Message, PublishError, Publisher, Receipt, Status, TypedProducer};
use highwater_web::{http::Traffic, operations::Operations, shutdown::Shutdown};
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;
use warp::{Filter, Reply};

use super::server::{Server, config};

/// How many events there are: some 12 MB of JSON, more than sockets hold.
const EVENTS: usize = 12_000;

struct NoPublisher;

#[async_trait]
impl Publisher for NoPublisher {
    async fn publish(&self, _: Message) -> Result<Receipt, PublishError> {
        Err(PublishError::Stopping)
    }
}

/// A store whose reads are counted, and fail after so many.
struct Watched {
    store: MemoryStore,
    reads: AtomicUsize,
    fails_after: usize,
}

impl Watched {
    async fn full(fails_after: usize) -> Arc<Self> {
        let store = MemoryStore::new(&store::Config { max_events: 2 * EVENTS as u64, max_bytes: u64::MAX });
        let padding: String = format!("{{\"x\":\"{}\"}}", "x".repeat(850));
        let payload = RawValue::from_string(padding).unwrap();
        let events = (0..EVENTS).map(|number| event(number, Some(&payload)));
        store.admit(0, events.collect(), 0.into()).await.unwrap();
        Arc::new(Self { store, reads: AtomicUsize::new(0), fails_after })
    }

    async fn serve(self: &Arc<Self>) -> Server {
        let status = watch::channel(Status::default()).1;
        let api = Api {
            events: TypedProducer::new(Arc::new(NoPublisher), "/highwater"),
            store: self.clone(),
            config: Config {
                event_types: Vec::new(),
                batch: PostedBatchLimits::default(),
                schemas: None,
                max_event_streams: 100,
                logged_events: LoggedEvents::ALL,
            },
            limits: config().body_limits(),
            listing_limit: Arc::default(),
            streams: Arc::new(EventStreams::new(100)),
            rejections: Arc::default(),
            operations: Arc::new(Operations::new("test", status, Arc::new(Traffic::new(&PATHS).unwrap()))),
            dead_letters: None,
            shutdown: Shutdown::new(),
        };
        Server::serve(config(), routes(Arc::new(api)).map(Reply::into_response)).await
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl EventStore for Watched {
    async fn admit(
        &self,
        partition: i32,
        events: Vec<EventRecord>,
        next: LogPosition,
    ) -> Result<Vec<Admission>, StoreError> {
        self.store.admit(partition, events, next).await
    }

    fn admissions(&self) -> watch::Receiver<()> {
        self.store.admissions()
    }

    async fn erase(&self, partition: i32, erasure: &Erasure, next: LogPosition) -> Result<(), StoreError> {
        self.store.erase(partition, erasure, next).await
    }

    fn erased_below(&self, partition: i32) -> i64 {
        self.store.erased_below(partition)
    }

    async fn is_erased(&self, partition: i32, user_id: &str, offset: i64) -> Result<bool, StoreError> {
        self.store.is_erased(partition, user_id, offset).await
    }

    fn erasures(&self) -> ErasureCounts {
        self.store.erasures()
    }

    async fn get(&self, id: Uuid) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        self.store.get(id).await
    }

    async fn wait_for(&self, id: Uuid, at_most: Duration) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        self.store.wait_for(id, at_most).await
    }

    async fn end(&self) -> Result<Positions, StoreError> {
        self.store.end().await
    }

    async fn read(&self, query: &EventQuery, within: Span, limit: usize) -> Result<EventPage, StoreError> {
        if self.reads.fetch_add(1, Ordering::Relaxed) >= self.fails_after {
            return Err(StoreError::new("as asked"));
        }
        self.store.read(query, within, limit).await
    }

    async fn set_partition_count(&self, partitions: usize) -> Result<(), StoreError> {
        self.store.set_partition_count(partitions).await
    }

    fn max_events_per_partition(&self) -> u64 {
        self.store.max_events_per_partition()
    }

    async fn is_full(&self, partition: i32) -> Result<bool, StoreError> {
        self.store.is_full(partition).await
    }

    async fn forget(&self, partition: i32) -> Result<(), StoreError> {
        self.store.forget(partition).await
    }
}

fn event(number: usize, payload: Option<&RawValue>) -> EventRecord {
    let event = ActivityEvent::new(Uuid::from_u128(number as u128), "user", "LOGIN", Utc::now(), payload);
    EventRecord { offset: number as i64, written_at: 0, event }
}

fn events_in(body: &[u8]) -> usize {
    body.windows(11).filter(|window| window == b"{\"eventId\":").count()
}

const GET: &str = "GET /events/processed HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_long_listing_arrives_whole() {
    let server = Watched::full(usize::MAX).await.serve().await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.head().await.contains("transfer-encoding: chunked"));
    let body = client.rest().await;
    assert!(body.ends_with(b"]\r\n0\r\n\r\n"));
    assert_eq!(events_in(&body), EVENTS);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_read_for_no_further_than_sockets_hold() {
    let store = Watched::full(usize::MAX).await;
    let server = store.serve().await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.head().await;
    // The paused clock goes on only when the server can write no more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let blocked = store.reads();
    assert!(blocked < EVENTS / 512, "{blocked} pages were read for a client that did not read");

    // Nothing is locked meanwhile, and what comes now is not part of an answer that began before.
    store.admit(0, vec![event(EVENTS, None)], 0.into()).await.unwrap();
    let body = client.rest().await;
    assert!(body.ends_with(b"]\r\n0\r\n\r\n"), "it goes on where it was");
    assert_eq!(events_in(&body), EVENTS);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_many_bytes_ends_early_and_links_to_the_rest() {
    let server = Watched::full(usize::MAX).await.serve().await;
    let mut found = Vec::new();
    let mut path = Some("/events/processed?limit=10000".to_owned());
    while let Some(next) = path {
        let mut client = server.connect().await;
        client.send(format!("GET {next} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await;
        let head = client.head().await;
        let link = head.lines().find_map(|line| line.strip_prefix("link: <"));
        path = link.and_then(|link| link.split_once('>')).map(|(next, _)| next.to_owned());
        let body = client.rest().await;
        assert!(body.len() < 9 * 1024 * 1024, "{} bytes in a page", body.len());
        found.push(events_in(&body));
    }
    assert_eq!(found.iter().sum::<usize>(), EVENTS);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_in_the_middle_breaks_the_answer_off() {
    let server = Watched::full(3).await.serve().await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    let body = client.rest().await;
    assert!(!body.is_empty());
    assert!(!body.ends_with(b"0\r\n\r\n"), "the last chunk would say that this was all");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_once_is_503() {
    let server = Watched::full(0).await.serve().await;
    let mut client = server.connect().await;
    for path in ["/events/processed", "/api/events?limit=5"] {
        let answer = client.get(path).await;
        let problem = answer.problem(503);
        assert!(answer.header("retry-after").is_some());
        assert!(!problem.to_string().contains("as asked"), "the cause is for the log: {problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_gets_the_head_of_the_answer_and_no_body() {
    let server = Watched::full(usize::MAX).await.serve().await;
    let mut client = server.connect().await;
    for path in ["/events/processed", "/health", "/nowhere"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        let head = client.head().await;
        assert!(head.contains("json\r\n"), "{head}");
    }
    assert_eq!(client.get("/health").await.status, 200, "nothing is left over in between");
}
