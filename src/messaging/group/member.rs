//! Joining, synchronising, leaving.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use super::{
    Coordinator, Subscriber,
    assignor::{
        self, CONSUMER, RANGE, assign_range, decode_assignment, decode_subscription, encode_assignment,
        encode_subscription,
    },
};
use crate::messaging::{ConsumerConfig, topic, wire::WireError};

/// A member's place in one generation of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    /// The id the coordinator gave; empty before it did.
    pub(crate) member: StrBytes,
    /// The group's generation.
    pub(crate) number: i32,
}

/// A generation that came about, and what this member got in it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) generation: Generation,
    /// The partitions of the topic that are this member's.
    pub(crate) assignment: BTreeSet<i32>,
    /// Whether it falls to this member to notice new partitions.
    pub(crate) leads: bool,
}

/// This process's membership, from join to leave.
#[derive(Debug)]
pub(crate) struct Member {
    coordinator: Arc<Coordinator>,
    topic: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    id: StrBytes,
}

impl Member {
    pub(crate) fn new(coordinator: Arc<Coordinator>, topic: &str, config: &ConsumerConfig) -> Self {
        Self {
            coordinator,
            topic: topic.to_owned(),
            session_timeout: config.session_timeout,
            rebalance_timeout: config.rebalance_timeout,
            id: StrBytes::default(),
        }
    }

    /// Takes part in one rebalance. After an error it is for the caller to wait and call again; what the
    /// error says of this member's id is kept here.
    pub(crate) async fn join(&mut self, partitions: usize, reason: &str) -> Result<Session, WireError> {
        let joined = self.join_group(reason).await?;
        let generation = Generation { member: self.id.clone(), number: joined.generation_id };
        let leads = joined.leader == self.id;
        let assignments = if leads && !joined.skip_assignment {
            self.assign(&joined, partitions).await?
        } else {
            Vec::new()
        };
        let assignment = self.sync_group(&generation, assignments).await?;
        Ok(Session { generation, assignment, leads })
    }

    async fn join_group(&mut self, reason: &str) -> Result<JoinGroupResponse, WireError> {
        const WHAT: &str = "JoinGroup";
        let subscription = encode_subscription(&self.topic).map_err(|reason| malformed(WHAT, reason))?;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(RANGE))
            .with_metadata(subscription);
        let request = JoinGroupRequest::default()
            .with_group_id(self.coordinator.group())
            .with_session_timeout_ms(millis(self.session_timeout))
            .with_rebalance_timeout_ms(millis(self.rebalance_timeout))
            .with_protocol_type(StrBytes::from_static_str(CONSUMER))
            .with_protocols(vec![protocol])
            .with_reason(Some(StrBytes::from_string(reason.to_owned())));
        // The coordinator answers when the whole group has joined, or that time is over.
        let patience = self.rebalance_timeout + self.coordinator.cluster().request_timeout();
        loop {
            let request = request.clone().with_member_id(self.id.clone());
            let answer = self.coordinator.call_held(&request, 0..=9, patience).await?;
            // KIP-394: the first answer gives the id to join with, so that a lost answer leaves no ghost.
            if ResponseError::try_from_code(answer.error_code) == Some(ResponseError::MemberIdRequired) {
                self.id = answer.member_id;
                continue;
            }
            self.check(WHAT, answer.error_code).await?;
            self.id = answer.member_id.clone();
            return Ok(answer);
        }
    }

    /// What falls to the group's leader: every member's subscription in, every member's partitions out.
    async fn assign(
        &self,
        joined: &JoinGroupResponse,
        partitions: usize,
    ) -> Result<Vec<SyncGroupRequestAssignment>, WireError> {
        const WHAT: &str = "JoinGroup";
        let mut subscribers = Vec::with_capacity(joined.members.len());
        for member in &joined.members {
            let topics =
                decode_subscription(member.metadata.clone()).map_err(|reason| malformed(WHAT, reason))?;
            subscribers.push(Subscriber {
                member: member.member_id.as_str().to_owned(),
                instance: member.group_instance_id.as_ref().map(|id| id.as_str().to_owned()),
                topics,
            });
        }
        let mut counts = BTreeMap::from([(self.topic.clone(), partitions)]);
        for other in assignor::topics_of(&subscribers).into_iter().filter(|topic| *topic != self.topic) {
            // Members of other clients may read other topics beside ours.
            let mut connection = self.coordinator.cluster().connect().await?;
            match topic::describe(&mut connection, &other).await {
                Ok(layout) => counts.insert(other, layout.partitions),
                Err(error) if error.code().is_some() => continue,
                Err(error) => return Err(error),
            };
        }
        let assignment = assign_range(&subscribers, &counts);
        let encoded = assignment.iter().map(|(member, topics)| {
            let bytes = encode_assignment(topics).map_err(|reason| malformed("SyncGroup", reason))?;
            Ok(SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member.clone()))
                .with_assignment(bytes))
        });
        encoded.collect()
    }

    async fn sync_group(
        &mut self,
        generation: &Generation,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> Result<BTreeSet<i32>, WireError> {
        const WHAT: &str = "SyncGroup";
        let request = SyncGroupRequest::default()
            .with_group_id(self.coordinator.group())
            .with_generation_id(generation.number)
            .with_member_id(generation.member.clone())
            .with_protocol_type(Some(StrBytes::from_static_str(CONSUMER)))
            .with_protocol_name(Some(StrBytes::from_static_str(RANGE)))
            .with_assignments(assignments);
        // Held until the leader has sent its assignment.
        let patience = self.rebalance_timeout + self.coordinator.cluster().request_timeout();
        let answer = self.coordinator.call_held(&request, 0..=5, patience).await?;
        self.check(WHAT, answer.error_code).await?;
        let assignment: Bytes = answer.assignment;
        decode_assignment(assignment, &self.topic).map_err(|reason| malformed(WHAT, reason))
    }

    /// Tells the coordinator that this member goes, so that nobody waits for it. Best effort.
    pub(crate) async fn leave(&mut self) -> Result<(), WireError> {
        if self.id.is_empty() {
            return Ok(());
        }
        let member = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_reason(Some(StrBytes::from_static_str("the consumer is closing")));
        let within = self.coordinator.cluster().request_timeout();
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

    /// The coordinator's word on this member: one it does not know needs a new id.
    async fn check(&mut self, what: &'static str, code: i16) -> Result<(), WireError> {
        let checked = self.coordinator.check(what, code).await;
        if checked.as_ref().is_err_and(|error| error.code() == Some(ResponseError::UnknownMemberId)) {
            self.id = StrBytes::default();
        }
        checked
    }
}

impl Coordinator {
    /// Makes this member heard.
    pub(super) async fn heartbeat(&self, generation: &Generation, within: Duration) -> Result<(), WireError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation.number)
            .with_member_id(generation.member.clone());
        let answer = self.call(&request, 0..=4, within).await?;
        self.check("Heartbeat", answer.error_code).await
    }
}

fn malformed(what: &'static str, reason: String) -> WireError {
    WireError::Malformed { what, reason }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
