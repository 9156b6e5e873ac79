//! The seam between the group and the consumer, the same for both protocols: the group sends assignments, and the consumer
//! replies with the partitions that it owns.

use std::{collections::BTreeSet, future::pending, sync::Arc};

use chrono::{DateTime, Utc};
use kafka_protocol::protocol::StrBytes;
use log::{info, warn};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Coordinator, GroupProtocol, classic, kip848, member_state::MemberState};
use crate::{ConsumerConfig, GroupPhase, StatusRegistry, Topic, backoff::Backoff};

/// The membership's component of the status registry.
pub(super) const JOINING: &str = "joining the group";

/// An event of the group for the consumer. [`Membership::acknowledge`] replies to `RevokeAll`, `Assigned` and `Lost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    /// There is none yet.
    Pending,
    /// An eager rebalance: revoke all partitions. The assignment comes after the reply.
    RevokeAll,
    /// The assignment: drain and commit the partitions that are not in it, then add the new ones.
    Assigned(BTreeSet<i32>, RebalanceCause),
    /// The member is out of the group: drop all partitions without a commit. The member joins again after the reply.
    Lost(String),
    /// The member is out of the group for good.
    Fenced(String),
}

/// The cause of a rebalance, as far as a member can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RebalanceCause {
    pub(crate) reason: String,
    /// The start of the rebalance.
    pub(crate) since: DateTime<Utc>,
}

impl RebalanceCause {
    pub(super) fn now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), since: Utc::now() }
    }
}

impl GroupEvent {
    fn is_out(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Fenced(_))
    }
}

/// A message of the consumer.
#[derive(Debug)]
pub(super) enum MemberReply {
    Owns(BTreeSet<i32>),
    Leave(LeaveReason),
}

/// The reason to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaveReason {
    /// The process ends. A static member tells the coordinator only if it is configured to: it is back before its
    /// session is over, or that ends.
    Closing,
    /// A handler does not return: others are to take over at once.
    Stuck,
}

impl LeaveReason {
    /// The reason for the coordinator's log (KIP-800), in the words of Java's consumer.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Closing => "the consumer is being closed",
            Self::Stuck => "consumer poll timeout has expired.",
        }
    }
}

/// The end of a membership.
#[derive(Debug)]
pub(super) enum MembershipEnd {
    Left,
    Fenced(String),
    /// The coordinator does not let this member join by the protocol: the reason, and the remedy.
    ProtocolUnsupported(String),
}

/// The group, the topic and the settings of a member.
#[derive(Debug)]
pub(crate) struct MemberContext {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) topic: Topic,
    pub(crate) config: ConsumerConfig,
    pub(crate) registry: Arc<StatusRegistry>,
    /// The id by which it joins under KIP-848: the same each time that it joins (`ConsumerMembershipManager` in Java).
    pub(super) member_id: StrBytes,
}

impl MemberContext {
    pub(crate) fn new(
        coordinator: Arc<Coordinator>,
        topic: Topic,
        config: ConsumerConfig,
        registry: Arc<StatusRegistry>,
    ) -> Self {
        let member_id = StrBytes::from_string(Uuid::new_v4().to_string());
        Self { coordinator, topic, config, registry, member_id }
    }

    pub(super) fn set_phase(&self, phase: GroupPhase) {
        self.registry.group(|group| group.phase = phase);
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) {
        self.registry.failed(JOINING, error);
        self.registry.group(|group| group.error = Some(error.to_string()));
    }

    /// Whether the coordinator is to keep the member's partitions for its restart.
    pub(super) fn keeps_membership(&self, how: LeaveReason) -> bool {
        how == LeaveReason::Closing && self.config.instance_id.is_some() && !self.config.leave_on_stop
    }

    /// The error of a member that another process with the same instance id has fenced.
    pub(super) fn fenced_message(&self) -> String {
        let instance = self.config.instance_id.as_deref().unwrap_or_default();
        format!(
            "another process joined the group as group.instance.id={instance}: this one is fenced for good \
             (give each instance an id of its own, and start this one again)"
        )
    }

    pub(super) fn succeeded(&self) {
        self.registry.succeeded(JOINING);
        self.registry.group(|group| group.error = None);
    }
}

