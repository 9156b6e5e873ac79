//! The classic protocol: members join, the leader computes the assignment, all members sync.
//!
//! ```text
//! find the coordinator ─▶ join ─▶ sync ─▶ run the generation ─▶ revoke all (eager) ─┐
//!                          ▲                                                        │
//!                          └────────── join again, keep all (cooperative) ◀─────────┴─▶ leave
//! ```
//!
//! The states are those of Java's `ConsumerCoordinator`.

mod heartbeat;
mod join;

use std::{collections::BTreeSet, future::pending, pin::pin, sync::Arc, time::Duration};

use kafka_protocol::ResponseError;
use tokio::time::sleep;

use super::{
    Coordinator, LeaveReason, REJOIN_DELAY,
    assignor::is_cooperative,
    membership::{GroupChannel, GroupEvent, MemberContext, MemberReply, MembershipEnd, RebalanceCause},
};
use crate::{GroupPhase, backoff::Backoff, wire::WireError};
use heartbeat::{Heartbeat, HeartbeatResult};
use join::{JoinedGeneration, Joiner, PartitionCounts, partition_counts};

/// The reason for a rebalance that the coordinator asks for: it does not tell more.
const REBALANCE_IN_PROGRESS: &str = "the coordinator called for it: a member joined, left or changed";

/// Runs the membership until it ends.
pub(super) async fn run(context: &MemberContext, channel: &mut GroupChannel) -> MembershipEnd {
    context.registry.group(|group| group.protocol = "classic");
    let member = Member {
        context,
        channel,
        joiner: Joiner::new(context),
        heartbeat: Heartbeat::new(context),
        owned: BTreeSet::new(),
        cause: RebalanceCause::now("the consumer is starting"),
    };
    member.run().await
}

struct Member<'a> {
    context: &'a MemberContext,
    channel: &'a mut GroupChannel,
    joiner: Joiner,
    heartbeat: Heartbeat,
    /// The consumer's last reply.
    owned: BTreeSet<i32>,
    /// The cause of the next join, also for the coordinator's log (KIP-800).
    cause: RebalanceCause,
}

/// The end of a generation.
enum GenerationEnd {
    /// A rebalance.
    Rejoin(RebalanceCause),
    /// The member is out of the group.
    Lost(WireError),
    Leave(LeaveReason),
}

