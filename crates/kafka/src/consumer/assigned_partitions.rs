//! The assigned partitions: their workers, their progress, and its commits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::ResponseError;
use log::{error, warn};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{COMMITTING, CommittedOffset, Progress, Worker, progress::ProjectionEnd};
use crate::{
    ConsumerConfig, RecordHandler, StatusRegistry,
    backoff::Backoff,
    group::{Coordinator, MemberState},
    wire::WireError,
};

/// The interval of status reports.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);
/// The most that one check adds to the duration of a handler's call: a process that was stopped has not been stuck.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The delay before a partition gets a new worker after a panic, which may happen again.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// The least time for the final commit, and for workers that are to stop at once.
const FINAL_TIMEOUT: Duration = Duration::from_secs(1);

/// An event that the consumer has to act on.
#[derive(Debug)]
pub(super) enum MaintenanceEvent {
    /// The time has come for partitions whose worker panicked to get a new one.
    WorkerDue,
    /// A handler's call at these partitions has lasted longer than `max_processing`.
    HandlerStuck(BTreeSet<i32>),
}

/// The assigned partitions, each with its worker or waiting for one.
pub(super) struct AssignedPartitions {
    coordinator: Arc<Coordinator>,
    topic: Arc<str>,
    /// The generation and the lease to commit by; replaced with the membership.
    member_state: Arc<MemberState>,
    max_processing: Duration,
    /// Asked for [`RecordHandler::held_from`], which is committed beside each offset.
    handler: Arc<dyn RecordHandler>,
    registry: Arc<StatusRegistry>,
    partitions: BTreeMap<i32, AssignedPartition>,
    workers: JoinSet<()>,
    /// The partition of each worker.
    worker_partitions: HashMap<Id, i32>,
    commits: Interval,
    reports: Interval,
    last_check: Instant,
    started: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

/// An assigned partition.
struct AssignedPartition {
    progress: Progress,
    stop: CancellationToken,
    /// `None` until its start is known, and again after a panic.
    worker: Option<AbortHandle>,
    /// The earliest time of the next worker's start.
    ready_at: Instant,
}

impl AssignedPartitions {
    pub(super) fn new(
        coordinator: Arc<Coordinator>,
        topic: Arc<str>,
        config: &ConsumerConfig,
        handler: Arc<dyn RecordHandler>,
        registry: Arc<StatusRegistry>,
    ) -> Self {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        Self {
            coordinator,
            topic,
            member_state: Arc::default(),
            max_processing: config.max_processing,
            handler,
            registry,
            partitions: BTreeMap::new(),
            workers: JoinSet::new(),
            worker_partitions: HashMap::new(),
            commits: every(config.commit_interval),
            reports: every(STATUS_INTERVAL),
            last_check: Instant::now(),
            started: mpsc::channel(1),
        }
    }

    /// Commits by that state of the membership from now on.
    pub(super) fn set_member_state(&mut self, member_state: &Arc<MemberState>) {
        self.member_state = Arc::clone(member_state);
    }

    /// The channel on which a worker reports that its start is resolved.
    pub(super) fn start_signal(&self) -> mpsc::Sender<()> {
        self.started.0.clone()
    }

    /// The assigned partitions.
    pub(super) fn partitions(&self) -> BTreeSet<i32> {
        self.partitions.keys().copied().collect()
    }

    /// The partitions that are due for a worker at `by` and have none.
    pub(super) fn vacant(&self, by: Instant) -> BTreeSet<i32> {
        let is_vacant = |assigned: &AssignedPartition| assigned.worker.is_none() && assigned.ready_at <= by;
        let vacant = self.partitions.iter().filter(|(_, assigned)| is_vacant(assigned));
        vacant.map(|(partition, _)| *partition).collect()
    }

    /// Adds a partition, which waits for its worker and has been paused since `paused_since`.
    pub(super) fn add(&mut self, partition: i32, projected: Option<ProjectionEnd>, paused_since: Instant) {
        let assigned = AssignedPartition {
            progress: Progress::new(partition, projected, paused_since),
            stop: CancellationToken::new(),
            worker: None,
            ready_at: Instant::now(),
        };
        self.partitions.insert(partition, assigned);
        self.report_status();
    }

    /// Marks all partitions as retained through a rebalance.
    pub(super) fn mark_retained(&self) {
        self.partitions.values().for_each(|assigned| assigned.progress.mark_retained());
        self.report_status();
    }

    /// The arguments for the workers of these partitions.
    pub(super) fn of(&self, partitions: &BTreeSet<i32>) -> Vec<(i32, Progress, CancellationToken)> {
        let wanted = self.partitions.iter().filter(|(partition, _)| partitions.contains(partition));
        wanted
            .map(|(partition, assigned)| (*partition, assigned.progress.clone(), assigned.stop.clone()))
            .collect()
    }

