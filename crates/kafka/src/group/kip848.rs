//! The protocol of KIP-848: one request, ConsumerGroupHeartbeat, says what a member holds, and its answer what it
//! is to hold. The broker computes the assignment, and hands nothing on before its owner has given it up.
//!
//! A member is in the group by its epoch: 0 to join, -1 to leave, -2 to leave and come back (KIP-345).

use std::{collections::BTreeSet, ops::RangeInclusive, pin::pin, sync::Arc, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicName,
        consumer_group_heartbeat_request::TopicPartitions,
    },
    protocol::StrBytes,
};
use log::{debug, info, warn};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    AGAIN, Claim, Coordinator, Lease, Leave,
    membership::{Call, Ended, Enrolment, Line, Why, Word},
};
use crate::{GroupPhase, backoff::Backoff, topic, wire::WireError};

/// From version 1 on, Kafka 4.0's, members choose their own ids.
const KNOWN: RangeInclusive<i16> = 1..=1;
const WHAT: &str = "ConsumerGroupHeartbeat";
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;
/// So many of the intervals that the broker gives may pass without an answered heartbeat before the lease is
/// over. Its session time-out is not told to members; with Kafka's defaults it is nine intervals.
const LEASE_INTERVALS: u32 = 3;
/// And it lasts no longer than a session, less a margin, that is the shortest which Kafka allows unless
/// `group.consumer.min.session.timeout.ms` is set lower: of an interval Kafka wants only that it is shorter than
/// the session.
const LONGEST_LEASE: Duration = Duration::from_millis(40_500);
/// Who assigns and who was asked for the topic's id are not agreed on it yet.
const ELSEWHERE: WireError = WireError::Refused { what: WHAT, error: ResponseError::UnknownTopicId };
/// No broker is told more often, whatever it asks for.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Lives in the group until it leaves, or may not come back.
pub(super) async fn live(enrolment: &Enrolment, line: &mut Line) -> Ended {
    enrolment.registry.group(|group| (group.protocol, group.assignor) = ("consumer", None));
    let mut member = Member {
        enrolment,
        coordinator: Arc::clone(&enrolment.coordinator),
        line,
        id: StrBytes::from_string(Uuid::new_v4().to_string()),
        epoch: JOINS,
        topic_id: Uuid::nil(),
        owned: BTreeSet::new(),
        told: None,
        target: None,
        why: Some(Why::now("the consumer is starting")),
        interval: Duration::ZERO,
        lapsed: false,
        asked: false,
    };
    match member.live().await {
        Err(how) => {
            member.leave(how).await;
            Ended::Left
        }
        Ok(ended) => ended,
    }
}

struct Member<'a> {
    enrolment: &'a Enrolment,
    coordinator: Arc<Coordinator>,
    line: &'a mut Line,
    id: StrBytes,
    epoch: i32,
    /// Nil while it is not known.
    topic_id: Uuid,
    /// What the consumer said to hold last.
    owned: BTreeSet<i32>,
    /// What of that the coordinator knows; `None` where it is to be told all there is to tell.
    told: Option<BTreeSet<i32>>,
    /// What the consumer was called to hold last.
    target: Option<BTreeSet<i32>>,
    /// Why it joined, until it was called to hold something.
    why: Option<Why>,
    /// As the broker gives it.
    interval: Duration,
    /// It was said that the lease ran out.
    lapsed: bool,
    /// It asked to join, and may be in the group for all it knows.
    asked: bool,
}

