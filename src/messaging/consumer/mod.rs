//! Reads a topic as a member of a group, and keeps the books on what is done.
//!
//! ```text
//! group: join ─▶ assignment ─▶ a worker a partition: restore ─▶ read ─▶ handle ─▶ mark done ─┐
//!          ▲                                                                                 │
//!          └── revoke: stop, drain, commit ◀── rebalance ◀── heartbeats      watermark ─▶ commit
//! ```

mod progress;
mod reader;
mod shift;
mod watermark;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_protocol::ResponseError;
use log::{debug, info, warn};
use tokio::{
    task::JoinHandle,
    time::{Duration, Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Board, Cluster, ConsumerConfig, GroupPhase, Handler, OffsetReset, PartitionStatus,
    backoff::Backoff,
    dead_letter::DeadLetters,
    group::{Coordinator, Generation, Heart, Lease, Member, Pulse, Session},
    topic::Topic,
    wire::WireError,
};
use progress::Progress;
use reader::Reader;
use shift::Shift;
pub use watermark::Watermark;
use worker::Worker;

/// The part of the board that is the membership's.
const JOINING: &str = "joining the group";
/// The part of the board that is the committed offsets'.
const COMMITTING: &str = "committing offsets";

/// As Java's `retry.backoff.ms`.
const REJOIN_WAIT: Duration = Duration::from_millis(100);
/// How long draining and committing may take when the process is to stop, and as long again leaving the
/// group: with Kafka away, both are in vain.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A running consumer. Dropped without [`Consumer::stop`], it goes on to the end of the process.
#[derive(Debug)]
pub struct Consumer {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Joins the group and hands the topic's records to the handler, until it is stopped.
    pub fn start(
        cluster: Arc<Cluster>,
        topic: Topic,
        config: ConsumerConfig,
        handler: Arc<dyn Handler>,
        dead_letters: DeadLetters,
        board: Arc<Board>,
    ) -> Self {
        let stop = CancellationToken::new();
        let coordinator = Arc::new(Coordinator::new(Arc::clone(&cluster), config.group_id.clone()));
        board.group(|group| group.id.clone_from(&config.group_id));
        let run = Run {
            member: Member::new(Arc::clone(&coordinator), topic.name(), &config),
            cluster,
            coordinator,
            topic,
            config,
            handler,
            dead_letters,
            board,
            stop: stop.clone(),
            projected: BTreeMap::new(),
            reason: "the consumer is starting".to_owned(),
        };
        Self { stop, task: tokio::spawn(run.run()) }
    }

    /// Drains, commits and leaves the group.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            warn!("the consumer ended badly: {error}");
        }
    }
}

/// The life of a member, from start to stop.
struct Run {
    cluster: Arc<Cluster>,
    coordinator: Arc<Coordinator>,
    member: Member,
    topic: Topic,
    config: ConsumerConfig,
    handler: Arc<dyn Handler>,
    dead_letters: DeadLetters,
    board: Arc<Board>,
    stop: CancellationToken,
    /// How far the projection of each partition reaches that this process had last.
    projected: BTreeMap<i32, i64>,
    /// Why the group is joined the next time, for the coordinator's log (KIP-800).
    reason: String,
}

/// Why a generation ended.
enum Ended {
    Stopped,
    Rebalance(String),
    /// Out of the group: nothing may be committed.
    Lost(String),
}

