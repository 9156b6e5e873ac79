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

use super::{COMMITTING, Committed, Progress, Worker, progress::Reach};
use crate::{
    ConsumerConfig, Handler, StatusRegistry,
    backoff::Backoff,
    group::{Coordinator, Standing},
    wire::WireError,
};

/// How often the registry learns where each partition stands.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// The most that counts as having passed between two looks at a handler's call.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
/// How long to wait before a partition is taken up again when its worker panicked: it may well do so again.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);
/// The least time that the last commit of partitions gets, and workers that are to stop at once.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What needs the consumer's attention.
#[derive(Debug)]
pub(super) enum Entry {
    /// Partitions wait for a worker again: theirs panicked.
    Unstaffed,
    /// A handler has been at one call for longer than any may take, at these partitions.
    Stuck(BTreeSet<i32>),
}

/// The partitions that are held, each with a worker or waiting for one.
pub(super) struct Shift {
    coordinator: Arc<Coordinator>,
    topic: Arc<str>,
    /// As what to commit: replaced when the membership is.
    standing: Arc<Standing>,
    max_processing: Duration,
    /// Asked how far back it holds, which is committed beside each offset.
    handler: Arc<dyn Handler>,
    registry: Arc<StatusRegistry>,
    posts: BTreeMap<i32, Post>,
    workers: JoinSet<()>,
    /// Whose a worker is.
    places: HashMap<Id, i32>,
    commits: Interval,
    reports: Interval,
    looked_at: Instant,
    started: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

/// A partition that is held.
struct Post {
    progress: Progress,
    stop: CancellationToken,
    /// `None` until it is known where to start, and again after a panic.
    worker: Option<AbortHandle>,
    /// When it may have a worker.
    ready_at: Instant,
}

impl Shift {
    pub(super) fn new(
        coordinator: Arc<Coordinator>,
        topic: Arc<str>,
        config: &ConsumerConfig,
        handler: Arc<dyn Handler>,
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
            standing: Arc::default(),
            max_processing: config.max_processing,
            handler,
            registry,
            posts: BTreeMap::new(),
            workers: JoinSet::new(),
            places: HashMap::new(),
            commits: every(config.commit_interval),
            reports: every(REPORT_INTERVAL),
            looked_at: Instant::now(),
            started: mpsc::channel(1),
        }
    }

    /// From now on offsets are committed as that membership says.
    pub(super) fn serves(&mut self, standing: &Arc<Standing>) {
        self.standing = Arc::clone(standing);
    }

    /// Where a worker tells that its start is resolved.
    pub(super) fn started_signal(&self) -> mpsc::Sender<()> {
        self.started.0.clone()
    }

    /// The partitions that are held.
    pub(super) fn partitions(&self) -> BTreeSet<i32> {
        self.posts.keys().copied().collect()
    }

    /// One more than the highest partition that is held.
    pub(super) fn most(&self) -> i32 {
        self.posts.keys().next_back().map_or(0, |last| last + 1)
    }

    /// Holds a partition from now on, which is not processed here since then; it waits for a worker.
    pub(super) fn hold(&mut self, partition: i32, projected: Option<Reach>, still_since: Instant) {
        let post = Post {
            progress: Progress::new(partition, projected, still_since),
            stop: CancellationToken::new(),
            worker: None,
            ready_at: Instant::now(),
        };
        self.posts.insert(partition, post);
        self.report();
    }

    /// All that are held stayed through a rebalance.
    pub(super) fn stay(&self) {
        self.posts.values().for_each(|post| post.progress.stayed());
        self.report();
    }

    /// Partitions that may have a worker by then and have none, each with its progress and what stops it.
    pub(super) fn unstaffed(&self, by: Instant) -> Vec<(i32, Progress, CancellationToken)> {
        let vacant = self.posts.iter().filter(|(_, post)| post.worker.is_none() && post.ready_at <= by);
        vacant.map(|(partition, post)| (*partition, post.progress.clone(), post.stop.clone())).collect()
    }

