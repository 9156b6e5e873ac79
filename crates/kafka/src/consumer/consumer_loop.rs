//! The consumer's loop: it acts on the group's events until it is stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use futures::{FutureExt as _, future::BoxFuture};
use log::{error, info, warn};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    AssignedPartitions, COMMITTING, CommittedOffset, Progress, Worker, WorkerFactory,
    assigned_partitions::MaintenanceEvent, progress::ProjectionEnd, worker::BatchSizer,
};
use crate::{
    GroupPhase, OffsetReset, Rebalance,
    backoff::Backoff,
    group::{
        CommittedOffsets, Coordinator, GroupEvent, LeaveReason, MemberContext, Membership, RebalanceCause,
        UNSTABLE_OFFSET,
    },
};

/// The time for draining and committing at a stop, and again for leaving the group: with Kafka away, both are in vain.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The number of heartbeats after which an empty assignment counts as final.
const IDLE_HEARTBEATS: u32 = 2;

/// The consumer's loop, from start to stop.
pub(super) struct ConsumerLoop {
    factory: WorkerFactory,
    context: Arc<MemberContext>,
    membership: Membership,
    assigned: AssignedPartitions,
    stop: CancellationToken,
    /// The topic's number of partitions, as the handler knows it once `telling` is done.
    topic_partitions: usize,
    /// The handler's call that takes that number, while it lasts. Workers start after it.
    telling: Option<BoxFuture<'static, ()>>,
    /// The ends of the projections of partitions that this process was the last to own and does not own now.
    projected: BTreeMap<i32, ProjectionEnd>,
    /// The time at which partitions were revoked that no other member has got yet.
    paused_since: BTreeMap<i32, Instant>,
    /// The time since which the assignment has been empty.
    idle_since: Option<Instant>,
}

impl ConsumerLoop {
    pub(super) fn new(factory: WorkerFactory, stop: CancellationToken) -> Self {
        let (config, registry) = (&factory.config, &factory.registry);
        let coordinator = Coordinator::new(Arc::clone(&factory.cluster), config.group_id.clone());
        let coordinator = Arc::new(coordinator.with_session_timeout(config.session_timeout));
        let topic = Arc::clone(factory.topic.name());
        let handler = Arc::clone(&factory.handler);
        let mut assigned =
            AssignedPartitions::new(Arc::clone(&coordinator), topic, config, handler, Arc::clone(registry));
        let (topic, config) = (factory.topic.clone(), config.clone());
        let context = Arc::new(MemberContext::new(coordinator, topic, config, Arc::clone(registry)));
        let membership = Membership::start(Arc::clone(&context));
        assigned.set_member_state(membership.state());
        Self {
            factory,
            context,
            membership,
            assigned,
            stop,
            topic_partitions: 0,
            telling: None,
            projected: BTreeMap::new(),
            paused_since: BTreeMap::new(),
            idle_since: None,
        }
    }

    pub(super) async fn run(mut self) {
        while self.step().await.is_continue() {}
        self.set_phase(GroupPhase::Revoking);
        let all = self.assigned.partitions();
        let by = Instant::now() + STOP_TIMEOUT;
        self.assigned.revoke(&all, by).await;
        if timeout(STOP_TIMEOUT, self.membership.leave(LeaveReason::Closing)).await.is_err() {
            log::debug!("leaving the group: no answer");
        }
        self.set_phase(GroupPhase::Left);
        if self.has_joined() {
            info!("left group {}", self.factory.config.group_id);
        }
    }