impl Member<'_> {
    /// Beats until it is to leave, which is the error, or ends otherwise.
    async fn live(&mut self) -> Result<Ended, Leave> {
        let mut backoff = Backoff::new();
        let mut due = Instant::now();
        loop {
            tokio::select! {
                word = self.line.word() => {
                    self.hear(word)?;
                    due = Instant::now();
                    continue;
                }
                () = sleep_until(due) => {}
            }
            let (sent_at, sent) = (Lease::now(), Instant::now());
            let error = match self.beat(sent_at).await? {
                Ok(()) => {
                    backoff = Backoff::new();
                    // What it came to hold while the answer was under way is told at once.
                    due = if self.told.as_ref() == Some(&self.owned) { sent + self.interval } else { sent };
                    continue;
                }
                Err(error) => error,
            };
            match error.code() {
                Some(ResponseError::UnknownMemberId | ResponseError::FencedMemberEpoch) => {
                    self.lost(&error).await?;
                    due = Instant::now() + AGAIN;
                }
                // A group that is gone, or else one whose members may not be of both protocols.
                Some(ResponseError::GroupIdNotFound) if self.epoch != JOINS => {
                    self.lost(&error).await?;
                    due = Instant::now() + AGAIN;
                }
                Some(ResponseError::FencedInstanceId) => {
                    return Ok(Ended::Barred(self.enrolment.fenced()));
                }
                Some(ResponseError::UnsupportedVersion | ResponseError::GroupIdNotFound) => {
                    return self.not_spoken(&error).await;
                }
                _ if matches!(error, WireError::Unsupported(_)) => return self.not_spoken(&error).await,
                _ => {
                    self.failed(&error);
                    due = Instant::now() + backoff.next_wait();
                }
            }
        }
    }

    fn hear(&mut self, word: Word) -> Result<(), Leave> {
        match word {
            Word::Holds(partitions) => {
                self.owned = partitions;
                Ok(())
            }
            Word::Leave(how) => Err(how),
        }
    }

    /// One heartbeat, and what follows of its answer.
    async fn beat(&mut self, sent_at: i64) -> Result<Result<(), WireError>, Leave> {
        if self.epoch == JOINS {
            self.enrolment.phase(GroupPhase::Joining);
        }
        if self.topic_id.is_nil()
            && let Err(error) = self.look_up_topic().await
        {
            return Ok(Err(error));
        }
        let request = self.request();
        let tells = self.owned.clone();
        // Unless this one is answered, the next one tells all.
        self.told = None;
        self.asked = true;
        let coordinator = Arc::clone(&self.coordinator);
        let mut sending = pin!(coordinator.beat(&request));
        let answered = loop {
            tokio::select! {
                answered = &mut sending => break answered,
                word = self.line.word() => self.hear(word)?,
            }
        };
        Ok(match answered {
            Ok(answer) => {
                self.told = Some(tells);
                self.heed(answer, sent_at).await
            }
            Err(error) => Err(error),
        })
    }

    /// What has to be told: everything at first and after a heartbeat that was not answered, later what changed.
    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.coordinator.group())
            .with_member_id(self.id.clone())
            .with_member_epoch(self.epoch)
            .with_instance_id(self.instance())
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(None);
        if self.told.as_ref() == Some(&self.owned) {
            return request;
        }
        let held = TopicPartitions::default()
            .with_topic_id(self.topic_id)
            .with_partitions(self.owned.iter().copied().collect());
        let held = if self.owned.is_empty() { Vec::new() } else { vec![held] };
        let request = request.with_topic_partitions(Some(held));
        if self.told.is_some() {
            return request;
        }
        let patience = self.enrolment.config.rebalance_timeout.as_millis();
        let topic = TopicName(StrBytes::from_string(self.enrolment.topic.name().as_ref().to_owned()));
        request
            .with_rebalance_timeout_ms(i32::try_from(patience).unwrap_or(i32::MAX))
            .with_subscribed_topic_names(Some(vec![topic]))
    }

    async fn heed(&mut self, answer: ConsumerGroupHeartbeatResponse, sent_at: i64) -> Result<(), WireError> {
        let lease = self.line.standing.lease();
        let interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0));
        self.interval = interval.max(SHORTEST_INTERVAL);
        self.epoch = answer.member_epoch;
        let claim =
            Claim { member: self.id.clone(), instance: self.instance(), generation: answer.member_epoch };
        self.line.standing.is(claim);
        lease.renew(sent_at, self.term());
        self.enrolment.succeeded();
        if std::mem::take(&mut self.lapsed) {
            info!("heartbeats are answered again: going on");
        }
        let epoch = answer.member_epoch;
        self.enrolment.registry.group(|group| group.generation = epoch);
        let Some(assignment) = answer.assignment else { return Ok(()) };
        let assigned = assignment.topic_partitions;
        if assigned.iter().any(|assigned| assigned.topic_id != self.topic_id) {
            // The topic was made again. An assignment is repeated to who tells all, and to nobody else: what
            // cannot be taken up yet has to be asked for again.
            self.told = None;
            self.look_up_topic().await?;
            if assigned.iter().any(|assigned| assigned.topic_id != self.topic_id) {
                return Err(ELSEWHERE);
            }
        }
        let target: BTreeSet<i32> =
            assigned.iter().flat_map(|assigned| assigned.partitions.iter().copied()).collect();
        if self.target.as_ref() != Some(&target) {
            self.target = Some(target.clone());
            let why =
                self.why.take().unwrap_or_else(|| Why::now("the coordinator assigned other partitions"));
            self.line.call(Call::Hold(target, why));
        }
        Ok(())
    }

    async fn look_up_topic(&mut self) -> Result<(), WireError> {
        self.enrolment.topic.clone().known_partitions().await;
        let mut connection = self.coordinator.cluster().connect().await?;
        self.topic_id = topic::id(&mut connection, self.enrolment.topic.name()).await?;
        Ok(())
    }

    /// Out of the group: once the consumer has dropped everything it joins again.
    async fn lost(&mut self, error: &WireError) -> Result<(), Leave> {
        (self.epoch, self.asked) = (JOINS, false);
        (self.told, self.target) = (None, None);
        self.why = Some(Why::now(format!("was out of the group: {error}")));
        self.owned.clear();
        self.lapsed = false;
        self.line.lost(error.to_string()).await
    }

    /// The coordinator does not take the protocol. One that did before, as in a downgrade, has given away what
    /// this member holds, or will.
    async fn not_spoken(&mut self, error: &WireError) -> Result<Ended, Leave> {
        if self.epoch != JOINS {
            self.lost(error).await?;
        }
        Ok(Ended::NotSpoken(error.to_string()))
    }

    fn failed(&mut self, error: &WireError) {
        self.enrolment.failed(&error.explained());
        let term = self.term();
        if !self.owned.is_empty() && !self.lapsed && !self.line.standing.lease().is_valid() {
            self.lapsed = true;
            warn!("no heartbeat was answered for {term:?}: standing still until one is");
        }
    }

    /// Tells the coordinator that this member goes. Best effort.
    async fn leave(&mut self, how: Leave) {
        if !self.asked {
            return;
        }
        self.epoch = if self.enrolment.stays(how) { LEAVES_FOR_A_WHILE } else { LEAVES };
        let request = self.request();
        if let Err(error) = self.coordinator.beat(&request).await {
            debug!("leaving the group: {error}");
        }
    }

    /// How long the lease runs from an answered heartbeat on.
    fn term(&self) -> Duration {
        (self.interval * LEASE_INTERVALS).min(LONGEST_LEASE)
    }

    fn instance(&self) -> Option<StrBytes> {
        self.enrolment.config.instance_id.clone().map(StrBytes::from_string)
    }
}

impl Coordinator {
    async fn beat(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, WireError> {
        let answer = self.call(request, KNOWN, self.cluster().request_timeout()).await?;
        if let Some(said) = &answer.error_message {
            debug!("{WHAT}: {said:?}");
        }
        self.check(WHAT, answer.error_code).await?;
        Ok(answer)
    }
}
