//! Joining, assigning where it falls to this member, synchronising, leaving.

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
    Assignor, Coordinator, Lease, MemberGeneration, MemberState, Subscriber,
    assignor::{self, decode_assignment, decode_subscription, encode_assignment, encode_subscription},
    membership::MemberContext,
};
use crate::{Cluster, GroupPhase, topic, wire::WireError};

/// The class of protocols that consumers speak.
const CONSUMER: &str = "consumer";
/// The coordinator takes no longer reasons (`JoinGroupRequest.maybeTruncateReason`).
const REASON_LENGTH: usize = 255;
/// The first version of JoinGroup that knows static members.
const STATIC: i16 = 5;
/// Of a member that has no generation yet.
const NO_GENERATION: i32 = -1;

/// Numbers of partitions, by topic.
pub(super) type PartitionCounts = BTreeMap<String, usize>;

/// A generation that came about, and what this member got in it.
#[derive(Debug)]
pub(super) struct JoinedGeneration {
    /// The partitions of the topic that are this member's.
    pub(super) assignment: BTreeSet<i32>,
    /// Whether it falls to this member to notice new partitions.
    pub(super) is_leader: bool,
    /// How many there were when it was made.
    pub(super) partitions: usize,
    /// Of the leader: how many partitions other topics had that members read; 0 where there was none of the name.
    pub(super) other_topics: PartitionCounts,
    /// A moment at which it had not come about yet, as a lease counts.
    pub(super) synced_at: i64,
}

/// Who joins.
#[derive(Debug)]
pub(super) struct Joiner {
    coordinator: Arc<Coordinator>,
    topic: String,
    /// The id that the coordinator gave; empty before it did.
    id: StrBytes,
    instance: Option<StrBytes>,
    /// In which what it owns was assigned.
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

    /// Takes part in one rebalance, with what it has not given up. From the answer to JoinGroup on, the member
    /// stands for the new generation. After an error it is for the caller to wait and call again.
    pub(super) async fn join(
        &mut self,
        context: &MemberContext,
        state: &MemberState,
        owned: &BTreeSet<i32>,
        reason: &str,
    ) -> Result<JoinedGeneration, WireError> {
        let partitions = context.topic.clone().known_partitions().await;
        context.set_phase(GroupPhase::Finding);
        self.coordinator.connect().await?;
        context.set_phase(GroupPhase::Joining);
        let joined = self.join_group(context, owned, reason).await?;
        let generation = MemberGeneration {
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            id: joined.generation_id,
        };
        state.set(generation.clone());
        context.set_phase(GroupPhase::Syncing);
        let is_leader = joined.leader == self.id;
        let (mut assignments, mut other_topics) = (Vec::new(), PartitionCounts::new());
        if is_leader {
            let subscribers = subscribers(&joined)?;
            let topics = assignor::topics_of(&subscribers).into_iter();
            let topics = topics.filter(|topic| *topic != self.topic);
            other_topics = partition_counts(self.coordinator.cluster(), topics).await?;
            if !joined.skip_assignment {
                assignments = self.assign(&joined, &subscribers, partitions, &other_topics)?;
            }
        }
        let patience = context.config.rebalance_timeout;
        let synced_at = Lease::now();
        let assignment =
            self.sync_group(&generation, joined.protocol_name.clone(), assignments, patience).await?;
        self.generation = generation.id;
        // The coordinator begins every member's session anew when it hands out the assignment.
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
        let patience = config.rebalance_timeout + self.coordinator.cluster().request_timeout();
        // Java's consumer refuses as well to be another member than it was configured to be.
        let oldest = if self.instance.is_some() { STATIC } else { 0 };
        loop {
            let request = request.clone().with_member_id(self.id.clone());
            let answer = self.coordinator.call_blocking(&request, oldest..=9, patience).await?;
            // KIP-394: the first answer gives the id to join with, so that a lost answer leaves no ghost.
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

    /// What falls to the group's leader: every member's subscription in, every member's partitions out.
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
        patience: Duration,
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
        // Held until the leader has sent its assignment.
        let patience = patience + self.coordinator.cluster().request_timeout();
        let answer = self.coordinator.call_blocking(&request, 0..=5, patience).await?;
        self.coordinator.check(WHAT, answer.error_code).await?;
        decode_assignment(answer.assignment, &self.topic).map_err(|reason| malformed(WHAT, reason))
    }

    /// Out of the group: what it was assigned counts no longer, and where the coordinator does not know its id,
    /// neither does that.
    pub(super) fn left_generation(&mut self, error: &WireError) {
        self.generation = NO_GENERATION;
        if error.code() == Some(ResponseError::UnknownMemberId) {
            self.id = StrBytes::default();
        }
    }

    /// Tells the coordinator that this member goes, so that nobody waits for it. Best effort.
    pub(super) async fn leave(&mut self, context: &MemberContext) -> Result<(), WireError> {
        if self.id.is_empty() {
            return Ok(());
        }
        let member = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_reason(Some(StrBytes::from_static_str("the consumer is closing")));
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

/// How many partitions each of these topics has: members of other clients may read other topics beside ours.
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

/// What the members of a generation ask for, as its leader is told.
fn subscribers(joined: &JoinGroupResponse) -> Result<Vec<Subscriber>, WireError> {
    let members = joined.members.iter().map(|member| {
        let instance = member.group_instance_id.as_deref();
        let subscriber = decode_subscription(&member.member_id, instance, member.metadata.clone());
        subscriber.map_err(|reason| malformed("JoinGroup", reason))
    });
    members.collect()
}

/// Whether the topic has no partitions for us; anything else says nothing about how many it has.
fn is_about_the_topic(code: ResponseError) -> bool {
    code == ResponseError::UnknownTopicOrPartition || !code.is_retriable()
}

fn malformed(what: &'static str, reason: String) -> WireError {
    WireError::Malformed { what, reason }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