/// This process's membership in the group, from its first join to its leave.
#[derive(Debug)]
pub(crate) struct Membership {
    events: watch::Receiver<GroupEvent>,
    replies: mpsc::UnboundedSender<MemberReply>,
    state: Arc<MemberState>,
    /// `None` after the leave.
    task: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins, and joins again whenever it is out of the group, until it leaves.
    pub(crate) fn start(context: Arc<MemberContext>) -> Self {
        let (sender, events) = watch::channel(GroupEvent::Pending);
        let (replies, inbox) = mpsc::unbounded_channel();
        let state = Arc::new(MemberState::default());
        let channel = GroupChannel { events: sender, replies: inbox, state: Arc::clone(&state) };
        Self { events, replies, state, task: Some(tokio::spawn(run(context, channel))) }
    }

    /// The current generation and lease.
    pub(crate) fn state(&self) -> &Arc<MemberState> {
        &self.state
    }

    /// Waits for the next event; of several, returns the last.
    pub(crate) async fn next(&mut self) -> GroupEvent {
        match self.events.changed().await {
            Ok(()) => self.events.borrow_and_update().clone(),
            Err(_) => GroupEvent::Fenced("the membership's task ended".to_owned()),
        }
    }

    /// Waits until this member is out of the group. The event is still to be received.
    pub(crate) async fn out(&self) {
        // An error is the end of the task, which is out of the group too.
        let _ = self.events.clone().wait_for(GroupEvent::is_out).await;
    }

    /// Replies that this member owns these partitions and no others.
    pub(crate) fn acknowledge(&self, partitions: BTreeSet<i32>) {
        // If the task has ended, the next event says so.
        let _ = self.replies.send(MemberReply::Owns(partitions));
    }

    /// Leaves, and returns when the coordinator has answered or cannot be reached. The lease ends at once, so the
    /// workers do nothing more.
    pub(crate) async fn leave(&mut self, how: LeaveReason) {
        self.state.lease().end();
        let _ = self.replies.send(MemberReply::Leave(how));
        if let Some(task) = &mut self.task {
            if let Err(error) = task.await {
                warn!("the membership ended badly: {error}");
            }
            self.task = None;
        }
        self.state.clear();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        self.state.clear();
    }
}

/// The protocol's side of the seam.
#[derive(Debug)]
pub(super) struct GroupChannel {
    events: watch::Sender<GroupEvent>,
    replies: mpsc::UnboundedReceiver<MemberReply>,
    pub(super) state: Arc<MemberState>,
}

impl GroupChannel {
    pub(super) fn send(&self, event: GroupEvent) {
        self.events.send_replace(event);
    }

    /// Waits for the consumer's next message.
    pub(super) async fn reply(&mut self) -> MemberReply {
        match self.replies.recv().await {
            Some(reply) => reply,
            None => pending().await,
        }
    }

    /// Waits until the consumer wants to leave.
    pub(super) async fn leave_requested(&mut self) -> LeaveReason {
        loop {
            if let MemberReply::Leave(how) = self.reply().await {
                return how;
            }
        }
    }

    /// The member is out of the group: tells the consumer, and waits until it owns nothing or wants to leave.
    pub(super) async fn lost(&mut self, reason: String) -> Result<(), LeaveReason> {
        self.state.clear();
        self.send(GroupEvent::Lost(reason));
        loop {
            match self.reply().await {
                MemberReply::Owns(partitions) if partitions.is_empty() => return Ok(()),
                MemberReply::Owns(_) => {}
                MemberReply::Leave(how) => return Err(how),
            }
        }
    }
}

/// Runs the configured protocol; for `Auto` that of KIP-848 if the broker supports it.
async fn run(context: Arc<MemberContext>, mut channel: GroupChannel) {
    let wanted = context.config.protocol;
    let mut backoff = Backoff::new();
    loop {
        let ended = match wanted {
            GroupProtocol::Classic => classic::run(&context, &mut channel).await,
            GroupProtocol::Consumer | GroupProtocol::Auto => kip848::run(&context, &mut channel).await,
        };
        let ended = match ended {
            MembershipEnd::ProtocolUnsupported(why) if wanted == GroupProtocol::Auto => {
                info!("group {}: the classic protocol, as {why}", context.config.group_id);
                classic::run(&context, &mut channel).await
            }
            ended => ended,
        };
        match ended {
            MembershipEnd::Left => return,
            MembershipEnd::Fenced(reason) => {
                channel.state.clear();
                channel.send(GroupEvent::Fenced(reason));
                return;
            }
            MembershipEnd::ProtocolUnsupported(why) => {
                context.failed(&why);
                tokio::select! {
                    _ = channel.leave_requested() => return,
                    () = backoff.wait() => {}
                }
            }
        }
    }
}
