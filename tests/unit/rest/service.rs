//! The routes on a fake producer and a store in memory.

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeZone, Utc};
use highwater::{
    activity::{
        Api, ConcurrencyLimit, Config, Conflicts, EventStreams, LoggedEvents, PATHS, PostedBatchLimits,
        Rejections, Schemas, StoreStatus, routes,
    },
    store::{self, ActivityEvent, EventRecord, EventStore, MemoryStore},
};
use highwater_kafka::{
    Message, PublishError, Publisher, Receipt, Status, TypedProducer, group::GroupDescription,
};
use highwater_web::{
    dead_letters::DlqAdmin,
    http::{AdminAuth, BodyLimits, Traffic},
    operations::{GroupMembership, Operations},
    shutdown::Shutdown,
};
use serde_json::{Value, value::RawValue};
use tokio::sync::watch;
use uuid::Uuid;
use warp::http::Response;

/// A producer that keeps its messages and returns a set outcome.
pub(crate) struct FakePublisher {
    sent: Mutex<Vec<Message>>,
    outcome: Mutex<Result<Receipt, PublishError>>,
}

#[async_trait]
impl Publisher for FakePublisher {
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        self.sent.lock().unwrap().push(message);
        self.outcome.lock().unwrap().clone()
    }
}

/// A default, changed: the library's status has no literals outside of it.
pub(crate) fn changed<T: Default>(change: impl FnOnce(&mut T)) -> T {
    let mut value = T::default();
    change(&mut value);
    value
}

/// The service under test.
pub(crate) struct Service {
    pub(crate) publisher: Arc<FakePublisher>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) description: Arc<GroupDescription>,
    pub(crate) conflicts: Arc<Conflicts>,
    pub(crate) embedded: bool,
    pub(crate) logged_events: LoggedEvents,
    pub(crate) admin_auth: Option<Arc<AdminAuth>>,
    pub(crate) schemas: Option<Schemas>,
    pub(crate) limits: BodyLimits,
    pub(crate) max_batch_bytes: usize,
    pub(crate) listing_limit: Arc<ConcurrencyLimit>,
    pub(crate) streams: Arc<EventStreams>,
    pub(crate) rejections: Arc<Rejections>,
    pub(crate) dead_letters: Option<Arc<DlqAdmin>>,
    pub(crate) shutdown: Shutdown,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self {
            publisher: Arc::new(FakePublisher {
                sent: Mutex::default(),
                outcome: Mutex::new(Ok(Receipt { partition: 2, offset: Some(41) })),
            }),
            store: Arc::new(MemoryStore::new(&store::Config { max_events: 100_000, max_bytes: u64::MAX })),
            status: watch::channel(Status::default()).0,
            description: Arc::new(GroupDescription::from_fn(|| Box::pin(ready(Ok(Vec::new()))))),
            conflicts: Arc::default(),
            embedded: false,
            logged_events: LoggedEvents::ALL,
            admin_auth: None,
            schemas: None,
            limits: BodyLimits {
                max_bytes: 64 * 1024,
                max_depth: 32,
                timeout: std::time::Duration::from_secs(5),
            },
            max_batch_bytes: 128 * 1024,
            listing_limit: Arc::default(),
            streams: Arc::new(EventStreams::new(2)),
            rejections: Arc::default(),
            dead_letters: None,
            shutdown: Shutdown::new(),
        }
    }

    pub(crate) fn that_answers(outcome: Result<Receipt, PublishError>) -> Self {
        let service = Self::new();
        *service.publisher.outcome.lock().unwrap() = outcome;
        service
    }

    /// The messages of the producer since the last call.
    pub(crate) fn sent(&self) -> Vec<Message> {
        std::mem::take(&mut *self.publisher.sent.lock().unwrap())
    }

    /// The state that the routes answer from.
    pub(crate) fn api(&self) -> Api {
        let membership = GroupMembership {
            topic: "events".into(),
            status: self.status.subscribe(),
            counts: Arc::default(),
            description: Arc::clone(&self.description),
        };
        let store_status = StoreStatus {
            store: self.store.clone(),
            conflicts: self.conflicts.clone(),
            listing_limit: Arc::clone(&self.listing_limit),
            streams: Arc::clone(&self.streams),
            schemas: self.schemas.clone(),
        };
        let operations = Operations {
            embedded: self.embedded,
            shutdown: self.shutdown.clone(),
            admin_auth: self.admin_auth.clone(),
            memberships: vec![membership],
            status_source: Some(Arc::new(store_status)),
            ..Operations::new("highwater", self.status.subscribe(), Arc::new(Traffic::new(&PATHS).unwrap()))
        };
        Api {
            events: TypedProducer::new(self.publisher.clone(), "/highwater"),
            store: self.store.clone(),
            config: Config {
                event_types: ["LOGIN", "LOGOUT", "PRODUCT_VIEW"].map(String::from).into(),
                batch: PostedBatchLimits {
                    max_events: 100,
                    max_bytes: self.max_batch_bytes,
                    pause: std::time::Duration::from_secs(5),
                },
                schemas: self.schemas.clone(),
                max_event_streams: 2,
                logged_events: self.logged_events,
            },
            limits: self.limits,
            listing_limit: Arc::clone(&self.listing_limit),
            streams: Arc::clone(&self.streams),
            rejections: Arc::clone(&self.rejections),
            operations: Arc::new(operations),
            dead_letters: self.dead_letters.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    pub(crate) async fn send(&self, request: warp::test::RequestBuilder) -> Answer {
        Answer(request.reply(&routes(Arc::new(self.api()))).await)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(warp::test::request().path(path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(warp::test::request().method("POST").path(path).body(body)).await
    }

    /// Stores an event of partition 0, as if it had been processed.
    pub(crate) async fn processed(&self, event: ActivityEvent) {
        self.store.admit(0, vec![EventRecord { offset: 0, written_at: 0, event }], 1.into()).await.unwrap();
    }
}

/// An event with these fields and a fixed payload.
pub(crate) fn event(number: u128, user_id: &str, event_type: &str) -> ActivityEvent {
    event_at(number, user_id, event_type, Utc.with_ymd_and_hms(2026, 5, 1, 10, 0, 0).unwrap())
}

pub(crate) fn event_at(
    number: u128,
    user_id: &str,
    event_type: &str,
    timestamp: DateTime<Utc>,
) -> ActivityEvent {
    let payload: &RawValue = serde_json::from_str("{\"n\":1.0}").unwrap();
    ActivityEvent::new(Uuid::from_u128(number), user_id, event_type, timestamp, Some(payload))
}

/// An answer, with assertions.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Response<Bytes>);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.0.body()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.0.body()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer, which must have this status and be JSON.
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// The body of an answer, which must be a complete problem of this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], status);
        assert_eq!(body["title"], self.0.status().canonical_reason().unwrap());
        assert!(!body["detail"].as_str().unwrap().is_empty());
        body
    }

    /// The fields that a 400 names, in order.
    pub(crate) fn faults(&self) -> Vec<String> {
        let body = self.problem(400);
        let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        for error in errors {
            assert!(!error["message"].as_str().unwrap().is_empty(), "{body}");
        }
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}