    /// Waits for the next event and handles it.
    async fn step(&mut self) -> ControlFlow<()> {
        // One `now` for both calls, so that no partition becomes due between them. While some get their workers,
        // `run_maintenance` waits for no others: those get theirs with them, or in the next step.
        let now = Instant::now();
        let vacant = self.assigned.vacant(now);
        let worker_due = self.telling.is_none() && !vacant.is_empty();
        let later_than = (!worker_due).then_some(now);
        let heartbeats = self.factory.config.heartbeat_interval * IDLE_HEARTBEATS;
        // A topic that does not exist cannot be assigned.
        let idle_at = self.idle_since.filter(|_| self.topic_partitions > 0).map(|since| since + heartbeats);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            () = told(&mut self.telling), if self.telling.is_some() => self.telling = None,
            () = self.factory.topic.changed_from(self.topic_partitions), if self.telling.is_none() => {
                self.topic_partitions = self.factory.topic.partitions();
                self.factory.registry.group(|group| group.topic_partitions = self.topic_partitions);
                let (handler, partitions) = (Arc::clone(&self.factory.handler), self.topic_partitions);
                self.telling = Some(async move { handler.partition_count_changed(partitions).await }.boxed());
            }
            event = self.membership.next() => return self.on_group_event(event).await,
            committed = committed(&self.context, &vacant), if worker_due => self.spawn_workers(&vacant, &committed),
            () = tokio::time::sleep_until(idle_at.unwrap_or_else(Instant::now)), if idle_at.is_some() => {
                self.idle_since = None;
                self.factory.registry.group(|group| group.idle = true);
            }
            event = self.assigned.run_maintenance(later_than) => match event {
                MaintenanceEvent::WorkerDue => {}
                MaintenanceEvent::HandlerStuck(partitions) => return self.leave_until_handler_returns(partitions).await,
            }
        }
        ControlFlow::Continue(())
    }

    /// Handles an event of the group.
    async fn on_group_event(&mut self, event: GroupEvent) -> ControlFlow<()> {
        match event {
            GroupEvent::Pending => {}
            GroupEvent::RevokeAll => {
                let all = self.assigned.partitions();
                if self.revoke(&all).await {
                    self.membership.acknowledge(BTreeSet::new());
                }
            }
            GroupEvent::Assigned(wanted, cause) => self.on_assigned(wanted, cause).await,
            GroupEvent::Lost(reason) => {
                warn!("out of the group: {reason}; joining again");
                self.on_lost().await;
                self.membership.acknowledge(BTreeSet::new());
            }
            GroupEvent::Fenced(reason) => {
                error!("out of the group for good: {reason}");
                self.on_lost().await;
                self.factory.registry.group(|group| {
                    group.phase = GroupPhase::Left;
                    group.error = Some(reason);
                });
                self.stop.cancelled().await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Revokes the partitions that are not assigned any more, then adds the new ones.
    async fn on_assigned(&mut self, wanted: BTreeSet<i32>, cause: RebalanceCause) {
        let began = Instant::now();
        let held = self.assigned.partitions();
        let gone: BTreeSet<i32> = held.difference(&wanted).copied().collect();
        if !gone.is_empty() && !self.revoke(&gone).await {
            return;
        }
        if !self.forget_revoked(&wanted).await {
            return;
        }
        self.assigned.mark_retained();
        let gained: BTreeSet<i32> = wanted.difference(&held).copied().collect();
        for partition in &gained {
            let paused_since = self.paused_since.remove(partition).unwrap_or(began);
            self.assigned.add(*partition, self.projected.remove(partition), paused_since);
        }
        // The partitions of other members are theirs to report.
        self.paused_since.clear();
        self.idle_since = wanted.is_empty().then(Instant::now);
        self.report_assignment(&wanted, &gone);
        self.record_rebalance(cause, gained, gone);
        self.membership.acknowledge(wanted);
    }

    /// Drains and commits; false if the stop of the consumer or the loss of the membership ended it early.
    async fn revoke(&mut self, partitions: &BTreeSet<i32>) -> bool {
        self.set_phase(GroupPhase::Revoking);
        self.mark_paused(partitions);
        let by = Instant::now() + self.factory.config.rebalance_timeout / 2;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.membership.out() => false,
            projected = self.assigned.revoke(partitions, by) => {
                self.projected.extend(projected);
                true
            }
        }
    }

    /// Drops all partitions without a commit.
    async fn on_lost(&mut self) {
        self.mark_paused(&self.assigned.partitions());
        self.projected.extend(self.assigned.lose_all().await);
    }

    /// A handler's call has lasted too long, and others are to have the partitions. This instance leaves the group, is
    /// not ready, and joins again when the call has returned.
    async fn leave_until_handler_returns(&mut self, stuck: BTreeSet<i32>) -> ControlFlow<()> {
        let limit = self.factory.config.max_processing;
        let reason = format!("the handler has not returned for {limit:?} (max_processing)");
        error!("partitions {stuck:?} are stalled: {reason}; leaving the group until it returns");
        self.set_phase(GroupPhase::Revoking);
        self.assigned.stall(&stuck, &reason);
        // The others are revoked only after this: a call that returns meanwhile is the last.
        self.assigned.stop(&stuck);
        let others: BTreeSet<i32> = self.assigned.partitions().difference(&stuck).copied().collect();
        let by = Instant::now() + self.factory.config.rebalance_timeout / 2;
        let released = tokio::select! {
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            released = self.assigned.revoke(&others, by) => released,
        };
        self.projected.extend(released);
        self.membership.leave(LeaveReason::Stuck).await;
        self.factory.registry.group(|group| {
            group.phase = GroupPhase::Left;
            group.error = Some(reason);
        });
        let ended = tokio::select! {
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            ended = self.assigned.wait_for(&stuck) => ended,
        };
        self.projected.extend(ended);
        info!("the handler has returned: joining the group again");
        self.membership = Membership::start(Arc::clone(&self.context));
        self.assigned.set_member_state(self.membership.state());
        ControlFlow::Continue(())
    }

    fn mark_paused(&mut self, partitions: &BTreeSet<i32>) {
        let now = Instant::now();
        self.paused_since.extend(partitions.iter().map(|partition| (*partition, now)));
    }

    fn record_rebalance(&self, cause: RebalanceCause, gained: BTreeSet<i32>, revoked: BTreeSet<i32>) {
        self.factory.registry.group(|group| {
            group.record_rebalance(Rebalance {
                at: cause.since,
                reason: cause.reason,
                generation: group.generation,
                duration: (Utc::now() - cause.since).to_std().unwrap_or_default(),
                assigned: gained,
                revoked,
            });
        });
    }

    fn report_assignment(&self, held: &BTreeSet<i32>, gone: &BTreeSet<i32>) {
        let group = &self.factory.config.group_id;
        let generation = self.membership.state().generation();
        let (member, generation) =
            generation.map(|generation| (generation.member_id, generation.id)).unwrap_or_default();
        let revoked = if gone.is_empty() { String::new() } else { format!(" revoked={gone:?}") };
        info!("assigned: group={group} generation={generation} partitions={held:?}{revoked}");
        self.factory.registry.group(|group| {
            group.member = member.as_str().to_owned();
            group.generation = generation;
            group.error = None;
            group.idle = false;
            group.phase = GroupPhase::Assigned;
        });
    }

    /// Drops the projections of partitions that others own now; false if the stop of the consumer or the loss of the
    /// membership ended it early. A handler that does not return in time is asked again at the next assignment.
    async fn forget_revoked(&mut self, held: &BTreeSet<i32>) -> bool {
        let gone: Vec<i32> = self.projected.keys().filter(|known| !held.contains(known)).copied().collect();
        let by = Instant::now() + self.factory.config.rebalance_timeout / 2;
        for partition in gone {
            // A projection that is dropped in part counts as none.
            self.projected.insert(partition, ProjectionEnd::INVALID);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                () = self.membership.out() => return false,
                forgotten = timeout_at(by, self.factory.handler.forget(partition)) => match forgotten {
                    Ok(()) => {
                        info!("revoked: partition {partition}");
                        self.projected.remove(&partition);
                    }
                    Err(_) => warn!("the handler has not forgotten partition {partition} in time"),
                }
            }
        }
        true
    }

    /// Starts a worker at the committed offset for each of these partitions whose offset is stable.
    fn spawn_workers(&mut self, vacant: &BTreeSet<i32>, committed: &CommittedOffsets) {
        let CommittedOffsets { offsets: committed, unstable } = committed;
        let generation = self.membership.state().generation().map_or(0, |generation| generation.id);
        for (partition, progress, stop) in self.assigned.of(&(vacant - unstable)) {
            // The first generation commits each start at once. If other partitions have an offset and this one has
            // none, it was added later and none of its records was processed: it starts at its beginning.
            let first = committed.is_empty() && unstable.is_empty() || generation <= 1;
            let reset = if first { self.factory.config.offset_reset } else { OffsetReset::Earliest };
            let committed = committed.get(&partition).map(CommittedOffset::from_fetched);
            let reset = if committed.is_some() { self.factory.config.offset_reset } else { reset };
            let worker = self.worker(partition, progress, stop, reset);
            self.assigned.spawn_worker(worker, committed);
        }
    }

    fn worker(
        &self,
        partition: i32,
        progress: Progress,
        stop: CancellationToken,
        reset: OffsetReset,
    ) -> Worker {
        let factory = &self.factory;
        Worker {
            partition,
            part: format!("reading {}/{partition}", factory.topic.name()),
            reader: factory.reader(partition),
            handler: Arc::clone(&factory.handler),
            dead_letters: factory.dead_letters.clone(),
            progress,
            lease: self.membership.state().lease(),
            registry: Arc::clone(&factory.registry),
            reset,
            stop,
            started: self.assigned.start_signal(),
            counts: Arc::clone(&factory.counts),
            batch_sizer: BatchSizer::default(),
            backoff: Backoff::new(),
            handler_has_position: false,
        }
    }

    /// Whether the coordinator ever sent an assignment, if only an empty one.
    fn has_joined(&self) -> bool {
        !self.factory.registry.watch().borrow().group.member.is_empty()
    }

    fn set_phase(&self, phase: GroupPhase) {
        self.factory.registry.group(|group| group.phase = phase);
    }
}