    pub(super) fn employ(&mut self, worker: Worker, committed: Option<Committed>) {
        let partition = worker.partition;
        let Some(post) = self.posts.get_mut(&partition) else { return };
        if let Some(committed) = committed {
            post.progress.committed(&committed);
        }
        let handle = self.workers.spawn(worker.run(committed));
        self.places.insert(handle.id(), partition);
        post.worker = Some(handle);
    }

    /// Commits at each interval, and at once when a start is resolved; reports to the registry; looks whether
    /// each handler returns. Returns when something needs attention: as to workers, when the time of a partition
    /// comes that was not due at `after`; not at all where that is `None`. May be called off at any moment.
    pub(super) async fn keep_books(&mut self, after: Option<Instant>) -> Entry {
        loop {
            let vacant = self.posts.values().filter(|post| post.worker.is_none());
            let later = vacant.map(|post| post.ready_at).filter(|at| after.is_some_and(|after| *at > after));
            let vacancy = later.min();
            tokio::select! {
                () = sleep_until(vacancy.unwrap_or_else(Instant::now)), if vacancy.is_some() => {
                    return Entry::Unstaffed;
                }
                _ = self.reports.tick() => {
                    let stuck = self.look();
                    if !stuck.is_empty() {
                        return Entry::Stuck(stuck);
                    }
                }
                _ = self.commits.tick() => self.try_commit().await,
                _ = self.started.1.recv() => self.try_commit().await,
                Some(ended) = self.workers.join_next_with_id() => self.has_ended(ended),
            }
            self.report();
        }
    }

    /// Stops the workers of these partitions, lets them finish what is under way, commits, and holds them no
    /// longer; tells how far their projections reach. What is not finished by then stays uncommitted. The other
    /// workers go on meanwhile, and so do their commits.
    pub(super) async fn release(&mut self, partitions: &BTreeSet<i32>, by: Instant) -> BTreeMap<i32, Reach> {
        self.stop(partitions);
        while self.posts.iter().any(|(held, post)| partitions.contains(held) && post.worker.is_some()) {
            tokio::select! {
                Some(ended) = self.workers.join_next_with_id() => self.has_ended(ended),
                _ = self.commits.tick() => {
                    // Before the last commit there is time for this one, or else none for either.
                    let _too_late = timeout_at(by, self.try_commit()).await;
                }
                () = sleep_until(by) => {
                    warn!("drained too slowly: what is unfinished stays uncommitted");
                    self.cut_short(partitions).await;
                }
            }
        }
        // At least a moment, however long the workers took.
        let by = by.max(Instant::now() + LAST_MOMENT);
        if timeout_at(by, self.commit_at_last()).await.is_err() {
            warn!("offsets were not committed: no answer in time");
        }
        self.report();
        self.dismiss(partitions)
    }

    /// Stops all workers without committing: this member is out of the group. They do nothing more that
    /// needs the lease; what they are in the middle of gets a moment, and is then cut short.
    pub(super) async fn abandon(&mut self) -> BTreeMap<i32, Reach> {
        let all = self.partitions();
        self.stop(&all);
        if timeout(LAST_MOMENT, self.ended(&all)).await.is_err() {
            self.cut_short(&all).await;
        }
        self.dismiss(&all)
    }

    /// Waits for these workers, which are told to end, for as long as it takes: they are at a call that does not return.
    pub(super) async fn outlast(&mut self, partitions: &BTreeSet<i32>) -> BTreeMap<i32, Reach> {
        self.ended(partitions).await;
        self.dismiss(partitions)
    }

    /// Says on the registry why these partitions stand still.
    pub(super) fn stand_still(&mut self, partitions: &BTreeSet<i32>, reason: &str) {
        for partition in partitions {
            if let Some(post) = self.posts.get(partition) {
                post.progress.stands_still(Some(reason.to_owned()));
            }
        }
        self.report();
    }

    /// Tells these workers to end with what they are at.
    pub(super) fn stop(&self, partitions: &BTreeSet<i32>) {
        let held = self.posts.iter().filter(|(held, _)| partitions.contains(held));
        held.for_each(|(_, post)| post.stop.cancel());
    }

