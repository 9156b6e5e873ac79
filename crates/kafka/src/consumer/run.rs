//! The life of a consumer: what the group calls for, and what becomes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use log::{error, info, warn};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    COMMITTING, Committed, Progress, Shift, Staffing, Worker, progress::Reach, shift::Entry, worker::Portion,
};
use crate::{
    GroupPhase, OffsetReset, Rebalance,
    backoff::Backoff,
    group::{Call, Coordinator, Enrolment, Leave, Membership, Why},
};

/// How long draining and committing may take when the process is to stop, and as long again leaving the
/// group: with Kafka away, both are in vain.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// A member that has been without partitions for so many heartbeats is not about to get any.
const IDLE_AFTER: u32 = 2;

/// The life of a consumer, from start to stop.
pub(super) struct Run {
    staffing: Staffing,
    enrolment: Arc<Enrolment>,
    membership: Membership,
    shift: Shift,
    stop: CancellationToken,
    /// How many partitions the handler knows of.
    partitions: usize,
    /// How far the projection reaches of each partition that this process had last and has not now.
    projected: BTreeMap<i32, Reach>,
    /// Since when partitions that this process had are not processed here.
    still_since: BTreeMap<i32, Instant>,
    /// Since when it has been called to hold nothing.
    idle_since: Option<Instant>,
}

impl Run {
    pub(super) fn new(staffing: Staffing, stop: CancellationToken) -> Self {
        let (config, registry) = (&staffing.config, &staffing.registry);
        let coordinator = Coordinator::new(Arc::clone(&staffing.cluster), config.group_id.clone());
        let coordinator = Arc::new(coordinator.within_a_session_of(config.session_timeout));
        let topic = Arc::clone(staffing.topic.name());
        let handler = Arc::clone(&staffing.handler);
        let mut shift = Shift::new(Arc::clone(&coordinator), topic, config, handler, Arc::clone(registry));
        let enrolment = Arc::new(Enrolment {
            coordinator,
            topic: staffing.topic.clone(),
            config: config.clone(),
            registry: Arc::clone(registry),
        });
        let membership = Membership::start(Arc::clone(&enrolment));
        shift.serves(membership.standing());
        Self {
            staffing,
            enrolment,
            membership,
            shift,
            stop,
            partitions: 0,
            projected: BTreeMap::new(),
            still_since: BTreeMap::new(),
            idle_since: None,
        }
    }

    pub(super) async fn run(mut self) {
        while self.turn().await.is_continue() {}
        self.phase(GroupPhase::Revoking);
        let all = self.shift.partitions();
        let by = Instant::now() + STOP_PATIENCE;
        self.shift.release(&all, by).await;
        if timeout(STOP_PATIENCE, self.membership.leave(Leave::Closing)).await.is_err() {
            log::debug!("leaving the group: no answer");
        }
        self.phase(GroupPhase::Left);
        if self.has_joined() {
            info!("left group {}", self.staffing.config.group_id);
        }
    }

