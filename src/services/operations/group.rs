//! `GET /group`: the consumer group as this member sees it, and what moved in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::SecondsFormat;
use serde::Serialize;
use warp::{
    http::{Method, StatusCode},
    reply::Response,
};

use super::Operations;
use crate::{
    http::{self, answer},
    messaging::{GroupPhase, GroupStatus, PartitionStatus, Rebalance},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    id: &'a str,
    phase: GroupPhase,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignor: Option<&'a str>,
    /// The member's own id.
    member: &'a str,
    generation: i32,
    /// Of all its partitions whose end is known.
    lag: u64,
    partitions: Vec<Partition<'a>>,
    rebalances: Vec<Moved<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partition<'a> {
    partition: i32,
    restored: bool,
    /// Below it everything is processed.
    processed: i64,
    committed: i64,
    end: i64,
    /// `None` while the end is not known.
    lag: Option<u64>,
    /// The end that is to be reached before the service is ready.
    goal: Option<i64>,
    /// In the last rebalance; `None` while it still does.
    stood_still_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved<'a> {
    at: String,
    reason: &'a str,
    generation: i32,
    took_ms: u64,
    gained: &'a BTreeSet<i32>,
    gave_up: &'a BTreeSet<i32>,
}

/// `GET /group`: 200, whatever the group's state; by topic where the service reads several in it.
pub(super) fn group(operations: &Operations) -> Response {
    #[derive(Serialize)]
    struct Groups<'a> {
        groups: BTreeMap<&'a str, Body<'a>>,
    }
    let members: Vec<(&str, GroupStatus)> = operations
        .memberships
        .iter()
        .map(|membership| (&*membership.topic, membership.status.borrow().group.clone()))
        .collect();
    match members.as_slice() {
        [] => http::refuse(&Method::GET, "/group", None),
        [(_, group)] => answer(StatusCode::OK, &Body::of(group)),
        several => {
            let groups = several.iter().map(|(topic, group)| (*topic, Body::of(group))).collect();
            answer(StatusCode::OK, &Groups { groups })
        }
    }
}

impl<'a> Body<'a> {
    fn of(group: &'a GroupStatus) -> Self {
        Self {
            id: &group.id,
            phase: group.phase,
            protocol: group.protocol,
            assignor: group.assignor,
            member: &group.member,
            generation: group.generation,
            lag: group.partitions.iter().filter_map(PartitionStatus::lag).sum(),
            partitions: group.partitions.iter().map(Partition::of).collect(),
            rebalances: group.rebalances.iter().map(Moved::of).collect(),
            error: group.error.as_deref(),
        }
    }
}

impl<'a> Partition<'a> {
    fn of(partition: &'a PartitionStatus) -> Self {
        Self {
            partition: partition.partition,
            restored: partition.restored,
            processed: partition.position,
            committed: partition.committed,
            end: partition.end,
            lag: partition.lag(),
            goal: partition.goal,
            stood_still_ms: partition.stood_still.map(millis),
            error: partition.error.as_deref(),
        }
    }
}

impl<'a> Moved<'a> {
    fn of(rebalance: &'a Rebalance) -> Self {
        Self {
            at: rebalance.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            reason: &rebalance.reason,
            generation: rebalance.generation,
            took_ms: millis(rebalance.took),
            gained: &rebalance.gained,
            gave_up: &rebalance.gave_up,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
