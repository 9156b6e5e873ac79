//! The routes for operators that every service has: `/health`, `/ready`, `/group` and `/metrics`.

mod group;
mod health;
mod metrics;
mod open_metrics;
mod openapi;
mod process;
mod visibility;

use std::{fmt, sync::Arc};

use highwater_kafka::{
    ConsumerCounts, ConsumerHandle, KafkaStatus, Producer, Status, group::GroupDescription,
};
use highwater_table::TableStatusSource;
use serde_json::{Map, Value};
use tokio::{sync::watch, time::Instant};
use visibility::Visibility;
use warp::{Filter, Reply, http::HeaderValue, reply::Response};

pub use metrics::{LabelledCounter, Metric, MetricKind};
pub use openapi::{ConsumedTopics, describe};

use crate::{
    auth::{Grant, Need, grant},
    http::{AdminAuth, Path, Route, Traffic, caller, first_of, header, reads, with},
    shutdown::Shutdown,
};

/// The sources of a service's status.
pub struct Operations {
    /// Its name.
    pub service: &'static str,
    /// The warnings about its settings, for those who run it.
    pub warnings: Vec<String>,
    /// Whether Kafka is the broker inside this process.
    pub embedded: bool,
    /// The status of Kafka, where the service uses it.
    pub kafka: Option<watch::Receiver<Status>>,
    /// The memberships in consumer groups.
    pub memberships: Vec<GroupMembership>,
    /// The event-sourced tables.
    pub tables: Vec<Arc<dyn TableStatusSource>>,
    /// The producers.
    pub producers: Vec<Arc<Producer>>,
    /// The stop, which `/ready` reports.
    pub shutdown: Shutdown,
    /// Checks the admin token, which shows addresses; without it, nobody sees them.
    pub admin_auth: Option<Arc<AdminAuth>>,
    /// The counters of requests.
    pub traffic: Arc<Traffic>,
    /// The status that only this service has.
    pub status_source: Option<Arc<dyn StatusSource>>,
}

/// The membership for one topic that a service reads as a member of a group.
#[derive(Debug, Clone)]
pub struct GroupMembership {
    /// The topic.
    pub topic: Arc<str>,
    /// The status of the group, as this member sees it.
    pub status: watch::Receiver<Status>,
    /// The counters.
    pub counts: Arc<ConsumerCounts>,
    /// The members of the group.
    pub description: Arc<GroupDescription>,
}

impl GroupMembership {
    /// The membership of a running consumer.
    pub fn new(consuming: &ConsumerHandle, status: watch::Receiver<Status>) -> Self {
        Self {
            topic: Arc::clone(consuming.topic()),
            status,
            counts: consuming.counts(),
            description: Arc::clone(consuming.group_description()),
        }
    }
}

/// The status of one service beside what all services have.
pub trait StatusSource: Send + Sync + 'static {
    /// Members of the body of `/health`.
    fn health(&self) -> Map<String, Value>;

    /// The reason why the service is not ready, beside those that all services share.
    fn obstacle(&self) -> Option<String> {
        None
    }

    /// Warnings for `/health`, beside those about the settings.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Metrics for `/metrics`.
    fn metrics(&self) -> Vec<Metric>;

    /// Metrics with a label.
    fn labelled_counters(&self) -> Vec<LabelledCounter> {
        Vec::new()
    }
}

impl Operations {
    /// The operations of a service that has no topics and no state so far.
    pub fn new(service: &'static str, kafka: watch::Receiver<Status>, traffic: Arc<Traffic>) -> Self {
        Self { kafka: Some(kafka), ..Self::without_kafka(service, traffic) }
    }

    /// The operations of a service without Kafka.
    pub fn without_kafka(service: &'static str, traffic: Arc<Traffic>) -> Self {
        Self {
            service,
            warnings: Vec::new(),
            embedded: false,
            kafka: None,
            memberships: Vec::new(),
            tables: Vec::new(),
            producers: Vec::new(),
            shutdown: Shutdown::new(),
            admin_auth: None,
            traffic,
            status_source: None,
        }
    }

