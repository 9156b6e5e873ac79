//! A member of a group of the consumer protocol (`ConsumerGroupMember` in Java).

use std::{collections::BTreeSet, time::Duration};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{JOINS, LEAVES_FOR_RESTART, Partitions, ServerAssignor};

/// A ConsumerGroupHeartbeat. A field that is `None` has not changed since the last one.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The id that the member has chosen.
    pub member: String,
    /// Its epoch, or one of [`JOINS`](super::JOINS), [`LEAVES`](super::LEAVES) and
    /// [`LEAVES_FOR_RESTART`](super::LEAVES_FOR_RESTART).
    pub epoch: i32,
    /// Its instance id, which survives a restart (KIP-345).
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// The address that it comes from.
    pub host: String,
    /// The longest time that it may take to revoke partitions.
    pub rebalance_timeout: Option<Duration>,
    /// The names of the topics that it subscribes to.
    pub subscription: Option<BTreeSet<String>>,
    /// The assignor that it prefers.
    pub assignor: Option<ServerAssignor>,
    /// The partitions that it owns.
    pub owned: Option<Partitions>,
}

impl Heartbeat {
    /// Whether it is the first one, or one after an error, which is answered with all.
    pub(super) fn tells_all(&self) -> bool {
        self.epoch == JOINS
            || self.rebalance_timeout.is_some() && self.subscription.is_some() && self.owned.is_some()
    }
}

/// A time of the coordinator's own, which no record of the group has: all of them are equal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer(Instant);

impl PartialEq for Timer {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Timer {}

/// The state of a member on the way to its target (`MemberState`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reconciliation {
    /// It has all that it can get at its epoch.
    Stable,
    /// It is to revoke these partitions until then (`UNREVOKED_PARTITIONS`).
    Revoking { pending: Partitions, until: Timer },
    /// Others hold partitions that it is to get (`UNRELEASED_PARTITIONS`).
    Waiting,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    instance: Option<String>,
    client_id: String,
    host: String,
    rebalance_timeout: Duration,
    subscription: BTreeSet<String>,
    pub(super) prefers: Option<ServerAssignor>,
    last_heard: Timer,
    epoch: i32,
    /// The epoch before the last step, which a member is at that has missed an answer.
    previous_epoch: i32,
    pub(super) reconciliation: Reconciliation,
    assigned: Partitions,
    pub(super) target: Partitions,
}

impl Member {
    pub(super) fn new(beat: &Heartbeat) -> Self {
        Self {
            instance: beat.instance.clone(),
            client_id: beat.client_id.clone(),
            host: beat.host.clone(),
            rebalance_timeout: Duration::ZERO,
            subscription: BTreeSet::new(),
            prefers: None,
            last_heard: Timer(Instant::now()),
            epoch: JOINS,
            previous_epoch: JOINS,
            reconciliation: Reconciliation::Stable,
            assigned: Partitions::new(),
            target: Partitions::new(),
        }
    }

    /// Its instance id.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Its client id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The address that it comes from.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The topics that it subscribes to.
    pub fn subscription(&self) -> &BTreeSet<String> {
        &self.subscription
    }

    /// The time of its last heartbeat.
    pub fn last_heard(&self) -> Instant {
        self.last_heard.0
    }

    /// Its epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The partitions that it has, and may read.
    pub fn assigned(&self) -> &Partitions {
        &self.assigned
    }

    /// The partitions that it is to have.
    pub fn target(&self) -> &Partitions {
        &self.target
    }

    /// The partitions that no other member can get: it has them, or has not said yet that it has revoked them
    /// (`currentPartitionEpoch`).
    pub fn held(&self) -> impl Iterator<Item = super::TopicPartition> {
        let pending = match &self.reconciliation {
            Reconciliation::Revoking { pending, .. } => Some(pending),
            Reconciliation::Stable | Reconciliation::Waiting => None,
        };
        self.assigned.iter().chain(pending.into_iter().flatten()).copied()
    }

    /// Applies a heartbeat. Returns whether the subscription has changed.
    pub(super) fn apply_heartbeat(&mut self, beat: &Heartbeat) -> bool {
        self.last_heard = Timer(Instant::now());
        self.client_id.clone_from(&beat.client_id);
        self.host.clone_from(&beat.host);
        self.rebalance_timeout = beat.rebalance_timeout.unwrap_or(self.rebalance_timeout);
        self.prefers = beat.assignor.or(self.prefers);
        let new = beat.subscription.as_ref().filter(|new| **new != self.subscription);
        new.is_some_and(|new| {
            self.subscription.clone_from(new);
            true
        })
    }

    /// Whether a heartbeat is of the current epoch. One of the epoch before is, too, if its answer may have been lost: it
    /// owns nothing that it has not (`throwIfConsumerGroupMemberEpochIsInvalid`). As in Java before KAFKA-19233, one that
    /// joins again while it is a member waits for the end of its session.
    pub(super) fn check_epoch(&self, beat: &Heartbeat) -> Result<(), ResponseError> {
        let missed_the_answer = || {
            beat.epoch == self.previous_epoch
                && beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&self.assigned))
        };
        match beat.epoch == self.epoch || beat.epoch < self.epoch && missed_the_answer() {
            true => Ok(()),
            false => Err(ResponseError::FencedMemberEpoch),
        }
    }

    /// Takes a step: to this epoch, with these partitions, in this state.
    pub(super) fn step(&mut self, epoch: i32, assigned: Partitions, reconciliation: Reconciliation) {
        (self.previous_epoch, self.epoch) = (self.epoch, epoch);
        (self.assigned, self.reconciliation) = (assigned, reconciliation);
    }

    pub(super) fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.reconciliation == Reconciliation::Stable && self.epoch == assignment_epoch
    }

    /// The time at which a revocation that begins now has to be over.
    pub(super) fn revokes_until(&self) -> Timer {
        Timer(Instant::now() + self.rebalance_timeout)
    }

    /// Its session begins anew, and a revocation.
    pub(super) fn begin_session(&mut self) {
        self.last_heard = Timer(Instant::now());
        let revokes_until = self.revokes_until();
        if let Reconciliation::Revoking { until, .. } = &mut self.reconciliation {
            *until = revokes_until;
        }
    }

    /// A static member that leaves for a restart keeps what it has until its session is over
    /// (`consumerGroupStaticMemberGroupLeave`).
    pub(super) fn leave_for_restart(&mut self) {
        self.epoch = LEAVES_FOR_RESTART;
        self.reconciliation = Reconciliation::Stable;
    }

    pub(super) fn has_left_for_restart(&self) -> bool {
        self.epoch == LEAVES_FOR_RESTART
    }

    /// The same static member after its restart: it owns nothing yet, and gets what it had.
    pub(super) fn restarted(self) -> Self {
        Self { epoch: JOINS, previous_epoch: JOINS, ..self }
    }

    /// Whether its session is over, or its time to revoke.
    pub(super) fn is_late(&self, now: Instant, session: Duration) -> bool {
        let revoked_too_late = match self.reconciliation {
            Reconciliation::Revoking { until: Timer(until), .. } => now >= until,
            Reconciliation::Stable | Reconciliation::Waiting => false,
        };
        revoked_too_late || now >= self.last_heard.0 + session
    }
}
