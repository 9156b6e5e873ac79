//! The workers of the partitions that are held now, and the books on how far each is.

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

/// How often the registry learns where each partition stands.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);
/// The most that counts as having passed between two looks at a handler's call.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait before a partition is taken up again when its worker panicked: it may well do so again.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// The least time that the last commit of partitions gets, and workers that are to stop at once.
const FINAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What needs the consumer's attention.
#[derive(Debug)]
pub(super) enum MaintenanceEvent {
    /// Partitions wait for a worker again: theirs panicked.
    WorkerDue,
    /// A handler has been at one call for longer than any may take, at these partitions.
    HandlerStuck(BTreeSet<i32>),
}

/// The partitions that are held, each with a worker or waiting for one.
pub(super) struct AssignedPartitions {
    coordinator: Arc<Coordinator>,
    topic: Arc<str>,
    /// As what to commit: replaced when the membership is.
    member_state: Arc<MemberState>,
    max_processing: Duration,
    /// Asked how far back it holds, which is committed beside each offset.
    handler: Arc<dyn RecordHandler>,
    registry: Arc<StatusRegistry>,
    partitions: BTreeMap<i32, AssignedPartition>,
    workers: JoinSet<()>,
    /// Whose a worker is.
    worker_partitions: HashMap<Id, i32>,
    commits: Interval,
    reports: Interval,
    last_check: Instant,
    started: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

/// A partition that is held.
struct AssignedPartition {
    progress: Progress,
    stop: CancellationToken,
    /// `None` until it is known where to start, and again after a panic.
    worker: Option<AbortHandle>,
    /// When it may have a worker.
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

    /// From now on offsets are committed as that membership says.
    pub(super) fn set_member_state(&mut self, member_state: &Arc<MemberState>) {
        self.member_state = Arc::clone(member_state);
    }

    /// Where a worker tells that its start is resolved.
    pub(super) fn start_signal(&self) -> mpsc::Sender<()> {
        self.started.0.clone()
    }

    /// The partitions that are held.
    pub(super) fn partitions(&self) -> BTreeSet<i32> {
        self.partitions.keys().copied().collect()
    }

    /// One more than the highest partition that is held.
    pub(super) fn partition_bound(&self) -> i32 {
        self.partitions.keys().next_back().map_or(0, |last| last + 1)
    }

    /// Holds a partition from now on, which is not processed here since then; it waits for a worker.
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

    /// All that are held stayed through a rebalance.
    pub(super) fn mark_retained(&self) {
        self.partitions.values().for_each(|assigned| assigned.progress.mark_retained());
        self.report_status();
    }

    /// Partitions that may have a worker by then and have none, each with its progress and what stops it.
    pub(super) fn without_worker(&self, by: Instant) -> Vec<(i32, Progress, CancellationToken)> {
        let vacant = self
            .partitions
            .iter()
            .filter(|(_, assigned)| assigned.worker.is_none() && assigned.ready_at <= by);
        vacant
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

    /// Commits at each interval, and at once when a start is resolved; reports to the registry; looks whether
    /// each handler returns. Returns when something needs attention: as to workers, when the time of a partition
    /// comes that was not due at `after`; not at all where that is `None`. May be called off at any moment.
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

    /// Stops the workers of these partitions, lets them finish what is under way, commits, and holds them no
    /// longer; tells how far their projections reach. What is not finished by then stays uncommitted. The other
    /// workers go on meanwhile, and so do their commits.
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
                    // Before the last commit there is time for this one, or else none for either.
                    let _too_late = timeout_at(by, self.try_commit()).await;
                }
                () = sleep_until(by) => {
                    warn!("drained too slowly: what is unfinished stays uncommitted");
                    self.abort_workers(partitions).await;
                }
            }
        }
        // At least a moment, however long the workers took.
        let by = by.max(Instant::now() + FINAL_TIMEOUT);
        if timeout_at(by, self.final_commit()).await.is_err() {
            warn!("offsets were not committed: no answer in time");
        }
        self.report_status();
        self.remove_all(partitions)
    }

    /// Stops all workers without committing: this member is out of the group. They do nothing more that
    /// needs the lease; what they are in the middle of gets a moment, and is then cut short.
    pub(super) async fn lose_all(&mut self) -> BTreeMap<i32, ProjectionEnd> {
        let all = self.partitions();
        self.stop(&all);
        if timeout(FINAL_TIMEOUT, self.workers_ended(&all)).await.is_err() {
            self.abort_workers(&all).await;
        }
        self.remove_all(&all)
    }

    /// Waits for these workers, which are told to end, for as long as it takes: they are at a call that does not return.
    pub(super) async fn wait_for(&mut self, partitions: &BTreeSet<i32>) -> BTreeMap<i32, ProjectionEnd> {
        self.workers_ended(partitions).await;
        self.remove_all(partitions)
    }

    /// Says on the registry why these partitions stand still.
    pub(super) fn stall(&mut self, partitions: &BTreeSet<i32>, reason: &str) {
        for partition in partitions {
            if let Some(assigned) = self.partitions.get(partition) {
                assigned.progress.set_stalled(Some(reason.to_owned()));
            }
        }
        self.report_status();
    }

    /// Tells these workers to end with what they are at.
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
        // What computes without a pause cannot be aborted: such a call of a handler runs on to its end, beside
        // whatever else is done with the partition by then.
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
        // A worker that was cut short may end when its partition has another already.
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
            // A coordinator's refusal is final; a lost connection is not, nor what passes with a rebalance:
            // this member has its place in the next generation a moment later, or else no generation at all.
            let gathers = matches!(
                error.code(),
                Some(ResponseError::RebalanceInProgress | ResponseError::IllegalGeneration)
            );
            if error.is_final() && !gathers {
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
            // The heartbeats learn the same, and see to it; or the group gathers, and it is tried again.
            Err(error) if error.code().is_some_and(is_membership_error) => {}
            Err(error) => self.registry.failed(COMMITTING, &error.explained()),
        }
    }

    /// Commits what has moved, while this is a member and its lease holds. Tells whether there was something.
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
        let offsets =
            moved.iter().map(|(partition, committed)| (*partition, (committed.offset, committed.metadata())));
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

/// What the heartbeats learn too.
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
