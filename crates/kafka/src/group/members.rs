//! The members of a group, as its coordinator knows them.
//!
//! DescribeGroups describes classic groups, ConsumerGroupDescribe those of the consumer protocol (KIP-848). A group with
//! members of both protocols, as in a live upgrade, is a consumer group (`GroupMetadataManager` in Java's 4.x).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, DescribeGroupsRequest, consumer_group_describe_response as consumer,
        describe_groups_response as classic,
    },
    protocol::StrBytes,
};
use serde::Serialize;

use super::{Coordinator, assignor::decode_assignments};
use crate::wire::WireError;

/// The versions up to the one that explains why a group is refused (KIP-1043).
const CLASSIC: RangeInclusive<i16> = 0..=6;
/// The versions of Kafka 3.7 and Kafka 4.0.
const CONSUMER: RangeInclusive<i16> = 0..=1;
/// The state of a classic group whose members have their assignment; no other state tells it (`GroupMetadata.summary`).
const STABLE: &str = "Stable";
/// The state of a group that does not exist; newer versions have an error for it.
const DEAD: &str = "Dead";

/// The type of a group, by the protocol of its members (`GroupType` in Java).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupType {
    Classic,
    Consumer,
}

/// A member of the group, as its coordinator knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GroupMember {
    /// The id that the coordinator knows it by.
    pub member_id: String,
    /// The name that its client gives itself.
    pub client_id: String,
    /// The address from which it joined; empty where it is not shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The configured id of a static member (KIP-345).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The assigned partitions, by topic; null while a classic group rebalances, as no assignment is told then.
    pub partitions: Option<BTreeMap<String, BTreeSet<i32>>>,
}

impl Coordinator {
    /// All members, by their ids; none if there is no such group. `guess` is a guess at the group's protocol, which saves
    /// a request if it is right.
    pub(super) async fn members(&self, guess: GroupType) -> Result<Vec<GroupMember>, WireError> {
        let found = match self.describe(guess).await {
            // The broker closes idle connections, and the coordinator moves: both show when it is asked.
            Err(error)
                if matches!(error, WireError::Broken { .. })
                    || error.code() == Some(ResponseError::NotCoordinator) =>
            {
                self.describe(guess).await
            }
            found => found,
        };
        let mut members = found?.unwrap_or_default();
        members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        Ok(members)
    }

    async fn describe(&self, guess: GroupType) -> Result<Option<Vec<GroupMember>>, WireError> {
        match guess {
            GroupType::Consumer => match self.consumer_members().await? {
                None => self.classic_members().await,
                found => Ok(found),
            },
            GroupType::Classic => match self.classic_members().await? {
                None => self.consumer_members().await,
                found => Ok(found),
            },
        }
    }

    /// `None` if there is no such classic group.
    async fn classic_members(&self) -> Result<Option<Vec<GroupMember>>, WireError> {
        const WHAT: &str = "DescribeGroups";
        let request = DescribeGroupsRequest::default().with_groups(vec![self.group()]);
        let answer = self.call(&request, CLASSIC, self.cluster().request_timeout()).await?;
        let Some(group) = answer.groups.into_iter().next() else { return Ok(None) };
        match self.check(WHAT, group.error_code).await {
            Err(error) if error.code() == Some(ResponseError::GroupIdNotFound) => return Ok(None),
            checked => checked?,
        }
        if group.group_state.as_str() == DEAD {
            return Ok(None);
        }
        let stable = group.group_state.as_str() == STABLE;
        Ok(Some(group.members.into_iter().map(|member| GroupMember::of_classic(member, stable)).collect()))
    }

    /// `None` if there is no such group, or the broker does not support the protocol.
    async fn consumer_members(&self) -> Result<Option<Vec<GroupMember>>, WireError> {
        const WHAT: &str = "ConsumerGroupDescribe";
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![self.group()]);
        let answer = match self.call(&request, CONSUMER, self.cluster().request_timeout()).await {
            Err(WireError::Unsupported(_)) => return Ok(None),
            answer => answer?,
        };
        let Some(group) = answer.groups.into_iter().next() else { return Ok(None) };
        match self.check(WHAT, group.error_code).await {
            Err(error)
                if matches!(
                    error.code(),
                    Some(ResponseError::GroupIdNotFound | ResponseError::UnsupportedVersion)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Some(group.members.into_iter().map(GroupMember::of_consumer).collect())),
        }
    }
}

impl GroupMember {
    fn of_classic(member: classic::DescribedGroupMember, stable: bool) -> Self {
        // Bytes that are no assignment are another kind of group's.
        let partitions = stable.then(|| decode_assignments(member.member_assignment).ok()).flatten();
        Self {
            member_id: text(&member.member_id),
            client_id: text(&member.client_id),
            host: host(&member.client_host),
            instance_id: member.group_instance_id.as_ref().map(text),
            partitions,
        }
    }

    fn of_consumer(member: consumer::Member) -> Self {
        let mut partitions = BTreeMap::<String, BTreeSet<i32>>::new();
        for assigned in member.assignment.topic_partitions {
            partitions.entry(text(&assigned.topic_name.0)).or_default().extend(assigned.partitions);
        }
        Self {
            member_id: text(&member.member_id),
            client_id: text(&member.client_id),
            host: host(&member.client_host),
            instance_id: member.instance_id.as_ref().map(text),
            partitions: Some(partitions),
        }
    }
}

/// The address without the slash that `InetAddress.toString` puts before one without a name.
fn host(told: &StrBytes) -> String {
    let told = told.as_str();
    told.strip_prefix('/').unwrap_or(told).to_owned()
}

fn text(told: &StrBytes) -> String {
    told.as_str().to_owned()
}
