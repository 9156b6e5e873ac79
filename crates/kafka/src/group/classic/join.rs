//! JoinGroup, the leader's assignment, SyncGroup and LeaveGroup.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::{
    ResponseError,
    messages::{
        JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use super::super::{
    Assignor, Coordinator, Lease, LeaveReason, MemberGeneration, MemberState, Subscriber,
    assignor::{self, decode_assignment, decode_subscription, encode_assignment, encode_subscription},
    members::GroupType,
    membership::MemberContext,
};
use crate::{Cluster, GroupPhase, topic, wire::WireError};

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";
/// The longest reason that the coordinator takes (`JoinGroupRequest.maybeTruncateReason`).
const REASON_LENGTH: usize = 255;
/// The first version of JoinGroup with static members.
const STATIC: i16 = 5;
/// The generation of a member that has none yet.
const NO_GENERATION: i32 = -1;

/// The number of partitions, by topic.
pub(super) type PartitionCounts = BTreeMap<String, usize>;

/// A generation that this member has joined, with its assignment.
#[derive(Debug)]
pub(super) struct JoinedGeneration {
    /// The assigned partitions of the topic.
    pub(super) assignment: BTreeSet<i32>,
    /// Whether this member is the leader, which notices new partitions.
    pub(super) is_leader: bool,
    /// The topic's number of partitions at the assignment.
    pub(super) partitions: usize,
    /// For the leader: the number of partitions of the other topics that members subscribe to; 0 for a topic that does
    /// not exist.
    pub(super) other_topics: PartitionCounts,
    /// A time before the assignment, on the lease's clock.
    pub(super) synced_at: i64,
}

/// The coordinator's answer to a join: the member is in the new generation, and its assignment is still to come.
#[derive(Debug)]
pub(super) struct JoinedMember {
    generation: MemberGeneration,
    /// The topic's number of partitions when it joined.
    partitions: usize,
    response: JoinGroupResponse,
}

/// The member's part in a rebalance.
#[derive(Debug)]
pub(super) struct Joiner {
    coordinator: Arc<Coordinator>,
    topic: String,
    /// The id that the coordinator gave; empty before that.
    id: StrBytes,
    instance: Option<StrBytes>,
    /// The generation in which its owned partitions were assigned.
    generation: i32,
}

impl Joiner {
    pub(super) fn new(context: &MemberContext) -> Self {
        Self {
            coordinator: Arc::clone(&context.coordinator),
            topic: context.topic.name().as_ref().to_owned(),
            id: StrBytes::default(),
            instance: context.config.instance_id.clone().map(StrBytes::from_string),
            generation: NO_GENERATION,
        }
    }

    /// Joins a rebalance, owning `owned`. From the answer on, `state` has the new generation, and the session has to be
    /// kept by heartbeats. After an error the caller waits and calls again.
    pub(super) async fn join(
        &mut self,
        context: &MemberContext,
        state: &MemberState,
        owned: &BTreeSet<i32>,
        reason: &str,
    ) -> Result<JoinedMember, WireError> {
        let partitions = context.topic.clone().known_partitions().await;
        context.set_phase(GroupPhase::Finding);
        self.coordinator.connect().await?;
        context.set_phase(GroupPhase::Joining);
        let response = self.join_group(context, owned, reason).await?;
        let generation = MemberGeneration {
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            id: response.generation_id,
        };
        state.set(generation.clone());
        Ok(JoinedMember { generation, partitions, response })
    }

    /// Gets the assignment, which the leader computes first. After an error the caller waits and joins again.
    pub(super) async fn sync(
        &mut self,
        context: &MemberContext,
        state: &MemberState,
        member: JoinedMember,
    ) -> Result<JoinedGeneration, WireError> {
        let JoinedMember { generation, mut partitions, response: joined } = member;
        context.set_phase(GroupPhase::Syncing);
        let is_leader = joined.leader == self.id;
        let (mut assignments, mut other_topics) = (Vec::new(), PartitionCounts::new());
        if is_leader {
            let subscribers = subscribers(&joined)?;
            let topics = assignor::topics_of(&subscribers).into_iter();
            let topics = topics.filter(|topic| *topic != self.topic);
            if joined.skip_assignment {
                let mut assigned = self.assigned_counts().await?;
                partitions = assigned.remove(&self.topic).unwrap_or(0);
                other_topics =
                    topics.map(|topic| (topic.clone(), assigned.remove(&topic).unwrap_or(0))).collect();
            } else {
                other_topics = partition_counts(self.coordinator.cluster(), topics).await?;
                assignments = self.assign(&joined, &subscribers, partitions, &other_topics)?;
            }
        }
        let synced_at = Lease::now();
        let assignment = self
            .sync_group(
                &generation,
                joined.protocol_name.clone(),
                assignments,
                context.config.rebalance_timeout,
            )
            .await?;
        self.generation = generation.id;
        // The coordinator begins every member's session anew when it sends the assignment.
        let term = context.config.session_timeout.min(context.config.rebalance_timeout);
        state.lease().renew(synced_at, Lease::term(term));
        let assignor = joined.protocol_name.as_deref().and_then(Assignor::from_name);
        context.registry.group(|group| group.assignor = assignor.map(Assignor::name));
        Ok(JoinedGeneration { assignment, is_leader, partitions, other_topics, synced_at })
    }

    async fn join_group(
        &mut self,
        context: &MemberContext,
        owned: &BTreeSet<i32>,
        reason: &str,
    ) -> Result<JoinGroupResponse, WireError> {
        const WHAT: &str = "JoinGroup";
        let config = &context.config;
        let protocols = config.assignors.iter().map(|assignor| {
            let metadata = encode_subscription(*assignor, &self.topic, owned, self.generation)
                .map_err(|reason| malformed(WHAT, reason))?;
            let name = StrBytes::from_static_str(assignor.name());
            Ok(JoinGroupRequestProtocol::default().with_name(name).with_metadata(metadata))
        });
        let reason: String = reason.chars().take(REASON_LENGTH).collect();
        let request = JoinGroupRequest::default()
            .with_group_id(self.coordinator.group())
            .with_session_timeout_ms(millis(config.session_timeout))
            .with_rebalance_timeout_ms(millis(config.rebalance_timeout))
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(StrBytes::from_static_str(CONSUMER))
            .with_protocols(protocols.collect::<Result<_, WireError>>()?)
            .with_reason(Some(StrBytes::from_string(reason)));
        // The coordinator answers when the whole group has joined, or that time is over.
        let within = config.rebalance_timeout + self.coordinator.cluster().request_timeout();
        // A static member does not join as a dynamic one; Java's consumer refuses as well.
        let oldest = if self.instance.is_some() { STATIC } else { 0 };
        loop {
            let request = request.clone().with_member_id(self.id.clone());
            let answer = self.coordinator.call_blocking(&request, oldest..=9, within).await?;
            // KIP-394: the first answer gives the id to join with, so that a lost answer leaves no member behind.
            let needs_id =
                ResponseError::try_from_code(answer.error_code) == Some(ResponseError::MemberIdRequired);
            if needs_id && self.id.is_empty() && !answer.member_id.is_empty() {
                self.id = answer.member_id;
                continue;
            }
            self.coordinator.check(WHAT, answer.error_code).await?;
            self.id = answer.member_id.clone();
            return Ok(answer);
        }
    }

    /// The number of partitions that the group's assignment has of each topic. A static leader that was started again
    /// gets its old assignment back and is asked for none (KIP-814), so topics may have grown since. Java's leader takes
    /// their present numbers for those of the assignment, and does not notice.
    async fn assigned_counts(&self) -> Result<PartitionCounts, WireError> {
        let mut counts = PartitionCounts::new();
        for member in self.coordinator.members(GroupType::Classic).await? {
            for (topic, partitions) in member.partitions.unwrap_or_default() {
                *counts.entry(topic).or_default() += partitions.len();
            }
        }
        Ok(counts)
    }

    /// The leader's assignment, from every member's subscription.
    fn assign(
        &self,
        joined: &JoinGroupResponse,
        subscribers: &[Subscriber],
        partitions: usize,
        other_topics: &PartitionCounts,
    ) -> Result<Vec<SyncGroupRequestAssignment>, WireError> {
        const WHAT: &str = "JoinGroup";
        let elected = joined.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::from_name(elected)
            .ok_or_else(|| malformed(WHAT, format!("elects an assignor that was not offered: {elected}")))?;
        let mut counts: PartitionCounts = other_topics.clone();
        counts.retain(|_, count| *count > 0);
        counts.insert(self.topic.clone(), partitions);
        let assignment = assignor.assign(subscribers, &counts);
        let encoded = assignment.iter().map(|(member, topics)| {
            let bytes = encode_assignment(topics).map_err(|reason| malformed("SyncGroup", reason))?;
            Ok(SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member.clone()))
                .with_assignment(bytes))
        });
        encoded.collect()
    }

    async fn sync_group(
        &self,
        generation: &MemberGeneration,
        protocol: Option<StrBytes>,
        assignments: Vec<SyncGroupRequestAssignment>,
        rebalance_timeout: Duration,
    ) -> Result<BTreeSet<i32>, WireError> {
        const WHAT: &str = "SyncGroup";
        let request = SyncGroupRequest::default()
            .with_group_id(self.coordinator.group())
            .with_generation_id(generation.id)
            .with_member_id(generation.member_id.clone())
            .with_group_instance_id(generation.instance_id.clone())
            .with_protocol_type(Some(StrBytes::from_static_str(CONSUMER)))
            .with_protocol_name(protocol)
            .with_assignments(assignments);
        // Answered when the leader has sent its assignment.
        let within = rebalance_timeout + self.coordinator.cluster().request_timeout();
        let answer = self.coordinator.call_blocking(&request, 0..=5, within).await?;
        self.coordinator.check(WHAT, answer.error_code).await?;
        decode_assignment(answer.assignment, &self.topic).map_err(|reason| malformed(WHAT, reason))
    }

    /// The member is out of the group: its generation is invalid, and its id too if the coordinator does not know it.
    pub(super) fn left_generation(&mut self, error: &WireError) {
        self.generation = NO_GENERATION;
        if error.code() == Some(ResponseError::UnknownMemberId) {
            self.id = StrBytes::default();
        }
    }

    /// Tells the coordinator that this member leaves, so that the group does not wait for its session to end.
    pub(super) async fn leave(&mut self, context: &MemberContext, why: LeaveReason) -> Result<(), WireError> {
        if self.id.is_empty() {
            return Ok(());
        }
        let member = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_reason(Some(StrBytes::from_static_str(why.text())));
        let within = context.coordinator.cluster().request_timeout();
        let batched =
            LeaveGroupRequest::default().with_group_id(self.coordinator.group()).with_members(vec![member]);
        let code = match self.coordinator.call(&batched, 3..=5, within).await {
            Err(WireError::Unsupported(_)) => {
                let single = LeaveGroupRequest::default()
                    .with_group_id(self.coordinator.group())
                    .with_member_id(self.id.clone());
                self.coordinator.call(&single, 0..=2, within).await?.error_code
            }
            answer => {
                let answer = answer?;
                answer.members.first().map_or(answer.error_code, |member| member.error_code)
            }
        };
        self.id = StrBytes::default();
        WireError::check("LeaveGroup", code)
    }
}

