//! The protocol of KIP-848. Its one request, ConsumerGroupHeartbeat, tells what the member owns, and the answer what it
//! is assigned. The broker computes the assignment, and gives a partition to a new owner after the old one has revoked
//! it.
//!
//! A member's epoch tells its state: 0 joins, -1 leaves, -2 leaves for a restart (KIP-345).

use std::{collections::BTreeSet, ops::RangeInclusive, pin::pin, sync::Arc, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicName,
        consumer_group_heartbeat_request::TopicPartitions,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions as Assigned},
    },
    protocol::StrBytes,
};
use log::{debug, info, warn};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    Coordinator, Lease, LeaveReason, MemberGeneration, REJOIN_DELAY,
    membership::{GroupChannel, GroupEvent, MemberContext, MemberReply, MembershipEnd, RebalanceCause},
};
use crate::{GroupPhase, backoff::Backoff, topic, wire::WireError};

/// From version 1 on (Kafka 4.0) members choose their own ids.
const VERSIONS: RangeInclusive<i16> = 1..=1;
const WHAT: &str = "ConsumerGroupHeartbeat";
const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
const LEAVE_STATIC_EPOCH: i32 = -2;
/// The lease lasts this many of the broker's heartbeat intervals. The broker does not tell members its session
/// time-out; with Kafka's defaults it is nine intervals.
const LEASE_INTERVALS: u32 = 3;
/// The longest lease: nine tenths of the shortest session that Kafka allows, unless
/// `group.consumer.min.session.timeout.ms` is set lower. Kafka requires of an interval only that it is shorter than the
/// session.
const MAX_LEASE: Duration = Duration::from_millis(40_500);
/// The coordinator and the broker that was asked for the topic's id do not agree on it yet.
const TOPIC_ID_DISAGREEMENT: WireError =
    WireError::Refused { what: WHAT, error: ResponseError::UnknownTopicId };
/// The shortest interval, whatever the broker asks for.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Runs the membership until it ends.
pub(super) async fn run(context: &MemberContext, channel: &mut GroupChannel) -> MembershipEnd {
    context.registry.group(|group| (group.protocol, group.assignor) = ("consumer", None));
    let mut member = Member {
        context,
        coordinator: Arc::clone(&context.coordinator),
        channel,
        epoch: JOIN_EPOCH,
        topic_id: Uuid::nil(),
        owned: BTreeSet::new(),
        acknowledged: None,
        target: None,
        cause: Some(RebalanceCause::now("the consumer is starting")),
        interval: Duration::ZERO,
        answered_at: 0,
        revoking_since: None,
        lease_lapsed: false,
        join_sent: false,
    };
    match member.run().await {
        Err(how) => {
            member.leave(how).await;
            MembershipEnd::Left
        }
        Ok(ended) => ended,
    }
}

struct Member<'a> {
    context: &'a MemberContext,
    coordinator: Arc<Coordinator>,
    channel: &'a mut GroupChannel,
    epoch: i32,
    /// Nil until it is known.
    topic_id: Uuid,
    /// The consumer's last reply.
    owned: BTreeSet<i32>,
    /// The part of `owned` that the coordinator has acknowledged; `None` if the next heartbeat has to tell everything.
    acknowledged: Option<BTreeSet<i32>>,
    /// The last assignment that was sent to the consumer.
    target: Option<BTreeSet<i32>>,
    /// The reason for the join, until the first assignment.
    cause: Option<RebalanceCause>,
    /// The interval that the broker asks for.
    interval: Duration,
    /// The time of the last heartbeat that was answered, on the lease's clock.
    answered_at: i64,
    /// While it is to revoke partitions: a time before the coordinator began to wait for that.
    revoking_since: Option<i64>,
    /// Whether the end of the lease was logged.
    lease_lapsed: bool,
    /// Whether a join was sent, after which the coordinator may count it as a member.
    join_sent: bool,
}

