//! `GET /group`: the consumer group as this member sees it, its rebalances, and the members that its coordinator knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use highwater_kafka::{GroupPhase, GroupStatus, PartitionStatus, Rebalance, group::GroupMember};
use schemars::JsonSchema;
use serde::Serialize;
use warp::{
    http::{Method, StatusCode},
    reply::Response,
};

use super::{GroupMembership, Operations, visibility::Visibility};
use crate::{
    http::{self, answer},
    timestamp,
};

/// The consumer group as this member sees it, and its rebalances.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Group")]
pub(super) struct GroupBody<'a> {
    /// The group's id.
    id: &'a str,
    phase: GroupPhase,
    /// `classic` or `consumer`; empty before it speaks one.
    protocol: &'a str,
    /// The assignor that the classic protocol's members agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    assignor: Option<&'a str>,
    /// The member's own id.
    member: &'a str,
    /// The group's generation; the member's epoch where the protocol is `consumer`.
    generation: i32,
    /// The lag of all its partitions whose end is known.
    lag: u64,
    /// The partitions of this member.
    partitions: Vec<PartitionBody<'a>>,
    /// All members of the group, this one among them, as its coordinator knew them at most a second ago; null where it
    /// could not be asked.
    members: Option<&'a [GroupMember]>,
    /// The reason why `members` is null, while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    members_error: Option<&'a str>,
    /// The last rebalances, the newest first.
    rebalances: Vec<RebalanceBody<'a>>,
    /// The last error, while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A partition that this member has.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GroupPartition")]
struct PartitionBody<'a> {
    /// Its number.
    partition: i32,
    /// Whether the records that were processed before are restored.
    restored: bool,
    /// The offset below which everything is processed.
    position: i64,
    /// The offset committed last.
    committed: i64,
    /// The end of the log as last seen.
    end: i64,
    /// The records still to be processed; null while the end is not known.
    lag: Option<u64>,
    /// The end that is to be reached before the service is ready; null while it is not known.
    goal: Option<i64>,
    /// The time for which nobody processed it in the last rebalance; null while it is still paused.
    paused_ms: Option<u64>,
    /// The reason why it is stalled, while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A change of this member's assignment.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Rebalance")]
struct RebalanceBody<'a> {
    /// The time at which it began.
    #[schemars(schema_with = "crate::http::openapi::timestamp")]
    at: String,
    /// The reason, as far as this member knows it.
    reason: &'a str,
    /// The generation that came of it.
    generation: i32,
    /// The time until the assignment was complete.
    duration_ms: u64,
    /// Partitions that it did not have before.
    assigned: &'a BTreeSet<i32>,
    /// Partitions that it has no more.
    revoked: &'a BTreeSet<i32>,
}

/// The group by topic, where the service reads several in it.
#[derive(Serialize, JsonSchema)]
pub(super) struct GroupsBody<'a> {
    groups: BTreeMap<&'a str, GroupBody<'a>>,
}

/// One membership: the group as this member sees it, and as its coordinator does.
struct MembershipView {
    group: GroupStatus,
    members: Result<Arc<[GroupMember]>, Arc<str>>,
}

impl MembershipView {
    async fn of(membership: &GroupMembership, visibility: Visibility) -> (&str, Self) {
        // The members come first, since they may take a moment; the status is then current.
        let members = membership.description.members().await;
        let members = members
            .map_err(|error| visibility.text(error.to_string()).into())
            .map(|all| visibility.members(all));
        let group = membership.status.borrow().group.clone();
        (&membership.topic, Self { group: visibility.group(group), members })
    }
}

/// `GET /group`: 200, whatever the group's state; by topic where the service reads several in it.
pub(super) async fn group(operations: Arc<Operations>, visibility: Visibility) -> Response {
    let views =
        join_all(operations.memberships.iter().map(|membership| MembershipView::of(membership, visibility)))
            .await;
    match views.as_slice() {
        [] => http::refuse(&Method::GET, "/group", None),
        [(_, view)] => answer(StatusCode::OK, &GroupBody::of(view)),
        several => {
            let groups = several.iter().map(|(topic, view)| (*topic, GroupBody::of(view))).collect();
            answer(StatusCode::OK, &GroupsBody { groups })
        }
    }
}

impl<'a> GroupBody<'a> {
    fn of(MembershipView { group, members }: &'a MembershipView) -> Self {
        Self {
            id: &group.id,
            phase: group.phase,
            protocol: group.protocol,
            assignor: group.assignor,
            member: &group.member,
            generation: group.generation,
            lag: group.partitions.iter().filter_map(PartitionStatus::lag).sum(),
            partitions: group.partitions.iter().map(PartitionBody::of).collect(),
            members: members.as_deref().ok(),
            members_error: members.as_ref().err().map(|why| &**why),
            rebalances: group.rebalances.iter().map(RebalanceBody::of).collect(),
            error: group.error.as_deref(),
        }
    }
}

impl<'a> PartitionBody<'a> {
    fn of(partition: &'a PartitionStatus) -> Self {
        Self {
            partition: partition.partition,
            restored: partition.restored,
            position: partition.position,
            committed: partition.committed,
            end: partition.end,
            lag: partition.lag(),
            goal: partition.goal,
            paused_ms: partition.paused.map(millis),
            error: partition.error.as_deref(),
        }
    }
}

impl<'a> RebalanceBody<'a> {
    fn of(rebalance: &'a Rebalance) -> Self {
        Self {
            at: timestamp::format(&rebalance.at),
            reason: &rebalance.reason,
            generation: rebalance.generation,
            duration_ms: millis(rebalance.duration),
            assigned: &rebalance.assigned,
            revoked: &rebalance.revoked,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
