//! One generation's work: its workers, and the books on how far they are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kafka_protocol::ResponseError;
use log::{error, warn};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{COMMITTING, Progress, Worker};
use crate::messaging::{
    Board,
    backoff::Backoff,
    group::{Coordinator, Generation, Lease},
    wire::WireError,
};

/// How often the board learns where each partition stands.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait before partitions are taken up again when a worker panicked: it may well do so again.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);
/// The least time that the last commit of a generation gets, and workers that are to stop at once.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The workers of the partitions of one generation.
pub(super) struct Shift {
    coordinator: Arc<Coordinator>,
    topic: Arc<str>,
    generation: Generation,
    lease: Lease,
    commit_interval: Duration,
    board: Arc<Board>,
    workers: JoinSet<()>,
    progress: BTreeMap<i32, Progress>,
    stop: CancellationToken,
    started: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Shift {
    pub(super) fn new(
        coordinator: Arc<Coordinator>,
        topic: Arc<str>,
        generation: Generation,
        lease: Lease,
        commit_interval: Duration,
        board: Arc<Board>,
    ) -> Self {
        Self {
            coordinator,
            topic,
            generation,
            lease,
            commit_interval,
            board,
            workers: JoinSet::new(),
            progress: BTreeMap::new(),
            stop: CancellationToken::new(),
            started: mpsc::channel(1),
        }
    }

    /// Tells the workers to stop.
    pub(super) fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Where a worker tells that its start is resolved.
    pub(super) fn started_signal(&self) -> mpsc::Sender<()> {
        self.started.0.clone()
    }

    pub(super) fn employ(&mut self, worker: Worker, committed: Option<i64>) {
        self.progress.insert(worker.partition, worker.progress.clone());
        self.workers.spawn(worker.run(committed));
    }

    /// Commits at each interval, and at once when a start is resolved; reports to the board. Returns only
    /// when a worker has ended without being told to, with the reason: its partition stands still then.
    pub(super) async fn keep_books(&mut self) -> String {
        let mut commits = interval(self.commit_interval);
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reports = interval(REPORT_INTERVAL);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = reports.tick() => {}
                _ = commits.tick() => self.try_commit().await,
                _ = self.started.1.recv() => self.try_commit().await,
                Some(ended) = self.workers.join_next() => {
                    let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
                    error!("a partition's worker ended: {error}");
                    tokio::time::sleep(AFTER_A_PANIC).await;
                    return "a partition's worker ended".to_owned();
                }
            }
            self.report();
        }
    }

    /// Stops the workers, lets them finish what is under way, and commits. What is not finished by then
    /// stays uncommitted.
    pub(super) async fn drain(&mut self, by: Instant) {
        self.stop.cancel();
        if timeout_at(by, self.finish()).await.is_err() {
            warn!("drained too slowly: what is unfinished stays uncommitted");
            self.workers.shutdown().await;
        }
        // At least a moment, however long the workers took.
        let by = by.max(Instant::now() + LAST_MOMENT);
        if timeout_at(by, self.commit_at_last()).await.is_err() {
            warn!("offsets were not committed: no answer in time");
        }
        self.report();
    }

    /// Stops the workers without committing: this member is out of the group. They do nothing more that
    /// needs the lease; what they are in the middle of gets a moment, and is then cut short.
    pub(super) async fn abandon(&mut self) {
        self.stop.cancel();
        if timeout(LAST_MOMENT, self.finish()).await.is_err() {
            self.workers.shutdown().await;
        }
    }

    /// How far the projection of each partition reaches.
    pub(super) fn projected(&self) -> BTreeMap<i32, i64> {
        let projected = self.progress.iter();
        projected.filter_map(|(partition, progress)| Some((*partition, progress.projected()?))).collect()
    }

    async fn commit_at_last(&self) {
        let mut backoff = Backoff::new();
        while let Err(error) = self.commit().await {
            // A coordinator's refusal is final for this generation; a lost connection is not.
            if error.code().is_some_and(|code| !code.is_retriable()) {
                warn!("offsets were not committed: {error}");
                return;
            }
            backoff.wait().await;
        }
    }

    async fn finish(&mut self) {
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = ended {
                warn!("a partition's worker ended badly: {error}");
            }
        }
    }

    async fn try_commit(&self) {
        match self.commit().await {
            Ok(()) => self.board.succeeded(COMMITTING),
            Err(error) if error.code().is_some_and(ends_the_generation) => {}
            Err(error) => self.board.failed(COMMITTING, &error),
        }
    }

    /// Commits what has moved, while the lease holds.
    async fn commit(&self) -> Result<(), WireError> {
        let moved: BTreeMap<i32, i64> = self
            .progress
            .iter()
            .filter_map(|(partition, progress)| Some((*partition, progress.to_commit()?)))
            .collect();
        if moved.is_empty() || !self.lease.is_valid() {
            return Ok(());
        }
        self.coordinator.commit(&self.generation, &self.topic, &moved).await?;
        for (partition, offset) in moved {
            self.progress[&partition].committed(offset);
        }
        Ok(())
    }

    fn report(&self) {
        let partitions: Vec<_> = self.progress.values().map(Progress::status).collect();
        self.board.group(|group| group.partitions = partitions);
    }
}

/// What the heartbeats learn too, and act on.
fn ends_the_generation(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::FencedInstanceId
            | ResponseError::RebalanceInProgress
    )
}
