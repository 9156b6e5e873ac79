//! Whether the process lives, and whether it should get traffic.

use serde::Serialize;
use serde_json::{Value, json};
use warp::{Reply, reply::Response};

use super::super::routes::Api;
use crate::{
    http::Problem,
    messaging::{GroupPhase, GroupStatus, KafkaStatus, PartitionStatus, Status},
    store::Stats,
};

/// How soon to ask again whether the service is ready, in seconds.
const RETRY_AFTER: u32 = 1;

/// `GET /health`: 200 while the process lives, whatever became of Kafka; its state is in the body.
pub(in super::super) fn health(api: &Api) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        status: &'static str,
        service: &'static str,
        version: &'static str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        embedded: bool,
        kafka: &'a KafkaStatus,
        group: &'a GroupStatus,
        #[serde(skip_serializing_if = "Option::is_none")]
        store: Option<Store>,
    }
    #[derive(Serialize)]
    struct Store {
        #[serde(flatten)]
        stats: Stats,
        /// Of the duplicates those since the start that said something else.
        conflicts: u64,
    }
    let status = api.status.borrow().clone();
    answer(&Body {
        status: "up",
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        embedded: api.embedded,
        kafka: &status.kafka,
        group: &status.group,
        store: api.store.stats().map(|stats| Store { stats, conflicts: api.conflicts.count() }),
    })
}

/// `GET /ready`: 200 when Kafka answers and the first assignment is restored and read to the end that it had then,
/// else 503 with what is missing and how far it is.
pub(in super::super) fn ready(api: &Api) -> Response {
    #[derive(Serialize)]
    struct Body {
        status: &'static str,
    }
    let status = api.status.borrow().clone();
    if status.is_ready() {
        return answer(&Body { status: "ready" });
    }
    let partitions: Vec<_> = status.group.partitions.iter().map(progress).collect();
    Problem::unavailable(obstacle(&status), RETRY_AFTER).with_member("partitions", partitions).into_response()
}

/// How far a partition is on its way to where it is to be.
fn progress(partition: &PartitionStatus) -> Value {
    json!({
        "partition": partition.partition,
        "restored": partition.restored,
        "position": partition.position,
        "goal": partition.goal,
    })
}

pub(super) fn answer(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => super::json(body),
        Err(error) => {
            log::error!("an answer cannot be serialized: {error}");
            Problem::internal().into_response()
        }
    }
}

/// What keeps the service from being ready, in the order in which it comes to be.
fn obstacle(status: &Status) -> String {
    let because =
        |error: &Option<String>| error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    if !status.kafka.connected {
        return format!("Kafka cannot be reached{}", because(&status.kafka.error));
    }
    let group = &status.group;
    let waiting = match group.phase {
        GroupPhase::Finding => "the group's coordinator is being looked for",
        GroupPhase::Joining => "the group is gathering",
        GroupPhase::Syncing => "the group's partitions are being assigned",
        GroupPhase::Revoking => "partitions are being given up",
        GroupPhase::Left => "this member has left the group",
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
    };
    format!("{waiting}{}", because(&group.error))
}
