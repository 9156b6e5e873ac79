//! Reads a topic as a member of a group, and keeps the books on what is done.
//!
//! ```text
//! group: hold these ─▶ a worker a partition: restore ─▶ read ─▶ handle ─▶ mark done ─┐
//!          ▲                                                                         │
//!          └── holds these ◀── what is not among them: stop, drain, commit   watermark ─▶ commit
//! ```
//!
//! A partition that stays this member's has its worker through all rebalances.

mod assigned_partitions;
mod committed;
mod consumer_loop;
mod progress;
mod reader;
mod watermark;
mod worker;

use std::sync::Arc;

use log::warn;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Cluster, ConsumerConfig, ConsumerCounts, RecordHandler, StatusRegistry, dead_letter::DlqPublisher,
    topic::Topic,
};
use assigned_partitions::AssignedPartitions;
pub use committed::CommittedOffset;
pub(super) use committed::{metadata_field, topic_of, with_topic};
use consumer_loop::ConsumerLoop;
use progress::Progress;
pub use reader::{ReadError, Reader};
pub use watermark::Watermark;
use worker::Worker;

/// The part of the registry that is the committed offsets'.
const COMMITTING: &str = "committing offsets";

/// A running consumer. Dropped without [`Consumer::stop`], it goes on to the end of the process.
#[derive(Debug)]
pub struct Consumer {
    stop: CancellationToken,
    task: JoinHandle<()>,
    counts: Arc<ConsumerCounts>,
}

impl Consumer {
    /// Joins the group and hands the topic's records to the handler, until it is stopped.
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

    /// What it has done so far, counted on.
    pub fn counts(&self) -> Arc<ConsumerCounts> {
        Arc::clone(&self.counts)
    }

    /// Drains, commits and leaves the group.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            warn!("the consumer ended badly: {error}");
        }
    }
}

/// What a worker is made of, whichever partition it is for.
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