    pub(super) fn spawn_worker(&mut self, worker: Worker, committed: Option<CommittedOffset>) {
        let partition = worker.partition;
        let Some(assigned) = self.partitions.get_mut(&partition) else { return };
        if let Some(committed) = committed {
            assigned.progress.committed(&committed);
        }
        let handle = self.workers.spawn(worker.run(committed));
        self.worker_partitions.insert(handle.id(), partition);
        assigned.worker = Some(handle);
    }

    /// Commits at each interval and when a start is resolved, reports the status, and measures the handlers' calls. Returns
    /// on an event. A partition without a worker is an event only if it was not due for one yet at `after`; with `None`, no
    /// partition is. Cancel-safe.
    pub(super) async fn run_maintenance(&mut self, after: Option<Instant>) -> MaintenanceEvent {
        loop {
            let vacant = self.partitions.values().filter(|assigned| assigned.worker.is_none());
            let later =
                vacant.map(|assigned| assigned.ready_at).filter(|at| after.is_some_and(|after| *at > after));
            let vacancy = later.min();
            tokio::select! {
                () = sleep_until(vacancy.unwrap_or_else(Instant::now)), if vacancy.is_some() => {
                    return MaintenanceEvent::WorkerDue;
                }
                _ = self.reports.tick() => {
                    let stuck = self.stuck_handlers();
                    if !stuck.is_empty() {
                        return MaintenanceEvent::HandlerStuck(stuck);
                    }
                }
                _ = self.commits.tick() => self.try_commit().await,
                _ = self.started.1.recv() => self.try_commit().await,
                Some(ended) = self.workers.join_next_with_id() => self.worker_ended(ended),
            }
            self.report_status();
        }
    }

    /// Stops the workers of these partitions, lets them finish their current batch until `by`, commits, and removes the
    /// partitions. Returns the ends of their projections. Unfinished records stay uncommitted. The other workers and their
    /// commits go on meanwhile.
    pub(super) async fn revoke(
        &mut self,
        partitions: &BTreeSet<i32>,
        by: Instant,
    ) -> BTreeMap<i32, ProjectionEnd> {
        self.stop(partitions);
        while self
            .partitions
            .iter()
            .any(|(held, assigned)| partitions.contains(held) && assigned.worker.is_some())
        {
            tokio::select! {
                Some(ended) = self.workers.join_next_with_id() => self.worker_ended(ended),
                _ = self.commits.tick() => {
                    // It must not take the time of the final commit.
                    let _too_late = timeout_at(by, self.try_commit()).await;
                }
                () = sleep_until(by) => {
                    warn!("drained too slowly: what is unfinished stays uncommitted");
                    self.abort_workers(partitions).await;
                }
            }
        }
        // The final commit gets its time, however long the workers took.
        let by = by.max(Instant::now() + FINAL_TIMEOUT);
        if timeout_at(by, self.final_commit()).await.is_err() {
            warn!("offsets were not committed: no answer in time");
        }
        self.report_status();
        self.remove_all(partitions)
    }

    /// Stops all workers without a commit, as the member is out of the group, and removes all partitions. The workers
    /// do nothing more that needs the lease; their current batch gets a moment, and is then aborted.
    pub(super) async fn lose_all(&mut self) -> BTreeMap<i32, ProjectionEnd> {
        let all = self.partitions();
        self.stop(&all);
        if timeout(FINAL_TIMEOUT, self.workers_ended(&all)).await.is_err() {
            self.abort_workers(&all).await;
        }
        self.remove_all(&all)
    }

    /// Waits for stopped workers whose handler's call has not returned, without a limit, and removes their partitions.
    pub(super) async fn wait_for(&mut self, partitions: &BTreeSet<i32>) -> BTreeMap<i32, ProjectionEnd> {
        self.workers_ended(partitions).await;
        self.remove_all(partitions)
    }

    /// Reports the reason why these partitions are stalled.
    pub(super) fn stall(&mut self, partitions: &BTreeSet<i32>, reason: &str) {
        for partition in partitions {
            if let Some(assigned) = self.partitions.get(partition) {
                assigned.progress.set_stalled(Some(reason.to_owned()));
            }
        }
        self.report_status();
    }

    /// Tells these workers to end after their current batch.
    pub(super) fn stop(&self, partitions: &BTreeSet<i32>) {
        let held = self.partitions.iter().filter(|(held, _)| partitions.contains(held));
        held.for_each(|(_, assigned)| assigned.stop.cancel());
    }

    async fn workers_ended(&mut self, partitions: &BTreeSet<i32>) {
        while self
            .partitions
            .iter()
            .any(|(held, assigned)| partitions.contains(held) && assigned.worker.is_some())
            && let Some(ended) = self.workers.join_next_with_id().await
        {
            self.worker_ended(ended);
        }
    }

