//! Health and readiness: whether the process lives, and whether it should get traffic.

use std::{collections::BTreeMap, sync::Arc};

use highwater_kafka::{GroupPhase, GroupStatus, KafkaStatus, PartitionStatus};
use highwater_table::TableStatus;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::{Reply, http::StatusCode, reply::Response};

use super::{Operations, visibility::Visibility};
use crate::{
    http::{Problem, answer},
    shutdown::Stage,
};

/// The time after which to ask again whether the service is ready, in seconds.
const RETRY_AFTER: u32 = 1;

/// How the service is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    /// The process lives.
    #[schemars(extend("const" = "up"))]
    status: &'static str,
    /// Its name.
    service: &'static str,
    /// Its version.
    version: &'static str,
    /// Warnings about its settings, and about files that they name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Whether Kafka is the one inside this process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    embedded: bool,
    /// The cluster, where it needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<KafkaStatus>,
    /// The consumer group, where it reads one topic in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupStatus>,
    /// The consumer group by topic, where it reads several in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<Arc<str>, GroupStatus>,
    /// The state that it keeps by the log, a topic each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    state: Vec<TableStatus>,
    #[serde(flatten)]
    #[schemars(skip)]
    status_source: Map<String, Value>,
}

/// The service is to get traffic.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ready {
    /// It is ready.
    #[schemars(extend("const" = "ready"))]
    status: &'static str,
}

/// `GET /health`: 200 while the process lives, whatever the state of Kafka, which is in the body.
pub(super) fn health(operations: &Operations, visibility: Visibility) -> Response {
    let mut groups: BTreeMap<Arc<str>, GroupStatus> = operations
        .memberships
        .iter()
        .map(|membership| {
            let group = membership.status.borrow().group.clone();
            (Arc::clone(&membership.topic), visibility.group(group))
        })
        .collect();
    let group = if groups.len() == 1 { groups.pop_first().map(|(_, group)| group) } else { None };
    let body = Health {
        status: "up",
        service: operations.service,
        version: env!("CARGO_PKG_VERSION"),
        warnings: operations
            .status_source
            .iter()
            .flat_map(|status_source| status_source.warnings())
            .chain(operations.warnings.iter().cloned())
            .collect(),
        embedded: operations.embedded,
        kafka: operations.kafka().map(|kafka| visibility.kafka(kafka)),
        group,
        groups,
        state: operations.tables.iter().map(|table| visibility.table(table.status())).collect(),
        status_source: operations
            .status_source
            .as_ref()
            .map(|status_source| visibility.members_of_health(status_source.health()))
            .unwrap_or_default(),
    };
    answer(StatusCode::OK, &body)
}

/// `GET /ready`: 200 when Kafka answers, the state is read, and the first assignment is restored and read to the end that it
/// had then. Else 503 with the missing part and its progress.
pub(super) fn ready(operations: &Operations, visibility: Visibility) -> Response {
    readiness(operations, visibility, obstacle(operations))
}

/// `GET /ready/read`: 200 when the state that reads need is restored, even if Kafka has failed since.
pub(super) fn ready_to_read(operations: &Operations, visibility: Visibility) -> Response {
    readiness(operations, visibility, reading_obstacle(operations))
}

fn readiness(operations: &Operations, visibility: Visibility, obstacle: Option<String>) -> Response {
    match obstacle.map(|obstacle| visibility.text(obstacle)) {
        None => answer(StatusCode::OK, &Ready { status: "ready" }),
        Some(obstacle) => {
            let mut partitions = Vec::new();
            for membership in &operations.memberships {
                partitions.extend(membership.status.borrow().group.partitions.iter().map(progress));
            }
            not_ready(obstacle, partitions).into_response()
        }
    }
}

/// 503: the reason why the service is not ready, and the progress of each partition.
pub(super) fn not_ready(obstacle: String, partitions: Vec<Value>) -> Problem {
    Problem::unavailable(obstacle, RETRY_AFTER).with_member("partitions", partitions)
}

/// The progress of a partition to its goal.
pub(super) fn progress(partition: &PartitionStatus) -> Value {
    json!({
        "partition": partition.partition,
        "restored": partition.restored,
        "position": partition.position,
        "goal": partition.goal,
    })
}

/// The reason why the service is not ready. The order of the reasons is that of a start.
pub(super) fn obstacle(operations: &Operations) -> Option<String> {
    if operations.shutdown.stage() > Stage::Running {
        return Some("the service is stopping".to_owned());
    }
    if let Some(kafka) = operations.kafka() {
        if !kafka.connected {
            return Some(format!("Kafka cannot be reached{}", because(&kafka.error)));
        }
        if let Some(refusal) = kafka.refusal() {
            return Some(format!("Kafka takes nothing that is written: {}", refusal.reason));
        }
    }
    reading_obstacle(operations)
}

/// The reason why the service cannot answer reads: its state is not restored.
fn reading_obstacle(operations: &Operations) -> Option<String> {
    if let Some(obstacle) =
        operations.status_source.as_ref().and_then(|status_source| status_source.obstacle())
    {
        return Some(obstacle);
    }
    let mut tables = operations.tables.iter().map(|table| table.status());
    if let Some(table) = tables.find(|table| !table.complete) {
        return Some(format!("topic {} is not read to its end yet", table.topic));
    }
    operations.memberships.iter().find_map(|membership| {
        let status = membership.status.borrow();
        (!status.group.is_restored()).then(|| obstacle_of(&status.group))
    })
}

fn obstacle_of(group: &GroupStatus) -> String {
    let waiting = match group.phase {
        GroupPhase::Finding => "the group's coordinator is being looked for",
        GroupPhase::Joining => "the group is gathering",
        GroupPhase::Syncing => "the group's partitions are being assigned",
        GroupPhase::Revoking => "partitions are being given up",
        GroupPhase::Assigned => {
            let all = group.partitions.len();
            let restored = group.partitions.iter().filter(|partition| partition.restored).count();
            let caught_up = group.partitions.iter().filter(|partition| partition.is_caught_up()).count();
            let error = because(&group.error);
            return match restored {
                0 if all == 0 => format!("no partition is assigned yet{error}"),
                _ if restored < all => format!("{restored} of {all} partitions are restored{error}"),
                _ => format!("{caught_up} of {all} partitions are read to the end they had{error}"),
            };
        }
        _ => "this member has left the group",
    };
    format!("{waiting}{}", because(&group.error))
}

fn because(error: &Option<String>) -> String {
    error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}