impl Member<'_> {
    async fn run(mut self) -> MembershipEnd {
        let mut backoff = Backoff::new();
        loop {
            let joined = match self.rebalance().await {
                Ok(joined) => joined,
                Err(how) => return self.leave(how).await,
            };
            let next = match joined {
                Ok(joined) => {
                    self.context.succeeded();
                    backoff = Backoff::new();
                    self.run_generation(joined).await
                }
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    if let Err(how) = self.pause(REJOIN_DELAY).await {
                        return self.leave(how).await;
                    }
                    continue;
                }
                Err(error) if is_fenced_out(&error) => GenerationEnd::Lost(error),
                Err(error) => {
                    self.context.failed(&self.explain(&error));
                    if let Err(how) = self.pause(backoff.next_wait()).await {
                        return self.leave(how).await;
                    }
                    continue;
                }
            };
            match next {
                GenerationEnd::Rejoin(cause) => self.cause = cause,
                GenerationEnd::Lost(error) if error.code() == Some(ResponseError::FencedInstanceId) => {
                    return MembershipEnd::Fenced(self.context.fenced_message());
                }
                GenerationEnd::Lost(error) => {
                    self.joiner.left_generation(&error);
                    self.heartbeat.stop();
                    self.cause = RebalanceCause::now(format!("was out of the group: {error}"));
                    self.owned.clear();
                    if let Err(how) = self.channel.lost(error.to_string()).await {
                        return self.leave(how).await;
                    }
                    if let Err(how) = self.pause(REJOIN_DELAY).await {
                        return self.leave(how).await;
                    }
                }
                GenerationEnd::Leave(how) => return self.leave(how).await,
            }
        }
    }

    /// Takes part in one rebalance, unless the consumer wants to leave.
    async fn rebalance(&mut self) -> Result<Result<JoinedGeneration, WireError>, LeaveReason> {
        let Self { context, channel, joiner, heartbeat, owned, cause } = self;
        let state = Arc::clone(&channel.state);
        let joining = joiner.join(context, &state, owned, &cause.reason);
        let member = match keeping_alive(context, channel, heartbeat, joining).await? {
            Ok(member) => member,
            Err(error) => return Ok(Err(error)),
        };
        heartbeat.joined(&state);
        let syncing = joiner.sync(context, &state, member);
        keeping_alive(context, channel, heartbeat, syncing).await
    }

    /// Waits, unless the consumer wants to leave.
    async fn pause(&mut self, wait: Duration) -> Result<(), LeaveReason> {
        keeping_alive(self.context, self.channel, &mut self.heartbeat, sleep(wait)).await
    }

    /// Runs one generation: sends the assignment to the consumer, and heartbeats until the generation ends.
    async fn run_generation(&mut self, joined: JoinedGeneration) -> GenerationEnd {
        let JoinedGeneration { assignment, is_leader, partitions, other_topics, synced_at } = joined;
        let cooperative = is_cooperative(&self.context.config.assignors);
        let mut topic = self.context.topic.clone();
        let coordinator = Arc::clone(&self.context.coordinator);
        let max_age = self.context.config.metadata_max_age;
        let mut other_topics = pin!(other_topics_changed(coordinator, other_topics, max_age));
        // Another member gets a revoked partition in the generation after this one (KIP-429).
        let mut due = (cooperative && !self.owned.is_subset(&assignment))
            .then(|| RebalanceCause::now("gave up partitions"));
        let mut answered = false;
        self.heartbeat.synced(synced_at);
        self.channel.send(GroupEvent::Assigned(assignment, self.cause.clone()));
        loop {
            match due {
                Some(cause) if answered => {
                    return if cooperative {
                        GenerationEnd::Rejoin(cause)
                    } else {
                        self.revoke_all(cause).await
                    };
                }
                _ => {}
            }
            tokio::select! {
                reply = self.channel.reply() => match reply {
                    MemberReply::Owns(partitions) => (self.owned, answered) = (partitions, true),
                    MemberReply::Leave(how) => return GenerationEnd::Leave(how),
                },
                result = self.heartbeat.next(&self.context.coordinator) => match result {
                    HeartbeatResult::Stable => {}
                    HeartbeatResult::Rebalance => { due.get_or_insert_with(|| RebalanceCause::now(REBALANCE_IN_PROGRESS)); }
                    HeartbeatResult::Lost(error) => return GenerationEnd::Lost(error),
                },
                () = topic.changed_from(partitions), if is_leader && due.is_none() => {
                    due = Some(RebalanceCause::now("the topic's partitions changed"));
                }
                topic = &mut other_topics, if is_leader && due.is_none() => {
                    due = Some(RebalanceCause::now(format!("the partitions of {topic} changed, which others read")));
                }
            }
        }
    }

    /// Waits until the consumer has revoked all partitions.
    async fn revoke_all(&mut self, cause: RebalanceCause) -> GenerationEnd {
        self.channel.send(GroupEvent::RevokeAll);
        loop {
            tokio::select! {
                reply = self.channel.reply() => match reply {
                    MemberReply::Owns(partitions) if partitions.is_empty() => {
                        self.owned = partitions;
                        return GenerationEnd::Rejoin(cause);
                    }
                    MemberReply::Owns(_) => {}
                    MemberReply::Leave(how) => return GenerationEnd::Leave(how),
                },
                result = self.heartbeat.next(&self.context.coordinator) => {
                    if let HeartbeatResult::Lost(error) = result {
                        return GenerationEnd::Lost(error);
                    }
                }
            }
        }
    }

    async fn leave(mut self, how: LeaveReason) -> MembershipEnd {
        if !self.context.keeps_membership(how) {
            self.context.set_phase(GroupPhase::Left);
            if let Err(error) = self.joiner.leave(self.context, how).await {
                log::debug!("leaving the group: {error}");
            }
        }
        MembershipEnd::Left
    }

    fn explain(&self, error: &WireError) -> String {
        match error.code() {
            Some(ResponseError::InconsistentGroupProtocol) => format!(
                "{error} (members of the group offer none of {}: partition.assignment.strategy; or they are no \
                 consumers, as Kafka Connect's workers are none: another group.id)",
                self.context
                    .config
                    .assignors
                    .iter()
                    .map(|assignor| assignor.name())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Some(ResponseError::GroupAuthorizationFailed) => {
                format!("group {}: {}", self.context.config.group_id, error.explained())
            }
            _ => error.explained(),
        }
    }
}

/// Waits for a step and sends heartbeats, unless the consumer wants to leave.
async fn keeping_alive<T>(
    context: &MemberContext,
    channel: &mut GroupChannel,
    heartbeat: &mut Heartbeat,
    step: impl Future<Output = T>,
) -> Result<T, LeaveReason> {
    tokio::select! {
        biased;
        how = channel.leave_requested() => Err(how),
        done = step => Ok(done),
        never = heartbeat.keep_alive(&context.coordinator) => match never {},
    }
}

/// Waits until a topic that other members subscribe to has another number of partitions than in `known`, and returns
/// its name. Those members do not look themselves.
async fn other_topics_changed(
    coordinator: Arc<Coordinator>,
    known: PartitionCounts,
    max_age: Duration,
) -> String {
    if known.is_empty() {
        return pending().await;
    }
    loop {
        sleep(max_age).await;
        // Without an answer no change is known.
        let Ok(now) = partition_counts(coordinator.cluster(), known.keys().cloned()).await else { continue };
        if let Some((topic, _)) = known.iter().find(|(topic, count)| now.get(*topic) != Some(count)) {
            return topic.clone();
        }
    }
}

/// Whether the coordinator says that this is not a member, or not of that generation.
fn is_fenced_out(error: &WireError) -> bool {
    matches!(
        error.code(),
        Some(
            ResponseError::UnknownMemberId
                | ResponseError::IllegalGeneration
                | ResponseError::FencedInstanceId
        )
    )
}
