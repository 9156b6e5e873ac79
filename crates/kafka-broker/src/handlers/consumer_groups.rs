//! Groups of the consumer protocol (KIP-848): ConsumerGroupHeartbeat, ConsumerGroupDescribe.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse, TopicName,
        consumer_group_describe_response::{
            Assignment as DescribedAssignment, DescribedGroup, Member as DescribedMember,
            TopicPartitions as DescribedPartitions,
        },
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
    },
    protocol::StrBytes,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Answered, Context, commits::COMMIT_TIMEOUT, membership::millis, text};
use crate::{
    groups::consumer::{
        ConsumerGroup, Heartbeat, HeartbeatReply, JOINS, LEAVES, LEAVES_FOR_RESTART, Member, Partitions,
        Sessions, TopicLayout,
    },
    state::State,
    topics::Topic,
};

/// The first version of ConsumerGroupHeartbeat in which members choose their ids (KIP-1082).
const CHOOSES_ITS_ID: i16 = 1;
/// The first version of ConsumerGroupDescribe with the kind of a member (KIP-1099).
const DESCRIBES_TYPES: i16 = 1;
/// A member of this protocol, in ConsumerGroupDescribe.
const CONSUMER_MEMBER: i8 = 1;

/// A refusal: its code, and Kafka's message for it.
struct Refusal(ResponseError, String);

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Self {
        Self(error, String::new())
    }
}

fn invalid(why: &str) -> Refusal {
    Refusal(ResponseError::InvalidRequest, why.to_owned())
}

impl Answered for ConsumerGroupHeartbeatRequest {
    async fn answer(self, context: &Context<'_>) -> ConsumerGroupHeartbeatResponse {
        let options = &context.shared.options;
        let sessions = Sessions {
            timeout: options.consumer_session_timeout,
            heartbeat_interval: options.consumer_heartbeat_interval,
        };
        let outcome = self.heartbeat(context).and_then(|heartbeat| {
            context.shared.change(|state| {
                let reply = apply_heartbeat(state, &self.group_id, &heartbeat, sessions)?;
                Ok((reply, heartbeat, state.coordination.epoch()))
            })
        });
        let outcome = match outcome {
            Ok((reply, heartbeat, epoch)) => {
                let is_stored = stored(context, &self.group_id, epoch).await;
                is_stored.map(|()| (reply, heartbeat)).map_err(Refusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok((reply, heartbeat)) => ConsumerGroupHeartbeatResponse::default()
                .with_member_id(Some(StrBytes::from_string(heartbeat.member)))
                .with_member_epoch(reply.epoch)
                .with_heartbeat_interval_ms(as_millis(sessions.heartbeat_interval))
                .with_assignment(reply.assignment.map(|partitions| assignment(&partitions))),
            Err(Refusal(error, why)) => {
                let why = Some(why).filter(|why| !why.is_empty());
                self.refuse(error.code()).with_error_message(why.map(StrBytes::from_string))
            }
        }
    }

    fn refuse(&self, error: i16) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse::default().with_error_code(error)
    }
}

/// Waits until the members of a group, as they are, are replicated (`CoordinatorRuntime` answers no call before).
async fn stored(context: &Context<'_>, group: &str, epoch: i32) -> Result<(), ResponseError> {
    let stored = context.shared.until(Instant::now() + COMMIT_TIMEOUT, |state| {
        let log = &state.coordination;
        log.check_since(epoch).map(|()| log.has_stored(group).then_some(())).transpose()
    });
    stored.await.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
}

fn apply_heartbeat(
    state: &mut State,
    id: &str,
    heartbeat: &Heartbeat,
    sessions: Sessions,
) -> Result<HeartbeatReply, Refusal> {
    let State { groups, topics, .. } = state;
    let not_found = |what: &str| Refusal(ResponseError::GroupIdNotFound, what.to_owned());
    let group = if heartbeat.epoch == JOINS {
        let group = groups.entry(id.to_owned()).or_default();
        group.join_consumer(|| ConsumerGroup::new(sessions)).ok()
    } else {
        let group = groups.get_mut(id);
        group.ok_or_else(|| not_found(&format!("Consumer group {id} not found.")))?.consumer_mut()
    };
    let group = group.ok_or_else(|| not_found(&format!("Group {id} is not a consumer group.")))?;
    let layout = |topic: &Topic| TopicLayout { id: topic.id(), partitions: count(topic.partitions.len()) };
    Ok(group.heartbeat(heartbeat, |name| topics.get(name).map(layout))?)
}

/// The heartbeat that a request describes.
trait ReadsHeartbeat {
    fn heartbeat(&self, context: &Context<'_>) -> Result<Heartbeat, Refusal>;
}

impl ReadsHeartbeat for ConsumerGroupHeartbeatRequest {
    /// `throwIfConsumerGroupHeartbeatRequestIsInvalid`.
    fn heartbeat(&self, context: &Context<'_>) -> Result<Heartbeat, Refusal> {
        let owned: Option<Partitions> = self.topic_partitions.as_ref().map(|topics| {
            let of_topic = topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic.topic_id, *partition)));
            of_topic.collect()
        });
        let subscription = self.subscribed_topic_names.as_ref();
        let chosen = text(&self.member_id);
        if self.group_id.is_empty() {
            return Err(invalid("GroupId can't be empty."));
        }
        if self.instance_id.as_deref().is_some_and(str::is_empty) {
            return Err(invalid("InstanceId can't be empty."));
        }
        if self.subscribed_topic_regex.as_deref().is_some_and(|regex| !regex.is_empty()) {
            return Err(invalid("SubscribedTopicRegex is not supported."));
        }
        if chosen.is_empty() && (self.member_epoch != JOINS || context.version >= CHOOSES_ITS_ID) {
            return Err(invalid("MemberId can't be empty."));
        }
        match self.member_epoch {
            JOINS if self.rebalance_timeout_ms == -1 => {
                return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
            }
            JOINS if owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
                return Err(invalid("TopicPartitions must be empty when (re-)joining."));
            }
            JOINS if subscription.is_none_or(Vec::is_empty) => {
                return Err(invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                ));
            }
            LEAVES_FOR_RESTART if self.instance_id.is_none() => {
                return Err(invalid("InstanceId can't be null."));
            }
            ..LEAVES_FOR_RESTART => return Err(invalid("MemberEpoch is invalid.")),
            LEAVES_FOR_RESTART | LEAVES | JOINS.. => {}
        }
        let assignor = self.server_assignor.as_deref().map(str::parse).transpose();
        let unsupported = |error: crate::groups::consumer::UnknownAssignor| {
            Refusal(ResponseError::UnsupportedAssignor, error.to_string())
        };
        Ok(Heartbeat {
            member: if chosen.is_empty() { Uuid::new_v4().to_string() } else { chosen },
            epoch: self.member_epoch,
            instance: self.instance_id.as_ref().map(text),
            client_id: context.client_id.clone(),
            host: format!("/{}", context.peer.ip()),
            rebalance_timeout: (self.rebalance_timeout_ms >= 0).then(|| millis(self.rebalance_timeout_ms)),
            subscription: subscription.map(|names| names.iter().map(|name| text(&name.0)).collect()),
            assignor: assignor.map_err(unsupported)?,
            owned,
        })
    }
}