    async fn abort_workers(&mut self, partitions: &BTreeSet<i32>) {
        for (_, assigned) in self.partitions.iter_mut().filter(|(held, _)| partitions.contains(held)) {
            if let Some(worker) = assigned.worker.take() {
                worker.abort();
            }
        }
        // A handler that computes without an await cannot be aborted. Its call runs on to its end, beside the
        // partition's next worker.
        let _moment = timeout(FINAL_TIMEOUT, async {
            while self.worker_partitions.values().any(|place| partitions.contains(place))
                && let Some(ended) = self.workers.join_next_with_id().await
            {
                self.worker_ended(ended);
            }
        })
        .await;
    }

    fn worker_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(partition) = self.worker_partitions.remove(&id) else { return };
        // An aborted worker may end when its partition has another already.
        let is_its = |assigned: &&mut AssignedPartition| {
            assigned.worker.as_ref().is_none_or(|worker| worker.id() == id)
        };
        let Some(assigned) = self.partitions.get_mut(&partition).filter(is_its) else { return };
        assigned.worker = None;
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            error!("the worker of partition {partition} ended badly: {error}");
            assigned.ready_at = Instant::now() + RESTART_DELAY;
        }
    }

    fn remove_all(&mut self, partitions: &BTreeSet<i32>) -> BTreeMap<i32, ProjectionEnd> {
        let mut projected = BTreeMap::new();
        for partition in partitions {
            if let Some(assigned) = self.partitions.remove(partition)
                && let Some(end) = assigned.progress.projection_end()
            {
                projected.insert(*partition, end);
            }
        }
        self.report_status();
        projected
    }

    fn stuck_handlers(&mut self) -> BTreeSet<i32> {
        let elapsed = self.last_check.elapsed().min(MAX_CHECK_INTERVAL);
        self.last_check = Instant::now();
        let lasts = |assigned: &AssignedPartition| {
            assigned.progress.call_duration(elapsed).is_some_and(|lasted| lasted >= self.max_processing)
        };
        self.partitions
            .iter()
            .filter(|(_, assigned)| lasts(assigned))
            .map(|(partition, _)| *partition)
            .collect()
    }

    async fn final_commit(&self) {
        let mut backoff = Backoff::new();
        while let Err(error) = self.commit().await {
            // A refusal by the coordinator is final. A lost connection is not, nor is a rebalance: a moment later this
            // member is in the next generation, or in none.
            let is_rebalancing = matches!(
                error.code(),
                Some(ResponseError::RebalanceInProgress | ResponseError::IllegalGeneration)
            );
            if error.is_final() && !is_rebalancing {
                warn!("offsets were not committed: {error}");
                return;
            }
            backoff.wait().await;
        }
    }

    async fn try_commit(&self) {
        match self.commit().await {
            Ok(true) => self.registry.succeeded(COMMITTING),
            Ok(false) => self.registry.withdraw(COMMITTING),
            // The heartbeats get the same error and handle it; after a rebalance the commit is tried again.
            Err(error) if error.code().is_some_and(is_membership_error) => {}
            Err(error) => self.registry.failed(COMMITTING, &error.explained()),
        }
    }

    /// Commits the offsets that have moved, if this is a member with a valid lease. Returns whether there were any.
    async fn commit(&self) -> Result<bool, WireError> {
        let moved = self.partitions.iter().filter_map(|(partition, assigned)| {
            let moved = assigned.progress.to_commit()?;
            Some((*partition, CommittedOffset { held_from: self.handler.held_from(*partition), ..moved }))
        });
        let moved: BTreeMap<i32, CommittedOffset> = moved.collect();
        let Some(generation) = self.member_state.generation() else { return Ok(false) };
        if moved.is_empty() || !self.member_state.lease().is_valid() {
            return Ok(false);
        }
        let offsets = moved.iter().map(|(partition, committed)| (*partition, committed.to_commit()));
        self.coordinator.commit(&generation, &self.topic, &offsets.collect()).await?;
        for (partition, committed) in moved {
            if let Some(assigned) = self.partitions.get(&partition) {
                assigned.progress.committed(&committed);
            }
        }
        Ok(true)
    }

    fn report_status(&self) {
        let partitions: Vec<_> =
            self.partitions.values().map(|assigned| assigned.progress.status()).collect();
        self.registry.group(|group| group.partitions = partitions);
    }
}

/// Whether the heartbeats get this error too.
fn is_membership_error(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::FencedInstanceId
            | ResponseError::RebalanceInProgress
            | ResponseError::FencedMemberEpoch
            | ResponseError::StaleMemberEpoch
    )
}