/// The group's committed offsets of the whole topic, asked until those of some `vacant` partitions are known. The assignor
/// may know of more partitions than this member. An open transaction holds up the partitions alone that it commits.
async fn committed(context: &MemberContext, vacant: &BTreeSet<i32>) -> CommittedOffsets {
    let mut backoff = Backoff::new();
    let held = vacant.last().map_or(0, |last| last + 1);
    let mut wanted: Vec<i32> = (0..held.max(context.topic.partitions() as i32)).collect();
    let mut known = CommittedOffsets::default();
    loop {
        match context.coordinator.committed(context.topic.name(), wanted.iter().copied()).await {
            Ok(found) => {
                known.offsets.extend(found.offsets);
                known.unstable = found.unstable;
                if vacant.is_disjoint(&known.unstable) {
                    context.registry.succeeded(COMMITTING);
                } else {
                    context.registry.failed(COMMITTING, &UNSTABLE_OFFSET.explained());
                }
                if !vacant.is_subset(&known.unstable) {
                    return known;
                }
                wanted = known.unstable.iter().copied().collect();
            }
            Err(error) => context.registry.failed(COMMITTING, &error.explained()),
        }
        backoff.wait().await;
    }
}

/// Waits for the handler's call.
async fn told(telling: &mut Option<BoxFuture<'static, ()>>) {
    if let Some(telling) = telling {
        telling.await;
    }
}