impl Member<'_> {
    /// Sends heartbeats until the membership ends. The error is a request to leave.
    async fn run(&mut self) -> Result<MembershipEnd, LeaveReason> {
        let mut backoff = Backoff::new();
        let mut due = Instant::now();
        loop {
            tokio::select! {
                reply = self.channel.reply() => {
                    self.on_reply(reply)?;
                    due = Instant::now();
                    continue;
                }
                () = sleep_until(due) => {}
            }
            let (sent_at, sent) = (Lease::now(), Instant::now());
            let error = match self.heartbeat(sent_at).await? {
                Ok(()) => {
                    backoff = Backoff::new();
                    // A reply that came during the request is told at once.
                    due = if self.acknowledged.as_ref() == Some(&self.owned) {
                        sent + self.interval
                    } else {
                        sent
                    };
                    continue;
                }
                Err(error) => error,
            };
            match error.code() {
                Some(ResponseError::UnknownMemberId | ResponseError::FencedMemberEpoch) => {
                    self.lost(&error).await?;
                    due = Instant::now() + REJOIN_DELAY;
                }
                // The group is gone, or cannot have members of both protocols.
                Some(ResponseError::GroupIdNotFound) if self.epoch != JOIN_EPOCH => {
                    self.lost(&error).await?;
                    due = Instant::now() + REJOIN_DELAY;
                }
                Some(ResponseError::FencedInstanceId) => {
                    return Ok(MembershipEnd::Fenced(self.context.fenced_message()));
                }
                Some(ResponseError::UnsupportedVersion | ResponseError::GroupIdNotFound) => {
                    return self.protocol_unsupported(&error).await;
                }
                _ if matches!(error, WireError::Unsupported(_)) => {
                    return self.protocol_unsupported(&error).await;
                }
                _ => {
                    self.failed(&error);
                    due = Instant::now() + backoff.next_wait();
                }
            }
        }
    }

    fn on_reply(&mut self, reply: MemberReply) -> Result<(), LeaveReason> {
        match reply {
            MemberReply::Owns(partitions) => {
                self.owned = partitions;
                Ok(())
            }
            MemberReply::Leave(how) => Err(how),
        }
    }

    /// Sends a heartbeat and acts on the answer.
    async fn heartbeat(&mut self, sent_at: i64) -> Result<Result<(), WireError>, LeaveReason> {
        if self.epoch == JOIN_EPOCH {
            self.context.set_phase(GroupPhase::Joining);
        }
        if self.topic_id.is_nil()
            && let Err(error) = self.look_up_topic().await
        {
            return Ok(Err(error));
        }
        let request = self.request();
        let sent_owned = self.owned.clone();
        // Without an answer the next one tells everything.
        self.acknowledged = None;
        self.join_sent = true;
        let coordinator = Arc::clone(&self.coordinator);
        let mut sending = pin!(coordinator.consumer_group_heartbeat(&request));
        let answered = loop {
            tokio::select! {
                answered = &mut sending => break answered,
                reply = self.channel.reply() => self.on_reply(reply)?,
            }
        };
        Ok(match answered {
            Ok(answer) => {
                self.acknowledged = Some(sent_owned);
                self.on_response(answer, sent_at).await
            }
            Err(error) => Err(error),
        })
    }

    /// The heartbeat's content: everything at first and after a heartbeat without an answer, later what has changed.
    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.coordinator.group())
            .with_member_id(self.context.member_id.clone())
            .with_member_epoch(self.epoch)
            .with_instance_id(self.instance())
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(None);
        if self.acknowledged.as_ref() == Some(&self.owned) {
            return request;
        }
        let held = TopicPartitions::default()
            .with_topic_id(self.topic_id)
            .with_partitions(self.owned.iter().copied().collect());
        let held = if self.owned.is_empty() { Vec::new() } else { vec![held] };
        let request = request.with_topic_partitions(Some(held));
        if self.acknowledged.is_some() {
            return request;
        }
        let rebalance_timeout = self.context.config.rebalance_timeout.as_millis();
        let topic = TopicName(StrBytes::from_string(self.context.topic.name().as_ref().to_owned()));
        request
            .with_rebalance_timeout_ms(i32::try_from(rebalance_timeout).unwrap_or(i32::MAX))
            .with_subscribed_topic_names(Some(vec![topic]))
    }

    async fn on_response(
        &mut self,
        answer: ConsumerGroupHeartbeatResponse,
        sent_at: i64,
    ) -> Result<(), WireError> {
        let lease = self.channel.state.lease();
        let interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0));
        self.interval = interval.max(MIN_INTERVAL);
        self.epoch = answer.member_epoch;
        let generation = MemberGeneration {
            member_id: self.context.member_id.clone(),
            instance_id: self.instance(),
            id: answer.member_epoch,
        };
        self.channel.state.set(generation);
        self.note_revocation(answer.assignment.as_ref());
        self.answered_at = sent_at;
        lease.renew(sent_at, self.term(sent_at));
        self.context.succeeded();
        if std::mem::take(&mut self.lease_lapsed) {
            info!("heartbeats are answered again: going on");
        }
        let epoch = answer.member_epoch;
        self.context.registry.group(|group| group.generation = epoch);
        let Some(assignment) = answer.assignment else { return Ok(()) };
        let assigned = assignment.topic_partitions;
        if assigned.iter().any(|assigned| assigned.topic_id != self.topic_id) {
            // The topic was recreated. The broker repeats an assignment only to a member that tells everything, so an
            // assignment that cannot be used yet has to be asked for again.
            self.acknowledged = None;
            self.look_up_topic().await?;
            if assigned.iter().any(|assigned| assigned.topic_id != self.topic_id) {
                return Err(TOPIC_ID_DISAGREEMENT);
            }
        }
        let target: BTreeSet<i32> =
            assigned.iter().flat_map(|assigned| assigned.partitions.iter().copied()).collect();
        if self.target.as_ref() != Some(&target) {
            self.target = Some(target.clone());
            let why = self
                .cause
                .take()
                .unwrap_or_else(|| RebalanceCause::now("the coordinator assigned other partitions"));
            self.channel.send(GroupEvent::Assigned(target, why));
        }
        Ok(())
    }

    /// Notes whether the coordinator waits for it to revoke partitions: it does so for the rebalance time-out, and then gives
    /// away all that this member has, however often it is heard. It began after the last heartbeat that was answered without
    /// that.
    fn note_revocation(&mut self, assignment: Option<&Assignment>) {
        let of_topic = |assigned: &&Assigned| assigned.topic_id == self.topic_id;
        let assigned = assignment.map(|assignment| {
            let assigned = assignment.topic_partitions.iter().filter(of_topic);
            assigned.flat_map(|assigned| assigned.partitions.iter().copied()).collect::<BTreeSet<i32>>()
        });
        let may_own = assigned.as_ref().or(self.target.as_ref());
        let told = self.acknowledged.as_ref();
        let none = BTreeSet::new();
        let revokes = told.is_some_and(|told| !told.is_subset(may_own.unwrap_or(&none)));
        self.revoking_since = revokes.then(|| self.revoking_since.unwrap_or(self.answered_at));
    }

    async fn look_up_topic(&mut self) -> Result<(), WireError> {
        self.context.topic.clone().known_partitions().await;
        let mut connection = self.coordinator.cluster().connect().await?;
        self.topic_id = topic::id(&mut connection, self.context.topic.name()).await?;
        Ok(())
    }

    /// The member is out of the group: it joins again once the consumer owns nothing.
    async fn lost(&mut self, error: &WireError) -> Result<(), LeaveReason> {
        (self.epoch, self.join_sent) = (JOIN_EPOCH, false);
        (self.acknowledged, self.target, self.revoking_since) = (None, None, None);
        self.cause = Some(RebalanceCause::now(format!("was out of the group: {error}")));
        self.owned.clear();
        self.lease_lapsed = false;
        self.channel.lost(error.to_string()).await
    }

    /// The coordinator does not let this member join by the protocol. One that did before, as in a downgrade, gives this
    /// member's partitions to others.
    async fn protocol_unsupported(&mut self, error: &WireError) -> Result<MembershipEnd, LeaveReason> {
        if self.epoch != JOIN_EPOCH {
            self.lost(error).await?;
        }
        // A coordinator that speaks the protocol does not know the group by it: it is of another one.
        let advice = match error.code() {
            Some(ResponseError::GroupIdNotFound) => {
                "its members are of the classic protocol, and the brokers' group.consumer.migration.policy does not let \
                 them be joined; or they are no consumers: group.protocol=classic, or another group.id"
            }
            _ => "group.protocol=consumer needs Kafka 4.0; auto uses what there is",
        };
        Ok(MembershipEnd::ProtocolUnsupported(format!("{error} ({advice})")))
    }

    fn failed(&mut self, error: &WireError) {
        self.context.failed(&error.explained());
        if !self.owned.is_empty() && !self.lease_lapsed && !self.channel.state.lease().is_valid() {
            self.lease_lapsed = true;
            let term = self.term(self.answered_at);
            warn!("no heartbeat was answered for {term:?}: pausing until one is");
        }
    }

    /// Tells the coordinator that this member leaves. An error is only logged.
    async fn leave(&mut self, how: LeaveReason) {
        if !self.join_sent {
            return;
        }
        self.epoch = if self.context.keeps_membership(how) { LEAVE_STATIC_EPOCH } else { LEAVE_EPOCH };
        let request = self.request();
        if let Err(error) = self.coordinator.consumer_group_heartbeat(&request).await {
            debug!("leaving the group: {error}");
        }
    }

    /// The lease's term from an answered heartbeat on. The coordinator may have it revoke partitions at the next one, whose
    /// answer may be lost, or waits for that already.
    fn term(&self, sent_at: i64) -> Duration {
        let since = self.revoking_since.unwrap_or(sent_at);
        let waited = Duration::from_nanos(u64::try_from(sent_at.saturating_sub(since)).unwrap_or(0));
        let revocation = Lease::term(self.context.config.rebalance_timeout).saturating_sub(waited);
        (self.interval * LEASE_INTERVALS).min(MAX_LEASE).min(revocation)
    }

    fn instance(&self) -> Option<StrBytes> {
        self.context.config.instance_id.clone().map(StrBytes::from_string)
    }
}

impl Coordinator {
    async fn consumer_group_heartbeat(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, WireError> {
        let answer = self.call(request, VERSIONS, self.cluster().request_timeout()).await?;
        match (self.check(WHAT, answer.error_code).await, &answer.error_message) {
            (Err(WireError::Refused { what, error }), Some(said)) if !said.is_empty() => {
                Err(WireError::Denied { what, error, said: said.as_str().to_owned() })
            }
            (checked, _) => checked.map(|()| answer),
        }
    }
}