    async fn ended(&mut self, partitions: &BTreeSet<i32>) {
        while self.posts.iter().any(|(held, post)| partitions.contains(held) && post.worker.is_some())
            && let Some(ended) = self.workers.join_next_with_id().await
        {
            self.has_ended(ended);
        }
    }

    async fn cut_short(&mut self, partitions: &BTreeSet<i32>) {
        for (_, post) in self.posts.iter_mut().filter(|(held, _)| partitions.contains(held)) {
            if let Some(worker) = post.worker.take() {
                worker.abort();
            }
        }
        // What computes without a pause cannot be aborted: such a call of a handler runs on to its end, beside
        // whatever else is done with the partition by then.
        let _moment = timeout(LAST_MOMENT, async {
            while self.places.values().any(|place| partitions.contains(place))
                && let Some(ended) = self.workers.join_next_with_id().await
            {
                self.has_ended(ended);
            }
        })
        .await;
    }

    fn has_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(partition) = self.places.remove(&id) else { return };
        // A worker that was cut short may end when its partition has another already.
        let is_its = |post: &&mut Post| post.worker.as_ref().is_none_or(|worker| worker.id() == id);
        let Some(post) = self.posts.get_mut(&partition).filter(is_its) else { return };
        post.worker = None;
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            error!("the worker of partition {partition} ended badly: {error}");
            post.ready_at = Instant::now() + AFTER_A_PANIC;
        }
    }

    fn dismiss(&mut self, partitions: &BTreeSet<i32>) -> BTreeMap<i32, Reach> {
        let mut projected = BTreeMap::new();
        for partition in partitions {
            if let Some(post) = self.posts.remove(partition)
                && let Some(reach) = post.progress.reach()
            {
                projected.insert(*partition, reach);
            }
        }
        self.report();
        projected
    }

    fn look(&mut self) -> BTreeSet<i32> {
        let elapsed = self.looked_at.elapsed().min(LONGEST_LOOK);
        self.looked_at = Instant::now();
        let lasts =
            |post: &Post| post.progress.look(elapsed).is_some_and(|lasted| lasted >= self.max_processing);
        self.posts.iter().filter(|(_, post)| lasts(post)).map(|(partition, _)| *partition).collect()
    }

    async fn commit_at_last(&self) {
        let mut backoff = Backoff::new();
        while let Err(error) = self.commit().await {
            // A coordinator's refusal is final; a lost connection is not, nor what passes with a rebalance:
            // this member has its place in the next generation a moment later, or else no claim at all.
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
            Err(error) if error.code().is_some_and(is_of_the_membership) => {}
            Err(error) => self.registry.failed(COMMITTING, &error.explained()),
        }
    }

    /// Commits what has moved, while this is a member and its lease holds. Tells whether there was something.
    async fn commit(&self) -> Result<bool, WireError> {
        let moved = self.posts.iter().filter_map(|(partition, post)| {
            let moved = post.progress.to_commit()?;
            Some((*partition, Committed { held_from: self.handler.held_from(*partition), ..moved }))
        });
        let moved: BTreeMap<i32, Committed> = moved.collect();
        let Some(claim) = self.standing.claim() else { return Ok(false) };
        if moved.is_empty() || !self.standing.lease().is_valid() {
            return Ok(false);
        }
        let noted =
            moved.iter().map(|(partition, committed)| (*partition, (committed.offset, committed.note())));
        self.coordinator.commit(&claim, &self.topic, &noted.collect()).await?;
        for (partition, committed) in moved {
            if let Some(post) = self.posts.get(&partition) {
                post.progress.committed(&committed);
            }
        }
        Ok(true)
    }

    fn report(&self) {
        let partitions: Vec<_> = self.posts.values().map(|post| post.progress.status()).collect();
        self.registry.group(|group| group.partitions = partitions);
    }
}

/// What the heartbeats learn too.
fn is_of_the_membership(code: ResponseError) -> bool {
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
