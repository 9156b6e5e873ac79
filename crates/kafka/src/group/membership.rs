//! The seam between the group and the consumer. Whichever protocol is spoken, the group calls for partitions
//! to be held, and the consumer says what it holds.

use std::{collections::BTreeSet, future::pending, sync::Arc};

use chrono::{DateTime, Utc};
use log::{info, warn};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{Coordinator, GroupProtocol, classic, kip848, member_state::MemberState};
use crate::{ConsumerConfig, GroupPhase, StatusRegistry, Topic, backoff::Backoff};

/// The part of the registry that is the membership's.
pub(super) const JOINING: &str = "joining the group";

/// What the group wants of this member now. Each but the first and the last is answered by
/// [`Membership::acknowledge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    /// Nothing yet.
    Pending,
    /// To give up everything; what it gets comes after that (an eager rebalance).
    RevokeAll,
    /// To hold exactly these: to drain and commit what is not among them, then to take up what is new.
    Assigned(BTreeSet<i32>, RebalanceCause),
    /// Nothing more: it is out of the group, and nothing may be committed. It joins again by itself.
    Lost(String),
    /// Nothing, for good.
    Fenced(String),
}

/// What made the group rebalance, as far as a member can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RebalanceCause {
    pub(crate) reason: String,
    /// Since when it goes on.
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

/// What the consumer says.
#[derive(Debug)]
pub(super) enum MemberReply {
    Owns(BTreeSet<i32>),
    Leave(LeaveReason),
}

/// How to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaveReason {
    /// The process ends. A static member says nothing, unless it is told to: it is back before its session is over, or
    /// else that ends.
    Closing,
    /// It cannot go on: others are to take over at once.
    Stuck,
}

/// How a life in the group ended.
#[derive(Debug)]
pub(super) enum MembershipEnd {
    Left,
    Fenced(String),
    /// The coordinator does not take the protocol.
    ProtocolUnsupported(String),
}

/// Who joins, where, and on which terms.
#[derive(Debug)]
pub(crate) struct MemberContext {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) topic: Topic,
    pub(crate) config: ConsumerConfig,
    pub(crate) registry: Arc<StatusRegistry>,
}

impl MemberContext {
    pub(super) fn set_phase(&self, phase: GroupPhase) {
        self.registry.group(|group| group.phase = phase);
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) {
        self.registry.failed(JOINING, error);
        self.registry.group(|group| group.error = Some(error.to_string()));
    }

    /// Whether the group is to keep the member's place when it goes so.
    pub(super) fn keeps_membership(&self, how: LeaveReason) -> bool {
        how == LeaveReason::Closing && self.config.instance_id.is_some() && !self.config.leave_on_stop
    }

    /// What to say where another process came with the same instance id.
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
    /// `None` once it was left.
    task: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins, and goes on joining until it is left.
    pub(crate) fn start(context: Arc<MemberContext>) -> Self {
        let (sender, events) = watch::channel(GroupEvent::Pending);
        let (replies, inbox) = mpsc::unbounded_channel();
        let state = Arc::new(MemberState::default());
        let channel = GroupChannel { events: sender, replies: inbox, state: Arc::clone(&state) };
        Self { events, replies, state, task: Some(tokio::spawn(run(context, channel))) }
    }

    /// As what to commit, and how long to act.
    pub(crate) fn state(&self) -> &Arc<MemberState> {
        &self.state
    }

    /// Waits for the next call; where there were several, for the last.
    pub(crate) async fn next(&mut self) -> GroupEvent {
        match self.events.changed().await {
            Ok(()) => self.events.borrow_and_update().clone(),
            Err(_) => GroupEvent::Fenced("the membership's task ended".to_owned()),
        }
    }

    /// Waits until this member is out of the group; the call that says so is still to come.
    pub(crate) async fn out(&self) {
        // An error is the end of the task, which is being out, too.
        let _ = self.events.clone().wait_for(GroupEvent::is_out).await;
    }

    /// The call is answered: this member acts on these partitions and on no other.
    pub(crate) fn acknowledge(&self, partitions: BTreeSet<i32>) {
        // Where nobody hears it the membership is over, which the next call says.
        let _ = self.replies.send(MemberReply::Owns(partitions));
    }

    /// Goes, and returns when the coordinator knows or cannot be told. From the beginning the lease is over: what is
    /// still at work does nothing more.
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

/// The protocol's end of the seam.
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

    /// The next thing that the consumer says.
    pub(super) async fn reply(&mut self) -> MemberReply {
        match self.replies.recv().await {
            Some(reply) => reply,
            None => pending().await,
        }
    }

    /// Waits until the consumer wants to go.
    pub(super) async fn leave_requested(&mut self) -> LeaveReason {
        loop {
            if let MemberReply::Leave(how) = self.reply().await {
                return how;
            }
        }
    }

    /// Out of the group: has the consumer drop everything, and waits until it did, or wants to go.
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

/// Lives by the protocol that was asked for; where either will do, by the newer one if the broker takes it.
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
                context.failed(&format!(
                    "{why}: group.protocol=consumer needs Kafka 4.0 (auto uses what there is)"
                ));
                tokio::select! {
                    _ = channel.leave_requested() => return,
                    () = backoff.wait() => {}
                }
            }
        }
    }
}