    /// Waits for the next thing to happen, and sees to it.
    async fn turn(&mut self) -> ControlFlow<()> {
        // One moment for both: a partition whose time comes between two would be nobody's. While some are given
        // workers no others are waited for: those whose time comes meanwhile get theirs with them, or in the next turn.
        let now = Instant::now();
        let staffs = !self.shift.unstaffed(now).is_empty();
        let later_than = (!staffs).then_some(now);
        let heartbeats = self.staffing.config.heartbeat_interval * IDLE_AFTER;
        // Without a topic there is nothing to be idle about.
        let idle_at = self.idle_since.filter(|_| self.partitions > 0).map(|since| since + heartbeats);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            () = self.staffing.topic.changed_from(self.partitions) => {
                self.partitions = self.staffing.topic.partitions();
                self.staffing.registry.group(|group| group.topic_partitions = self.partitions);
                self.staffing.handler.topic_has(self.partitions).await;
            }
            call = self.membership.next() => return self.heed(call).await,
            committed = committed(&self.enrolment, self.shift.most()), if staffs => self.staff(&committed),
            () = tokio::time::sleep_until(idle_at.unwrap_or_else(Instant::now)), if idle_at.is_some() => {
                self.idle_since = None;
                self.staffing.registry.group(|group| group.idle = true);
            }
            entry = self.shift.keep_books(later_than) => match entry {
                Entry::Unstaffed => {}
                Entry::Stuck(partitions) => return self.stand_aside(partitions).await,
            }
        }
        ControlFlow::Continue(())
    }

    /// Does as the group calls.
    async fn heed(&mut self, call: Call) -> ControlFlow<()> {
        match call {
            Call::Wait => {}
            Call::GiveUp => {
                let all = self.shift.partitions();
                if self.give_up(&all).await {
                    self.membership.holds(BTreeSet::new());
                }
            }
            Call::Hold(wanted, why) => self.hold(wanted, why).await,
            Call::Lost(reason) => {
                warn!("out of the group: {reason}; joining again");
                self.abandon().await;
                self.membership.holds(BTreeSet::new());
            }
            Call::Barred(reason) => {
                error!("out of the group for good: {reason}");
                self.abandon().await;
                self.staffing.registry.group(|group| {
                    group.phase = GroupPhase::Left;
                    group.error = Some(reason);
                });
                self.stop.cancelled().await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Gives up what is not wanted, then takes up what is new.
    async fn hold(&mut self, wanted: BTreeSet<i32>, why: Why) {
        let began = Instant::now();
        let held = self.shift.partitions();
        let gone: BTreeSet<i32> = held.difference(&wanted).copied().collect();
        if !gone.is_empty() && !self.give_up(&gone).await {
            return;
        }
        self.forget_all_but(&wanted).await;
        self.shift.stay();
        let gained: BTreeSet<i32> = wanted.difference(&held).copied().collect();
        for partition in &gained {
            let still_since = self.still_since.remove(partition).unwrap_or(began);
            self.shift.hold(*partition, self.projected.remove(partition), still_since);
        }
        // What others have now is theirs to tell.
        self.still_since.clear();
        self.idle_since = wanted.is_empty().then(Instant::now);
        self.announce(&wanted, &gone);
        self.remember(why, gained, gone);
        self.membership.holds(wanted);
    }

    /// Drains and commits; false when that was broken off, as there is something that goes before it.
    async fn give_up(&mut self, partitions: &BTreeSet<i32>) -> bool {
        self.phase(GroupPhase::Revoking);
        self.stands_still(partitions);
        let by = Instant::now() + self.staffing.config.rebalance_timeout / 2;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.membership.out() => false,
            projected = self.shift.release(partitions, by) => {
                self.projected.extend(projected);
                true
            }
        }
    }

    /// Out of the group: nothing is committed.
    async fn abandon(&mut self) {
        self.stands_still(&self.shift.partitions());
        self.projected.extend(self.shift.abandon().await);
    }

    /// The handler has been at one call for too long. Others are to have the partitions: this instance leaves
    /// the group, is not ready, and joins again when the call has returned.
    async fn stand_aside(&mut self, stuck: BTreeSet<i32>) -> ControlFlow<()> {
        let limit = self.staffing.config.max_processing;
        let reason = format!("the handler has not returned for {limit:?} (max_processing)");
        error!("partitions {stuck:?} stand still: {reason}; leaving the group until it returns");
        self.phase(GroupPhase::Revoking);
        self.shift.stand_still(&stuck, &reason);
        // First: a call that returns meanwhile is the last.
        self.shift.stop(&stuck);
        let others: BTreeSet<i32> = self.shift.partitions().difference(&stuck).copied().collect();
        let by = Instant::now() + self.staffing.config.rebalance_timeout / 2;
        let released = tokio::select! {
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            released = self.shift.release(&others, by) => released,
        };
        self.projected.extend(released);
        self.membership.leave(Leave::Unfit).await;
        self.staffing.registry.group(|group| {
            group.phase = GroupPhase::Left;
            group.error = Some(reason);
        });
        let outlasted = tokio::select! {
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            outlasted = self.shift.outlast(&stuck) => outlasted,
        };
        self.projected.extend(outlasted);
        info!("the handler has returned: joining the group again");
        self.membership = Membership::start(Arc::clone(&self.enrolment));
        self.shift.serves(self.membership.standing());
        ControlFlow::Continue(())
    }

    fn stands_still(&mut self, partitions: &BTreeSet<i32>) {
        let now = Instant::now();
        self.still_since.extend(partitions.iter().map(|partition| (*partition, now)));
    }

    fn remember(&self, why: Why, gained: BTreeSet<i32>, gave_up: BTreeSet<i32>) {
        self.staffing.registry.group(|group| {
            group.rebalanced(Rebalance {
                at: why.since,
                reason: why.reason,
                generation: group.generation,
                took: (Utc::now() - why.since).to_std().unwrap_or_default(),
                gained,
                gave_up,
            });
        });
    }

    fn announce(&self, held: &BTreeSet<i32>, gone: &BTreeSet<i32>) {
        let group = &self.staffing.config.group_id;
        let claim = self.membership.standing().claim();
        let (member, generation) = claim.map(|claim| (claim.member, claim.generation)).unwrap_or_default();
        let gave_up = if gone.is_empty() { String::new() } else { format!(" given-up={gone:?}") };
        info!("assigned: group={group} generation={generation} partitions={held:?}{gave_up}");
        self.staffing.registry.group(|group| {
            group.member = member.as_str().to_owned();
            group.generation = generation;
            group.error = None;
            group.idle = false;
            group.phase = GroupPhase::Assigned;
        });
    }

    /// The projections of partitions that others have now.
    async fn forget_all_but(&mut self, held: &BTreeSet<i32>) {
        let gone: Vec<i32> = self.projected.keys().filter(|known| !held.contains(known)).copied().collect();
        for partition in gone {
            info!("revoked: partition {partition}");
            self.staffing.handler.forget(partition).await;
            self.projected.remove(&partition);
        }
    }

    /// Gives each partition without a worker one, which starts at the committed offset.
    fn staff(&mut self, committed: &BTreeMap<i32, Committed>) {
        let generation = self.membership.standing().claim().map_or(0, |claim| claim.generation);
        for (partition, progress, stop) in self.shift.unstaffed(Instant::now()) {
            // The first generation commits each start at once. So where others have an offset and this
            // partition has none, it appeared later, and nothing in it was ever seen: it starts at its
            // beginning.
            let first = committed.is_empty() || generation <= 1;
            let reset = if first { self.staffing.config.offset_reset } else { OffsetReset::Earliest };
            let committed = committed.get(&partition).copied();
            let reset = if committed.is_some() { self.staffing.config.offset_reset } else { reset };
            let worker = self.worker(partition, progress, stop, reset);
            self.shift.employ(worker, committed);
        }
    }

    fn worker(
        &self,
        partition: i32,
        progress: Progress,
        stop: CancellationToken,
        reset: OffsetReset,
    ) -> Worker {
        let staffing = &self.staffing;
        Worker {
            partition,
            part: format!("reading {}/{partition}", staffing.topic.name()),
            reader: staffing.reader(partition),
            handler: Arc::clone(&staffing.handler),
            dead_letters: staffing.dead_letters.clone(),
            progress,
            lease: self.membership.standing().lease(),
            registry: Arc::clone(&staffing.registry),
            reset,
            stop,
            started: self.shift.started_signal(),
            counts: Arc::clone(&staffing.counts),
            portion: Portion::default(),
        }
    }

    /// Whether the coordinator ever gave it something to hold, if only nothing.
    fn has_joined(&self) -> bool {
        !self.staffing.registry.watch().borrow().group.member.is_empty()
    }

    fn phase(&self, phase: GroupPhase) {
        self.staffing.registry.group(|group| group.phase = phase);
    }
}

/// The group's committed offsets of the whole topic, asked until they are known. Who assigns may know of
/// partitions that are news here: so far as `held`, at least.
async fn committed(enrolment: &Enrolment, held: i32) -> BTreeMap<i32, Committed> {
    let mut backoff = Backoff::new();
    loop {
        let partitions = 0..held.max(enrolment.topic.partitions() as i32);
        match enrolment.coordinator.committed(enrolment.topic.name(), partitions).await {
            Ok(committed) => {
                enrolment.registry.succeeded(COMMITTING);
                let read = |(partition, (offset, note)): (_, (_, String))| {
                    (partition, Committed::read(offset, &note))
                };
                return committed.into_iter().map(read).collect();
            }
            Err(error) => {
                enrolment.registry.failed(COMMITTING, &error.explained());
                backoff.wait().await;
            }
        }
    }
}