/// The number of partitions of each of these topics, which members of other clients subscribe to.
pub(super) async fn partition_counts(
    cluster: &Cluster,
    topics: impl Iterator<Item = String>,
) -> Result<PartitionCounts, WireError> {
    let mut counts = PartitionCounts::new();
    for topic in topics {
        let mut connection = cluster.connect().await?;
        let count = match topic::describe(&mut connection, &topic).await {
            Ok(layout) => layout.partitions,
            Err(error) if error.code().is_some_and(is_about_the_topic) => 0,
            Err(error) => return Err(error),
        };
        counts.insert(topic, count);
    }
    Ok(counts)
}

/// The members' subscriptions, as the leader gets them.
fn subscribers(joined: &JoinGroupResponse) -> Result<Vec<Subscriber>, WireError> {
    let members = joined.members.iter().map(|member| {
        let instance = member.group_instance_id.as_deref();
        let subscriber = decode_subscription(&member.member_id, instance, member.metadata.clone());
        subscriber.map_err(|reason| malformed("JoinGroup", reason))
    });
    members.collect()
}

/// Whether the topic has no partitions for this member; another error does not tell how many it has.
fn is_about_the_topic(code: ResponseError) -> bool {
    code == ResponseError::UnknownTopicOrPartition || !code.is_retriable()
}

fn malformed(what: &'static str, reason: String) -> WireError {
    WireError::Malformed { what, reason }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