    /// The status of the cluster, of all parts of the service together.
    fn kafka(&self) -> Option<KafkaStatus> {
        let mut kafka = self.kafka.as_ref()?.borrow().kafka.clone();
        for membership in &self.memberships {
            let other = membership.status.borrow().kafka.clone();
            kafka.connected &= other.connected;
            kafka.error = kafka.error.or(other.error);
            kafka.brokers.extend(other.brokers);
            kafka.warnings.extend(other.warnings);
            kafka.notices.extend(other.notices);
            kafka.refusals.extend(other.refusals);
        }
        let now = Instant::now();
        let notices = std::mem::take(&mut kafka.notices).into_iter().filter(|notice| notice.until > now);
        kafka.warnings.extend(notices.map(|notice| notice.text));
        kafka.brokers.sort_by(|one, other| one.broker.cmp(&other.broker));
        kafka.brokers.dedup_by(|one, other| one.broker == other.broker);
        kafka.refusals.sort_by(|one, other| one.topic.cmp(&other.topic));
        kafka.refusals.dedup_by(|one, other| one.topic == other.topic);
        kafka.warnings.sort();
        kafka.warnings.dedup();
        Some(kafka)
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("service", &self.service).finish_non_exhaustive()
    }
}

const READ: &str = "GET, HEAD, OPTIONS";

/// The paths that every service has.
pub const PATHS: &[Path] = &[
    ("/health", READ, Need::Nothing),
    ("/ready", READ, Need::Nothing),
    ("/ready/read", READ, Need::Nothing),
    ("/metrics", READ, Need::Operations),
    ("/openapi.json", READ, Need::Nothing),
    ("/swagger", READ, Need::Nothing),
    ("/swagger/{file}", READ, Need::Nothing),
];

/// The path of a service that is a member of a consumer group.
pub const GROUP_PATHS: &[Path] = &[("/group", READ, Need::Operations)];

/// `GET /health`, `/ready`, `/ready/read`, `/group` and `/metrics`.
pub fn routes(operations: &Arc<Operations>) -> Route {
    let at = |path: &'static str| {
        let path =
            path.split('/').fold(warp::any().boxed(), |whole, part| whole.and(warp::path(part)).boxed());
        path.and(warp::path::end())
            .and(reads())
            .and(with(operations))
            .and(header("authorization"))
            .and(caller())
            .and(grant())
    };
    let known = |path: &'static str, answer: fn(&Operations, Visibility) -> Response| {
        at(path)
            .then(move |operations: Arc<Operations>, token: Option<HeaderValue>, caller, grant: Grant| async move {
                match Visibility::of(&operations, &grant, token.as_ref(), caller, path).await {
                    Ok(visibility) => answer(&operations, visibility),
                    Err(problem) => problem.into_response(),
                }
            })
            .boxed()
    };
    let group = at("group").then(
        |operations: Arc<Operations>, token: Option<HeaderValue>, caller, grant: Grant| async move {
            match Visibility::of(&operations, &grant, token.as_ref(), caller, "group").await {
                Ok(visibility) => group::group(operations, visibility).await,
                Err(problem) => problem.into_response(),
            }
        },
    );
    let metrics = at("metrics").and(header("accept")).then(
        |operations: Arc<Operations>,
         token: Option<HeaderValue>,
         caller,
         grant: Grant,
         accept: Option<HeaderValue>| async move {
            match Visibility::of(&operations, &grant, token.as_ref(), caller, "metrics").await {
                Ok(visibility) => metrics::metrics(&operations, visibility, accept.as_ref()),
                Err(problem) => problem.into_response(),
            }
        },
    );
    first_of([
        known("health", health::health),
        known("ready", health::ready),
        known("ready/read", health::ready_to_read),
        group.boxed(),
        metrics.boxed(),
    ])
}
