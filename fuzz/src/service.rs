//! The activity service without sockets and without Kafka: its filter tree, a store in memory, and a producer that takes
//! everything.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use highwater::{
    activity::{
        Api, Config, EventStreams, LoggedEvents, PATHS, PostedBatchLimits, StoreStatus, record, routes,
    },
    store::{self, ActivityEvent, EventRecord, EventStore as _, MemoryStore},
};
use highwater_kafka::{
    Message, PublishError, Publisher, Receipt, Record, Status, TypedProducer, group::GroupDescription,
};
use highwater_web::{
    http::{AdminAuth, BearerToken, BodyLimits, EVENT_STREAM, PROBLEM_JSON, Traffic},
    operations::{GroupMembership, Operations},
    shutdown::Shutdown,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::{Value, value::RawValue};
use tokio::{runtime, sync::watch};
use tower_service::Service as _;

/// The token of its admin.
pub(crate) const TOKEN: &str = "token";
/// How much of an answer without an end is read, in pieces.
const PIECES: usize = 4;

/// The service.
pub(crate) struct Service {
    api: Arc<Api>,
    producer: Arc<Producer>,
    store: Arc<MemoryStore>,
    runtime: runtime::Runtime,
}

/// A producer that takes everything.
#[derive(Default)]
struct Producer(Mutex<Vec<Message>>);

#[async_trait]
impl Publisher for Producer {
    async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        let mut taken = self.0.lock().expect("nobody panics with it");
        taken.push(message);
        Ok(Receipt { partition: 0, offset: Some(taken.len() as i64 - 1) })
    }
}

/// An answer, as far as it was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::within(BodyLimits { max_bytes: 2_048, max_depth: 64, timeout: Duration::from_secs(5) })
    }

    /// One that takes whatever one with bounds lists.
    pub(crate) fn unbounded() -> Self {
        Self::within(BodyLimits { max_bytes: 1 << 20, max_depth: 1_000, timeout: Duration::from_secs(5) })
    }

    fn within(limits: BodyLimits) -> Self {
        // Where all wait, the clock goes to the next thing that is due.
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let entered = runtime.enter();
        let producer = Arc::<Producer>::default();
        let store = Arc::new(MemoryStore::new(&store::Config { max_events: 1_000, max_bytes: u64::MAX }));
        let (shutdown, streams) = (Shutdown::new(), Arc::new(EventStreams::new(1)));
        let status = watch::channel(Status::default()).1;
        let operations = Operations {
            shutdown: shutdown.clone(),
            admin_auth: Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN)))),
            memberships: vec![GroupMembership {
                topic: "events".into(),
                status: status.clone(),
                counts: Arc::default(),
                description: Arc::new(GroupDescription::from_fn(|| Box::pin(ready(Ok(Vec::new()))))),
            }],
            status_source: Some(Arc::new(StoreStatus {
                store: store.clone(),
                conflicts: Arc::default(),
                listing_limit: Arc::default(),
                streams: Arc::clone(&streams),
                schemas: None,
            })),
            ..Operations::new("highwater", status, Arc::new(Traffic::new(&PATHS).expect("sound names")))
        };
        let api = Api {
            events: TypedProducer::new(producer.clone(), "/highwater"),
            store: store.clone(),
            config: Config {
                event_types: ["LOGIN", "LOGOUT"].map(String::from).into(),
                batch: PostedBatchLimits { max_events: 20, max_bytes: 4_096, pause: Duration::from_secs(5) },
                schemas: None,
                max_event_streams: 1,
                logged_events: LoggedEvents::NONE,
            },
            limits,
            listing_limit: Arc::default(),
            streams,
            rejections: Arc::default(),
            operations: Arc::new(operations),
            dead_letters: None,
            shutdown,
        };
        drop(entered);
        Self { api: Arc::new(api), producer, store, runtime }
    }

    /// Answers a request. The answer is a problem, or has a known shape.
    pub(crate) fn ask(&self, request: Request<Full<Bytes>>) -> Answer {
        let mut tree = warp::service(routes(Arc::clone(&self.api)));
        let answer = self.runtime.block_on(async {
            let answer = tree.call(request).await.unwrap_or_else(|never| match never {});
            let (head, mut body) = answer.into_parts();
            let is_endless = head.headers.get("content-type").is_some_and(|value| value == EVENT_STREAM);
            let (mut read, mut pieces) = (Vec::new(), 0);
            while !is_endless || pieces < PIECES {
                let Some(frame) = body.frame().await else { break };
                let frame = frame.expect("an answer does not break off");
                read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                pieces += 1;
            }
            Answer { status: head.status, headers: head.headers, body: read.into() }
        });
        answer.check();
        answer
    }

    /// Posts a body to that path, with these headers.
    pub(crate) fn post(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let mut request = Request::post(path).body(Full::new(Bytes::copy_from_slice(body))).expect("a path");
        *request.headers_mut() = headers.clone();
        self.ask(request)
    }

    /// The events that were taken since the last call, each as it is read from its record.
    pub(crate) fn taken(&self) -> Vec<ActivityEvent> {
        let messages = std::mem::take(&mut *self.producer.0.lock().expect("nobody panics with it"));
        messages.into_iter().map(read).collect()
    }

    /// Stores an event, as if it had been processed.
    pub(crate) fn processed(&self, offset: i64, event: ActivityEvent) {
        let record = EventRecord { offset, written_at: 0, event };
        self.runtime.block_on(self.store.admit(0, vec![record], 1.into())).expect("memory is there");
    }
}

/// What was acknowledged is an event to its reader, and the same one.
fn read(message: Message) -> ActivityEvent {
    let value = Bytes::from(message.value.expect("an event has a value"));
    let record = Record {
        partition: 0,
        offset: 0,
        leader_epoch: None,
        timestamp: DateTime::UNIX_EPOCH,
        key: None,
        value: Some(value.clone()),
        headers: Default::default(),
    };
    let event = record::parse(&record).unwrap_or_else(|fault| panic!("{fault}: {value:?}"));
    assert_eq!(event.json(), value);
    assert_eq!(message.key.as_deref(), Some(event.user_id().as_bytes()));
    event
}

impl Answer {
    fn check(&self) {
        let content_type =
            self.headers.get("content-type").map(|value| value.to_str().expect("a media type"));
        match (self.status.as_u16(), content_type) {
            (204 | 304, _) => assert!(self.body.is_empty()),
            (400..=599, content_type) => {
                assert_eq!(content_type, Some(PROBLEM_JSON));
                let problem = self.json();
                assert_eq!(problem["type"], "about:blank");
                assert_eq!(problem["status"], self.status.as_u16());
                assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
                assert_ne!(self.status, StatusCode::INTERNAL_SERVER_ERROR, "{problem}");
            }
            (200..=299, Some(_)) if self.headers.contains_key("content-encoding") => {}
            (200..=299, Some("application/x-ndjson")) => self.text().lines().for_each(is_json),
            (200..=299, Some(json)) if json.starts_with("application/") && json.ends_with("json") => {
                is_json(self.text());
            }
            (200..=299, Some(text))
                if text.starts_with("text/") || text.starts_with("application/openmetrics-text") =>
            {
                assert!(std::str::from_utf8(&self.body).is_ok());
            }
            (status, content_type) => panic!("{status} {content_type:?}: {:?}", self.body),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The body of an answer that has nothing of what a client sent but strings.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// Values of clients stay as they are: an escape in them may stand for nothing, and a number be larger than any float.
fn is_json(text: &str) {
    if let Err(error) = serde_json::from_str::<&RawValue>(text) {
        panic!("{error}: {text:?}");
    }
}