impl Run {
    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut backoff = Backoff::new();
        loop {
            self.phase(GroupPhase::Joining);
            let joined = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                joined = self.join() => joined,
            };
            match joined {
                Ok((session, partitions)) => {
                    self.board.succeeded(JOINING);
                    backoff = Backoff::new();
                    match self.serve(session, partitions).await {
                        Ended::Stopped => break,
                        Ended::Rebalance(reason) => self.reason = reason,
                        Ended::Lost(reason) => {
                            // The coordinator may know this member still: joining by the same id, it need
                            // not wait for the old one to expire.
                            warn!("out of the group: {reason}; joining again");
                            self.reason = reason;
                            again(&stop).await;
                        }
                    }
                }
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    again(&stop).await;
                }
                Err(error) => {
                    self.board.failed(JOINING, &error);
                    self.board.group(|group| group.error = Some(error.to_string()));
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = backoff.wait() => {}
                    }
                }
            }
        }
        match timeout(STOP_PATIENCE, self.member.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("leaving the group: {error}"),
            Err(_) => debug!("leaving the group: no answer"),
        }
        self.phase(GroupPhase::Left);
        info!("left group {}", self.config.group_id);
    }

    async fn join(&mut self) -> Result<(Session, usize), WireError> {
        let partitions = self.topic.known_partitions().await;
        self.handler.topic_has(partitions).await;
        let session = self.member.join(partitions, &self.reason).await?;
        Ok((session, partitions))
    }

    /// One generation: takes the partitions over, works, gives them up.
    async fn serve(&mut self, session: Session, partitions: usize) -> Ended {
        let Session { generation, assignment, leads } = session;
        let lease = Lease::new(self.config.session_timeout);
        let mut heart = Heart::start(
            Arc::clone(&self.coordinator),
            generation.clone(),
            lease.clone(),
            self.config.heartbeat_interval,
            Arc::clone(&self.board),
        );
        self.announce(&generation, &assignment);
        self.forget_all_but(&assignment).await;

        let committed = tokio::select! {
            committed = self.committed(&assignment) => committed,
            pulse = heart.ended() => return pulse.into(),
            () = self.stop.cancelled() => return Ended::Stopped,
        };
        let mut shift = self.begin_shift(&assignment, &committed, generation, lease);
        let ended = tokio::select! {
            reason = shift.keep_books() => Ended::Rebalance(reason),
            pulse = heart.ended() => pulse.into(),
            () = self.topic.changed_from(partitions), if leads => {
                Ended::Rebalance("the topic's partitions changed".to_owned())
            }
            () = self.stop.cancelled() => Ended::Stopped,
        };

        self.phase(GroupPhase::Revoking);
        let patience = match ended {
            Ended::Stopped => STOP_PATIENCE,
            _ => self.config.rebalance_timeout / 2,
        };
        let drained_by = Instant::now() + patience;
        let ended = match ended {
            Ended::Lost(reason) => Ended::Lost(reason),
            Ended::Stopped => {
                shift.drain(drained_by).await;
                Ended::Stopped
            }
            Ended::Rebalance(reason) => tokio::select! {
                () = shift.drain(drained_by) => Ended::Rebalance(reason),
                lost = heart.lost() => Ended::Lost(lost),
            },
        };
        if matches!(ended, Ended::Lost(_)) {
            shift.abandon().await;
        }
        self.projected = shift.projected();
        ended
    }

    fn announce(&self, generation: &Generation, assignment: &BTreeSet<i32>) {
        let group = &self.config.group_id;
        info!("assigned: group={group} generation={} partitions={assignment:?}", generation.number);
        self.board.group(|group| {
            group.member = generation.member.as_str().to_owned();
            group.generation = generation.number;
            group.error = None;
            group.phase = GroupPhase::Assigned;
            // Known before the workers report, so that nobody takes the member for ready meanwhile.
            group.partitions = assignment
                .iter()
                .map(|partition| PartitionStatus {
                    partition: *partition,
                    committed: -1,
                    ..Default::default()
                })
                .collect();
        });
    }

    /// The projections of partitions that others have now.
    async fn forget_all_but(&mut self, assignment: &BTreeSet<i32>) {
        let gone: Vec<i32> =
            self.projected.keys().filter(|held| !assignment.contains(held)).copied().collect();
        for partition in gone {
            info!("revoked: partition {partition}");
            self.handler.forget(partition).await;
            self.projected.remove(&partition);
        }
    }

    /// The group's committed offsets of the whole topic, asked until they are known. The group's leader may
    /// know of partitions that are news here.
    async fn committed(&self, assignment: &BTreeSet<i32>) -> BTreeMap<i32, i64> {
        let mut backoff = Backoff::new();
        let assigned = assignment.last().map_or(0, |last| last + 1);
        loop {
            let partitions = 0..assigned.max(self.topic.partitions() as i32);
            match self.coordinator.committed(self.topic.name(), partitions).await {
                Ok(committed) => {
                    self.board.succeeded(COMMITTING);
                    return committed;
                }
                Err(error) => {
                    self.board.failed(COMMITTING, &error);
                    backoff.wait().await;
                }
            }
        }
    }

    fn begin_shift(
        &self,
        assignment: &BTreeSet<i32>,
        committed: &BTreeMap<i32, i64>,
        generation: Generation,
        lease: Lease,
    ) -> Shift {
        let mut shift = Shift::new(
            Arc::clone(&self.coordinator),
            Arc::clone(self.topic.name()),
            generation.clone(),
            lease.clone(),
            self.config.commit_interval,
            Arc::clone(&self.board),
        );
        for &partition in assignment {
            // The first generation commits each start at once. So where others have an offset and this
            // partition has none, it appeared later, and nothing in it was ever seen: it starts at its
            // beginning.
            let first = committed.is_empty() || generation.number <= 1;
            let reset = if first { self.config.offset_reset } else { OffsetReset::Earliest };
            let committed = committed.get(&partition).copied();
            let progress = Progress::new(partition, committed, self.projected.get(&partition).copied());
            let topic = Arc::clone(self.topic.name());
            let worker = Worker {
                partition,
                part: format!("reading {topic}/{partition}"),
                reader: Reader::new(Arc::clone(&self.cluster), topic, partition, self.config.fetch_max_bytes),
                handler: Arc::clone(&self.handler),
                dead_letters: self.dead_letters.clone(),
                progress,
                lease: lease.clone(),
                board: Arc::clone(&self.board),
                reset: if committed.is_some() { self.config.offset_reset } else { reset },
                stop: shift.stop_signal(),
                started: shift.started_signal(),
            };
            shift.employ(worker, committed);
        }
        shift
    }

    fn phase(&self, phase: GroupPhase) {
        self.board.group(|group| group.phase = phase);
    }
}

/// The wait before a coordinator is asked again that sent this member away.
async fn again(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(REJOIN_WAIT) => {}
    }
}

impl From<Pulse> for Ended {
    fn from(pulse: Pulse) -> Self {
        match pulse {
            Pulse::Lost(reason) => Self::Lost(reason),
            Pulse::Steady | Pulse::Rebalance => Self::Rebalance("the group rebalances".to_owned()),
        }
    }
}
