//! Reads the topic of the service beside its group.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use highwater_kafka::{Cluster, Reader, describe, exists};

use super::Config;

/// The topic, and the cluster that it is on.
#[derive(Debug)]
pub(super) struct TopicLog {
    pub(super) cluster: Arc<Cluster>,
    pub(super) topic: Arc<str>,
    fetch_max_bytes: i32,
}

impl TopicLog {
    /// The service's topic. It is not created.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let log = Self {
            cluster: Arc::new(Cluster::new(config.kafka.clone())?),
            topic: config.topic.as_str().into(),
            fetch_max_bytes: config.fetch_max_bytes,
        };
        let mut connection = log.cluster.connect().await.context("Kafka cannot be reached")?;
        if !exists(&mut connection, &log.topic).await? {
            bail!("topic {} does not exist", log.topic);
        }
        Ok(log)
    }

    /// The number of its partitions.
    pub(super) async fn partitions(&self) -> anyhow::Result<i32> {
        let mut connection = self.cluster.connect().await?;
        Ok(i32::try_from(describe(&mut connection, &self.topic).await?.partitions)?)
    }

    /// A reader of one partition.
    pub(super) fn reader(&self, partition: i32) -> Reader {
        Reader::new(Arc::clone(&self.cluster), Arc::clone(&self.topic), partition, self.fetch_max_bytes)
    }
}
