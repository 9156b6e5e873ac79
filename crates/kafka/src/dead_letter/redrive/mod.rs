//! Sends dead letters back to their source topic, each once.
//!
//! ```text
//! join the redrive group ─▶ fix the ends of the log ─▶ fetch progress ─▶ read ─▶ send ─▶ mark, commit ─▶ leave
//!                                                                         ▲     up to the ends    │
//!                                                                         └───────────────────────┘
//! ```
//!
//! One redrive runs at a time: its [`RedriveLock`] is partition 0 of the dead letter topic in the redrive group, whose
//! lease and generation fence it like a consumer. The progress is committed in that group, so that a second redrive
//! sends nothing again. A dead letter that comes meanwhile is beyond the ends.

mod lock;
mod report;
mod run;
mod selection;
mod sending;

use std::{collections::BTreeMap, sync::Arc};

use log::info;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{DeadLetter, DlqReadError, DlqReader, RedriveProgress};
use crate::{
    ConsumerConfig, Publisher, StatusRegistry, TransientError,
    group::{Assignor, CommittedOffsets, Coordinator, GroupProtocol, OffsetAndMetadata, topic_of},
    topic,
    wire::WireError,
};
pub use report::{RedriveError, RedriveReport};
pub use selection::{DlqPosition, RedriveSelection};
use {
    lock::{ANOTHER, RedriveLock},
    report::Interruption,
    run::RedriveRun,
};

/// Sends dead letters of one source topic back to it. Those of a sequence stay, and count as foreign:
/// [`SequencedDeadLetters`](super::SequencedDeadLetters) redrives them in order.
pub struct Redriver {
    reader: DlqReader,
    publisher: Arc<dyn Publisher>,
    source: Arc<str>,
    config: ConsumerConfig,
    most: u32,
    coordinator: Arc<Coordinator>,
    one: Mutex<()>,
    /// A registry of its own: the status of the process does not depend on a redrive.
    registry: Arc<StatusRegistry>,
    stop: CancellationToken,
}

impl Redriver {
    /// A redriver of dead letters from `source`, to which `publisher` sends. A dead letter that was redriven `most`
    /// times stays. The redrive group is named as the dead letter topic with `.redrive` after it, and has the timeouts
    /// of `config`.
    pub fn new(
        reader: DlqReader,
        publisher: Arc<dyn Publisher>,
        source: &str,
        config: &ConsumerConfig,
        most: u32,
    ) -> Self {
        let config = ConsumerConfig {
            group_id: format!("{}.redrive", reader.topic().name()),
            protocol: GroupProtocol::Classic,
            assignors: vec![Assignor::CooperativeSticky],
            instance_id: None,
            ..config.clone()
        };
        let coordinator = Coordinator::new(Arc::clone(reader.cluster()), config.group_id.clone());
        Self {
            reader,
            publisher,
            source: source.into(),
            coordinator: Arc::new(coordinator.with_session_timeout(config.session_timeout)),
            config,
            most,
            one: Mutex::default(),
            registry: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Stops a running redrive after the dead letters in flight.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// The progress by partition; a partition without progress is absent.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub async fn progress(&self) -> Result<BTreeMap<i32, RedriveProgress>, RedriveError> {
        let committed = self.committed(self.topic_id().await?).await?;
        Ok(committed.iter().map(|(partition, committed)| (*partition, progress_of(committed))).collect())
    }

    /// The dead letter topic's id, if the cluster has ids.
    async fn topic_id(&self) -> Result<Option<Uuid>, RedriveError> {
        let asking = async {
            let mut any = self.reader.cluster().connect().await?;
            topic::id(&mut any, self.reader.topic().name()).await
        };
        match asking.await {
            Ok(id) => Ok(Some(id).filter(|id| !id.is_nil())),
            Err(WireError::Unsupported(_)) => Ok(None),
            Err(error) => Err(RedriveError::Unavailable(TransientError::new(error))),
        }
    }

    /// The committed progress in the topic with that id: that of a deleted topic of the same name does not count.
    async fn committed(&self, topic: Option<Uuid>) -> Result<BTreeMap<i32, OffsetAndMetadata>, RedriveError> {
        let partitions = 0..self.reader.topic().partitions() as i32;
        let committed = self.coordinator.committed(self.reader.topic().name(), partitions).await;
        let committed = committed.and_then(CommittedOffsets::stable);
        let mut committed =
            committed.map_err(|error| RedriveError::Unavailable(TransientError::new(error)))?;
        committed.retain(|_, committed| {
            topic_of(&committed.metadata).zip(topic).is_none_or(|(of, topic)| of == topic)
        });
        Ok(committed)
    }

    /// Sends back the selected dead letters that are in the log now and are not redriven yet. Ends at `until`, with the
    /// progress made until then.
    ///
    /// # Errors
    ///
    /// The redrive did not begin. The report has the reason that stops it later.
    pub async fn redrive(
        &self,
        selection: &RedriveSelection,
        until: Instant,
    ) -> Result<RedriveReport, RedriveError> {
        let _one = self.one.try_lock().map_err(|_| RedriveError::Busy)?;
        // Fails before joining if Kafka does not answer. The ends that count are fetched with the lock.
        let ranges = self.reader.ranges().await?;
        let lock = RedriveLock::join(self, until);
        let mut work = RedriveRun {
            redriver: self,
            lock,
            ranges,
            until,
            topic: None,
            report: RedriveReport::default(),
            sent_before: 0,
        };
        let done = work.run(selection).await;
        work.lock.release().await;
        let mut report = work.report;
        match done {
            Ok(()) => report.complete = true,
            // It had sent some before it lost the lock: that is reported.
            Err(Interruption::Never(RedriveError::Unavailable(why))) if report.redriven > 0 => {
                report.stopped = Some(why.to_string());
            }
            Err(Interruption::Never(RedriveError::Unreadable(why))) if report.redriven > 0 => {
                report.stopped = Some(why.to_string());
            }
            Err(Interruption::Never(error)) => return Err(error),
            Err(Interruption::Early(why)) => report.stopped = Some(why),
            Err(Interruption::LockLost) => report.stopped = Some(ANOTHER.to_owned()),
        }
        info!(
            redriven = report.redriven, exhausted = report.exhausted, complete = report.complete;
            "dead letters were sent back to {}", self.source
        );
        Ok(report)
    }
}

fn progress_of(committed: &OffsetAndMetadata) -> RedriveProgress {
    RedriveProgress::decode(committed.offset, &committed.metadata)
}

impl std::fmt::Debug for Redriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redriver")
            .field("source", &self.source)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}
