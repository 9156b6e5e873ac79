//! Dead dead letters on their way back to where they came from, each once.
//!
//! ```text
//! join the redrive group ─▶ the log's ends, fixed ─▶ what is progress ─▶ read ─▶ send ─▶ settle, commit ─▶ leave
//!                                                           ▲             up to the ends          │
//!                                                           └──────────────────────────────────────┘
//! ```
//!
//! One redrive works at a time: whoever holds partition 0 of the dead letter topic in the redrive group, whose
//! lease and generation fence it as they fence a consumer. What was sent back is committed in that group, so that
//! a second redrive does not send it again; what comes to the dead letters meanwhile is beyond the ends.

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
    ConsumerConfig, Publisher, StatusRegistry,
    consumer::topic_of,
    group::{Assignor, Coordinator, GroupProtocol},
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

/// Sends dead letters of one source topic back.
pub struct Redriver {
    reader: DlqReader,
    publisher: Arc<dyn Publisher>,
    source: Arc<str>,
    config: ConsumerConfig,
    most: u32,
    coordinator: Arc<Coordinator>,
    one: Mutex<()>,
    /// Its own: how a redrive fares is no business of /ready.
    registry: Arc<StatusRegistry>,
    stop: CancellationToken,
}

impl Redriver {
    /// A redriver of dead letters from `source`, which `publisher` writes to; a dead letter that was sent back `most` times
    /// stays. The redrive group is the dead letter topic's name with `.redrive` after it, with the times of
    /// `config`.
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

    /// A redrive at work ends after the dead letters that are on their way.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// What is progress, by partition, for whoever shows dead letters; a partition of which nothing is known is absent.
    ///
    /// # Errors
    ///
    /// Kafka does not tell.
    pub async fn progress(&self) -> Result<BTreeMap<i32, RedriveProgress>, RedriveError> {
        self.progress_of(self.topic_id().await?).await
    }

    /// The id of the topic that the dead letters are in now, where the cluster has ids.
    async fn topic_id(&self) -> Result<Option<Uuid>, RedriveError> {
        let asking = async {
            let mut any = self.reader.cluster().connect().await?;
            topic::id(&mut any, self.reader.topic().name()).await
        };
        match asking.await {
            Ok(id) => Ok(Some(id).filter(|id| !id.is_nil())),
            Err(WireError::Unsupported(_)) => Ok(None),
            Err(error) => Err(RedriveError::Unavailable(error.to_string())),
        }
    }

    /// What is progress in the topic of that id: what was in one of the same name before is no more.
    async fn progress_of(&self, topic: Option<Uuid>) -> Result<BTreeMap<i32, RedriveProgress>, RedriveError> {
        let partitions = 0..self.reader.topic().partitions() as i32;
        let committed = self.coordinator.committed(self.reader.topic().name(), partitions).await;
        let mut committed = committed.map_err(|error| RedriveError::Unavailable(error.to_string()))?;
        committed.retain(|_, (_, note)| topic_of(note).zip(topic).is_none_or(|(of, topic)| of == topic));
        let read = |(partition, (offset, note)): (_, (_, String))| {
            (partition, RedriveProgress::decode(offset, &note))
        };
        Ok(committed.into_iter().map(read).collect())
    }

    /// Sends back the selected dead letters that stand there now and were not sent back before. At `until` it ends
    /// with what is done.
    ///
    /// # Errors
    ///
    /// It did not begin. What stops it later is in the report.
    pub async fn redrive(
        &self,
        selection: &RedriveSelection,
        until: Instant,
    ) -> Result<RedriveReport, RedriveError> {
        let _one = self.one.try_lock().map_err(|_| RedriveError::Busy)?;
        // Where Kafka does not tell, that is said without joining first; what counts is what it tells then.
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
            // After it had waited for another; what went before that is told.
            Err(Interruption::Never(RedriveError::Unavailable(why))) if report.redriven > 0 => {
                report.stopped = Some(why);
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

impl std::fmt::Debug for Redriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redriver")
            .field("source", &self.source)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}
