//! `DELETE /api/events/user/{userId}` erases a user's events, and `GET /api/events/erasures/{erasureId}` tells the state of
//! the erasure.
//!
//! A marker goes to each partition, since a user's older events may be in any: the number of partitions may have been
//! another. The offsets of the markers are the receipt's id. So it means the same on every instance and after every restart,
//! and nothing needs to be kept for it.

use std::collections::BTreeMap;

use futures::future::join_all;
use highwater_kafka::{PublishError, Receipt};
use highwater_web::{
    http::{Problem, json},
    publish_problem::publish_problem,
};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use super::store_unavailable;
use crate::{
    activity::{Api, coverage::PARTITIONS, cursor, topic_record::marker},
    store::Positions,
};

/// An erasure.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::activity) struct ErasureReceipt {
    /// Its id, to ask for it by.
    erasure_id: String,
    /// `done` once it is applied in each partition.
    state: ErasureState,
    /// Its markers, one in each partition of the topic.
    partitions: Vec<Marker>,
}

/// How far an erasure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum ErasureState {
    Pending,
    Done,
}

/// The marker of an erasure in a partition.
#[derive(Debug, Serialize, JsonSchema)]
struct Marker {
    partition: i32,
    offset: i64,
    /// `applied` once the store has erased what came before it. With the store in memory, `elsewhere` where another instance
    /// has the partition.
    state: MarkerState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum MarkerState {
    Written,
    Applied,
    Elsewhere,
}

impl ErasureReceipt {
    /// The receipt of these markers, of which each is as far as `state` says.
    fn new(markers: Positions, state: impl Fn(i32, i64) -> MarkerState) -> Self {
        let erasure_id = cursor::encode(&markers);
        let marker = |(partition, offset)| Marker { partition, offset, state: state(partition, offset) };
        let partitions: Vec<_> = markers.0.into_iter().map(marker).collect();
        let is_done = partitions.iter().all(|marker| marker.state == MarkerState::Applied);
        let state = if is_done { ErasureState::Done } else { ErasureState::Pending };
        Self { erasure_id, state, partitions }
    }

    /// An erasure whose markers are written, at these offsets.
    pub(in crate::activity) fn written(markers: impl IntoIterator<Item = (i32, i64)>) -> Self {
        Self::new(Positions(markers.into_iter().collect()), |_, _| MarkerState::Written)
    }
}

/// 202 with a receipt, once Kafka has acknowledged a marker in each partition.
pub(in crate::activity) async fn erase(api: &Api, user_id: &str) -> Response {
    match write_markers(api, user_id).await {
        Ok(markers) => {
            let receipt = ErasureReceipt::written(markers);
            log::info!(target: "highwater::erasure", erasureId = receipt.erasure_id.as_str(); "an erasure is written");
            let mut response = body(&receipt);
            *response.status_mut() = StatusCode::ACCEPTED;
            let location = format!("/api/events/erasures/{}", receipt.erasure_id);
            if let Ok(location) = HeaderValue::try_from(location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Err(error) => failure(error).into_response(),
    }
}

/// Writes the markers. Returns their offsets by partition.
async fn write_markers(api: &Api, user_id: &str) -> Result<BTreeMap<i32, i64>, PublishError> {
    let (publisher, id) = (api.events.publisher(), Uuid::new_v4());
    // The receipt needs each offset. To ask again writes further markers, which do no harm.
    let offset = |receipt: Receipt| match receipt.offset {
        Some(offset) => Ok((receipt.partition, offset)),
        None => Err(PublishError::Unavailable {
            reason: "a partition has the erasure, and its broker does not say where".to_owned(),
            possibly_written: true,
        }),
    };
    // The first one goes where the user's events go, and waits until the topic is known.
    let first = offset(publisher.publish(marker(user_id, id, None)).await?)?;
    let partitions = api.events.producer().map_or(0, |producer| producer.topic().partitions());
    let others = (0..partitions as i32).filter(|partition| *partition != first.0);
    let written = others.map(async |partition| publisher.publish(marker(user_id, id, Some(partition))).await);
    let mut markers = BTreeMap::from([first]);
    for written in join_all(written).await {
        let written = written.map_err(|error| PublishError::Unavailable {
            reason: format!("some partitions have the erasure, and another does not: {error}"),
            possibly_written: true,
        });
        markers.extend([offset(written?)?]);
    }
    Ok(markers)
}

/// The problem for an erasure of which Kafka did not acknowledge each marker.
pub(in crate::activity) fn failure(error: PublishError) -> Problem {
    publish_problem(error, "Asking for the erasure again is safe")
}

/// The state of the erasure of that receipt. 404 where no erasure has such a receipt.
pub(in crate::activity) async fn state(api: &Api, id: &str) -> Response {
    let Ok(markers) = cursor::decode(id) else { return unknown().into_response() };
    let before = api.coverage();
    let next = match api.store.next_offsets().await {
        Ok(Some(next)) => next,
        Ok(None) => api.restored_offsets(),
        Err(error) => return store_unavailable(&error).into_response(),
    };
    let coverage = before.until(&api.coverage());
    let receipt = ErasureReceipt::new(markers, |partition, offset| match next.get(&partition) {
        Some(next) if *next > offset => MarkerState::Applied,
        Some(_) => MarkerState::Written,
        None if api.store.is_shared() => MarkerState::Written,
        None => MarkerState::Elsewhere,
    });
    let mut response = body(&receipt);
    response.headers_mut().insert(PARTITIONS, coverage.value());
    response
}

/// 404: no answer to an erasure had such a receipt.
pub(in crate::activity) fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no erasure has such an id: the answer to the DELETE has it")
}

fn body(receipt: &ErasureReceipt) -> Response {
    json(serde_json::to_vec(receipt).unwrap_or_default())
}
