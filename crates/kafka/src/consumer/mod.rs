//! The consumer: a member of a group that processes a topic's records and commits the done ones.
//!
//! ```text
//! Assigned ─▶ a worker a partition: restore ─▶ read ─▶ handle ─▶ mark done ─┐
//!    ▲                                                                      │
//!    └─ Owns ◀─ revoked partitions: stop, drain, commit           watermark ─▶ commit
//! ```
//!
//! A partition that stays assigned keeps its worker through all rebalances.

mod assigned_partitions;
mod consumer_loop;
mod progress;
mod read_error;
mod reader;
mod watermark;
mod worker;

use std::sync::Arc;

use log::warn;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Cluster, CommittedOffset, ConsumerConfig, ConsumerCounts, RecordHandler, StatusRegistry,
    dead_letter::DlqPublisher, topic::Topic,
};
use assigned_partitions::AssignedPartitions;
use consumer_loop::ConsumerLoop;
use progress::Progress;
pub use read_error::ReadError;
pub use reader::Reader;
pub use watermark::Watermark;
use worker::Worker;

/// The component of the status registry that commits offsets.
const COMMITTING: &str = "committing offsets";

/// A running consumer. If it is dropped without [`Consumer::stop`], it runs until the process ends.
#[derive(Debug)]
pub struct Consumer {
    stop: CancellationToken,
    task: JoinHandle<()>,
    counts: Arc<ConsumerCounts>,
}

impl Consumer {
    /// Joins the group and passes the topic's records to the handler, until it is stopped.
    pub fn start(
        cluster: Arc<Cluster>,
        topic: Topic,
        config: ConsumerConfig,
        handler: Arc<dyn RecordHandler>,
        dead_letters: DlqPublisher,
        registry: Arc<StatusRegistry>,
    ) -> Self {
        let stop = CancellationToken::new();
        registry.group(|group| group.id.clone_from(&config.group_id));
        let counts = Arc::<ConsumerCounts>::default();
        let factory = WorkerFactory {
            cluster,
            topic,
            config,
            handler,
            dead_letters,
            registry,
            counts: Arc::clone(&counts),
        };
        Self { stop: stop.clone(), task: tokio::spawn(ConsumerLoop::new(factory, stop).run()), counts }
    }

    /// Its counts, which go on counting.
    pub fn counts(&self) -> Arc<ConsumerCounts> {
        Arc::clone(&self.counts)
    }

    /// Drains, commits and leaves the group. Its own waits take six seconds at most; a handler that does not return can take
    /// longer.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            warn!("the consumer ended badly: {error}");
        }
    }
}

/// Makes the workers of all partitions.
struct WorkerFactory {
    cluster: Arc<Cluster>,
    topic: Topic,
    config: ConsumerConfig,
    handler: Arc<dyn RecordHandler>,
    dead_letters: DlqPublisher,
    registry: Arc<StatusRegistry>,
    counts: Arc<ConsumerCounts>,
}

impl WorkerFactory {
    /// A reader of one partition.
    fn reader(&self, partition: i32) -> Reader {
        let topic = Arc::clone(self.topic.name());
        Reader::new(Arc::clone(&self.cluster), topic, partition, self.config.fetch_max_bytes)
    }
}
