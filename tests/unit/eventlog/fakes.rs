//! Both databases in memory, and the service on them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use highwater_eventlog::{
    Api, Bucket, DatabaseError, DatabaseResult, DetailsPage, DetailsStore, EventLog, Front, Insertion,
    Limits, ListingPosition, ListingQuery, LoggedEvent, Metadata, MetadataStore, PATHS, PutOutcome,
    RecordedPage, Row, routes,
};
use highwater_web::{
    http::{BodyLimits, Traffic},
    operations::Operations,
};
use uuid::Uuid;

use crate::rest::service::Answer;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const GRACE: Duration = Duration::from_secs(35);

/// The failure of a call.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// It is not done, and says why.
    Fails(DatabaseError),
    /// It is done, but the answer is lost.
    FailsAfter(DatabaseError),
    /// It is not done, and nothing is said.
    Hangs,
    /// It is done, and nothing is said.
    HangsAfter,
}

/// The failures to inject, by call and count.
#[derive(Debug, Default)]
pub(crate) struct Script(Mutex<HashMap<&'static str, (Trouble, usize)>>);

impl Script {
    pub(crate) fn set(&self, call: &'static str, trouble: Trouble, times: usize) {
        self.0.lock().unwrap().insert(call, (trouble, times));
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    async fn around<T>(&self, call: &'static str, work: impl FnOnce() -> T + Send) -> DatabaseResult<T> {
        let trouble = {
            let mut script = self.0.lock().unwrap();
            let planned = script.get_mut(call).filter(|(_, times)| *times > 0);
            planned.map(|(trouble, times)| {
                *times -= 1;
                trouble.clone()
            })
        };
        match trouble {
            None => Ok(work()),
            Some(Trouble::Fails(error)) => Err(error),
            Some(Trouble::FailsAfter(error)) => {
                work();
                Err(error)
            }
            Some(Trouble::Hangs) => std::future::pending().await,
            Some(Trouble::HangsAfter) => {
                work();
                std::future::pending().await
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct FakeMetadata {
    pub(crate) script: Script,
    pub(crate) rows: Mutex<Vec<Row>>,
    pub(crate) swept_until: Mutex<DateTime<Utc>>,
}

#[async_trait]
impl MetadataStore for FakeMetadata {
    async fn insert(&self, metadata: &Metadata) -> DatabaseResult<Insertion> {
        let work = || {
            let mut rows = self.rows.lock().unwrap();
            if rows.iter().any(|row| row.metadata.event_id == metadata.event_id) {
                return Insertion::Already;
            }
            let sequence = rows.len() as i64 + 1;
            rows.push(Row { metadata: metadata.clone(), sequence });
            Insertion::New
        };
        self.script.around("insert", work).await
    }

    async fn list(
        &self,
        query: &ListingQuery,
        after: Option<ListingPosition>,
        most: usize,
    ) -> DatabaseResult<Vec<Row>> {
        let work = || {
            let mut rows = self.rows.lock().unwrap().clone();
            rows.sort_by_key(|row| std::cmp::Reverse(row.position()));
            rows.retain(|row| {
                let metadata = &row.metadata;
                metadata.user_id == query.user_id
                    && query.event_type.as_ref().is_none_or(|wanted| *wanted == metadata.event_type)
                    && query.from.is_none_or(|from| metadata.timestamp >= from)
                    && query.to.is_none_or(|to| metadata.timestamp < to)
                    && after.is_none_or(|after| row.position() < after)
            });
            rows.truncate(most);
            rows
        };
        self.script.around("list", work).await
    }

    async fn of_id(&self, event_id: Uuid) -> DatabaseResult<Option<Metadata>> {
        let work = || {
            let rows = self.rows.lock().unwrap();
            rows.iter().find(|row| row.metadata.event_id == event_id).map(|row| row.metadata.clone())
        };
        self.script.around("of_id", work).await
    }

    async fn find(&self, user_id: &str, event_id: Uuid) -> DatabaseResult<Option<Row>> {
        let is_it = |row: &&Row| row.metadata.event_id == event_id && row.metadata.user_id == user_id;
        self.script.around("find", || self.rows.lock().unwrap().iter().find(is_it).cloned()).await
    }

    async fn known(&self, ids: &[Uuid]) -> DatabaseResult<HashSet<Uuid>> {
        let work = || {
            let rows = self.rows.lock().unwrap();
            rows.iter().map(|row| row.metadata.event_id).filter(|id| ids.contains(id)).collect()
        };
        self.script.around("known", work).await
    }

    async fn swept_until(&self) -> DatabaseResult<DateTime<Utc>> {
        self.script.around("swept_until", || *self.swept_until.lock().unwrap()).await
    }

    async fn sweep_reached(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> DatabaseResult<()> {
        let work = || {
            let mut mark = self.swept_until.lock().unwrap();
            if from <= *mark {
                *mark = until.max(*mark);
            }
        };
        self.script.around("sweep_reached", work).await
    }

    async fn probe(&self) -> DatabaseResult<()> {
        self.script.around("probe", || ()).await
    }
}

#[derive(Debug, Default)]
pub(crate) struct FakeDetails {
    pub(crate) script: Script,
    pub(crate) items: Mutex<HashMap<Uuid, LoggedEvent>>,
    /// Items that say too little.
    pub(crate) strange: Mutex<HashMap<Uuid, LoggedEvent>>,
    /// The most keys that a batch is answered for.
    pub(crate) most: Mutex<Option<usize>>,
    pub(crate) batches: Mutex<Vec<usize>>,
}

#[async_trait]
impl DetailsStore for FakeDetails {
    async fn put(&self, event: &LoggedEvent) -> DatabaseResult<PutOutcome> {
        let work = || {
            let mut items = self.items.lock().unwrap();
            let id = event.metadata.event_id;
            match items.get(&id) {
                Some(earlier) => PutOutcome::Already(Box::new(earlier.clone())),
                None => {
                    items.insert(id, event.clone());
                    PutOutcome::New
                }
            }
        };
        self.script.around("put", work).await
    }

    async fn take_back(&self, event: &LoggedEvent) -> DatabaseResult<()> {
        let work = || {
            let mut items = self.items.lock().unwrap();
            if items.get(&event.metadata.event_id) == Some(event) {
                items.remove(&event.metadata.event_id);
            }
        };
        self.script.around("take_back", work).await
    }

    async fn details(&self, ids: &[Uuid]) -> DatabaseResult<DetailsPage> {
        let work = || {
            assert!(!ids.is_empty() && ids.len() <= 100, "DynamoDB refuses a batch of {}", ids.len());
            self.batches.lock().unwrap().push(ids.len());
            let (now, later) = ids.split_at(self.most.lock().unwrap().unwrap_or(ids.len()).min(ids.len()));
            let items = self.items.lock().unwrap();
            let found = now.iter().filter_map(|id| Some((*id, items.get(id)?.details.clone()?)));
            DetailsPage { details: found.collect(), unprocessed: later.to_vec() }
        };
        self.script.around("details", work).await
    }

    async fn event(&self, id: Uuid) -> DatabaseResult<Option<LoggedEvent>> {
        self.script.around("event", || self.items.lock().unwrap().get(&id).cloned()).await
    }

    async fn recorded(
        &self,
        bucket: Bucket,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        page: Option<String>,
    ) -> DatabaseResult<RecordedPage> {
        const PAGE: usize = 2;
        let work = || {
            let (items, strange) = (self.items.lock().unwrap(), self.strange.lock().unwrap());
            let mut ids: Vec<Uuid> = items
                .values()
                .chain(strange.values())
                .filter(|event| Bucket::of(event) == bucket && (from..to).contains(&event.recorded_at))
                .map(|event| event.metadata.event_id)
                .collect();
            ids.sort();
            let begin: usize = page.map_or(0, |page| page.parse().unwrap());
            let end = (begin + PAGE).min(ids.len());
            RecordedPage { ids: ids[begin..end].to_vec(), next: (end < ids.len()).then(|| end.to_string()) }
        };
        self.script.around("recorded", work).await
    }

    async fn probe(&self) -> DatabaseResult<()> {
        self.script.around("probe", || ()).await
    }
}

/// The service under test, and both its databases.
pub(crate) struct Service {
    pub(crate) metadata: Arc<FakeMetadata>,
    pub(crate) details: Arc<FakeDetails>,
    pub(crate) log: Arc<EventLog>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::behind(Front::Server)
    }

    pub(crate) fn behind(front: Front) -> Self {
        let metadata = Arc::new(FakeMetadata {
            script: Script::default(),
            rows: Mutex::default(),
            swept_until: Mutex::new(Utc::now()),
        });
        let details = Arc::new(FakeDetails::default());
        let limits = Limits { timeout: TIMEOUT, grace: GRACE, front };
        let log = Arc::new(EventLog::new(metadata.clone(), details.clone(), limits));
        Self { metadata, details, log }
    }

    /// The state that the routes answer from.
    pub(crate) fn api(&self) -> Arc<Api> {
        let traffic = Arc::new(Traffic::new(&PATHS).unwrap());
        let operations = Operations {
            status_source: Some(self.log.clone()),
            ..Operations::without_kafka("highwater-eventlog", traffic)
        };
        Arc::new(Api {
            log: self.log.clone(),
            limits: BodyLimits { max_bytes: 1 << 20, max_depth: 32, timeout: Duration::from_secs(5) },
            operations: Arc::new(operations),
        })
    }

    pub(crate) async fn send(&self, request: warp::test::RequestBuilder) -> Answer {
        Answer(request.reply(&routes(self.api())).await)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(warp::test::request().path(path)).await
    }

    pub(crate) async fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.send(warp::test::request().method("POST").path("/events").body(body)).await
    }

    pub(crate) async fn post_with_key(&self, key: &str, body: impl AsRef<[u8]>) -> Answer {
        let request = warp::test::request().method("POST").path("/events").header("idempotency-key", key);
        self.send(request.body(body)).await
    }

    /// The ids of a listing, in its order.
    pub(crate) async fn listed(&self, path: &str) -> Vec<String> {
        ids(&self.get(path).await)
    }

    /// Sweeps as if it were so much later.
    pub(crate) async fn sweep_after(
        &self,
        later: Duration,
    ) -> DatabaseResult<highwater_eventlog::SweepReport> {
        self.log.sweep(Utc::now() + TimeDelta::from_std(later).unwrap(), None).await
    }

    pub(crate) fn rows(&self) -> usize {
        self.metadata.rows.lock().unwrap().len()
    }

    pub(crate) fn items(&self) -> usize {
        self.details.items.lock().unwrap().len()
    }
}

/// The ids in a JSON array of events.
pub(crate) fn ids(answer: &Answer) -> Vec<String> {
    let events = answer.ok(200);
    events.as_array().unwrap().iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect()
}

/// Where the next page is.
pub(crate) fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let path = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"");
    Some(path.unwrap_or_else(|| panic!("{link}")).to_owned())
}

/// An event of which only its id, user and time matter.
pub(crate) fn body(id: u128, user: &str, second: u32) -> String {
    format!(
        r#"{{"eventId":"{}","userId":"{user}","eventType":"LOGIN","timestamp":"2026-05-01T10:00:{second:02}Z","details":{{"n":{id}}}}}"#,
        Uuid::from_u128(id)
    )
}