fn by_topic(partitions: &Partitions) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics = BTreeMap::<Uuid, Vec<i32>>::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        TopicPartitions::default().with_topic_id(topic).with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

impl Answered for ConsumerGroupDescribeRequest {
    async fn answer(self, context: &Context<'_>) -> ConsumerGroupDescribeResponse {
        let groups = context.shared.with(|state| {
            let described = self.group_ids.iter().map(|id| {
                let answer = DescribedGroup::default().with_group_id(id.clone());
                match state.groups.get(id.as_str()).and_then(|group| group.consumer()) {
                    Some(group) => described(answer, state, group, context.version),
                    None => answer.with_error_code(ResponseError::GroupIdNotFound.code()),
                }
            });
            described.collect()
        });
        ConsumerGroupDescribeResponse::default().with_groups(groups)
    }

    fn refuse(&self, error: i16) -> ConsumerGroupDescribeResponse {
        let groups = self
            .group_ids
            .iter()
            .map(|id| DescribedGroup::default().with_group_id(id.clone()).with_error_code(error));
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }
}

/// `ConsumerGroup.asDescribedGroup`.
fn described(answer: DescribedGroup, state: &State, group: &ConsumerGroup, version: i16) -> DescribedGroup {
    let members = group.members().iter().map(|(id, member)| described_member(id, member, state, version));
    answer
        .with_group_state(StrBytes::from_static_str(group.state()))
        .with_group_epoch(group.epoch())
        .with_assignment_epoch(group.assignment_epoch())
        .with_assignor_name(StrBytes::from_static_str(group.assignor().name()))
        .with_members(members.collect())
}

fn described_member(id: &str, member: &Member, state: &State, version: i16) -> DescribedMember {
    let names = member.subscription().iter().map(|name| TopicName(string(name)));
    let described = DescribedMember::default()
        .with_member_id(string(id))
        .with_instance_id(member.instance().map(string))
        .with_member_epoch(member.epoch())
        .with_client_id(string(member.client_id()))
        .with_client_host(string(member.host()))
        .with_subscribed_topic_names(names.collect())
        .with_assignment(described_assignment(member.assigned(), state))
        .with_target_assignment(described_assignment(member.target(), state));
    match version {
        ..DESCRIBES_TYPES => described,
        _ => described.with_member_type(CONSUMER_MEMBER),
    }
}

/// Without the topics that are deleted.
fn described_assignment(partitions: &Partitions, state: &State) -> DescribedAssignment {
    let topics = by_topic(partitions).into_iter().filter_map(|(topic, partitions)| {
        let name = TopicName(string(state.image().name_of(topic)?));
        let described = DescribedPartitions::default().with_topic_id(topic).with_topic_name(name);
        Some(described.with_partitions(partitions))
    });
    DescribedAssignment::default().with_topic_partitions(topics.collect())
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn as_millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
