//! The committed offsets of a group, read and moved by a process that is no member of it.

use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::{ResponseError, protocol::StrBytes};
use thiserror::Error;
use uuid::Uuid;

use super::{CommittedOffsets, Coordinator, MemberGeneration, OffsetAndMetadata, with_topic};
use crate::{Cluster, TransientError};

/// The offsets that a group has committed for one topic.
#[derive(Debug)]
pub struct GroupOffsets {
    coordinator: Coordinator,
    topic: Arc<str>,
}

/// The offsets were not moved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The group has members, and Kafka lets them alone commit. A static member that has stopped counts until its session
    /// is over.
    #[error("the group has members")]
    HasMembers,
    /// An error that may pass.
    #[error(transparent)]
    Transient(TransientError),
}

impl GroupOffsets {
    /// The offsets of that group and topic. Asks nothing yet.
    pub fn new(cluster: Arc<Cluster>, group_id: &str, topic: Arc<str>) -> Self {
        Self { coordinator: Coordinator::new(cluster, group_id.to_owned()), topic }
    }

    /// The committed offset of each of these partitions that has one.
    ///
    /// # Errors
    ///
    /// The coordinator does not answer, or refuses.
    pub async fn committed(&self, partitions: i32) -> Result<BTreeMap<i32, i64>, TransientError> {
        let committed = self.coordinator.committed(&self.topic, 0..partitions).await;
        let committed = committed.and_then(CommittedOffsets::stable);
        let committed = committed.map_err(|error| TransientError::new(error.explained()))?;
        Ok(committed.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect())
    }

    /// Commits these offsets by partition, as `kafka-consumer-groups --reset-offsets` does. `topic_id` is the id of their
    /// topic, if it is known.
    ///
    /// # Errors
    ///
    /// The group has members; or the coordinator does not answer, or refuses.
    pub async fn move_to(
        &self,
        offsets: &BTreeMap<i32, i64>,
        topic_id: Option<Uuid>,
    ) -> Result<(), MoveError> {
        // Kafka's mark of a commit by no member.
        let nobody = MemberGeneration { member_id: StrBytes::default(), instance_id: None, id: -1 };
        let metadata = with_topic(String::new(), topic_id);
        let noted = offsets.iter().map(|(partition, offset)| {
            let metadata = metadata.clone();
            (*partition, OffsetAndMetadata { offset: *offset, leader_epoch: None, metadata })
        });
        let noted = noted.collect();
        self.coordinator.commit(&nobody, &self.topic, &noted).await.map_err(|error| match error.code() {
            Some(
                ResponseError::UnknownMemberId
                | ResponseError::IllegalGeneration
                | ResponseError::RebalanceInProgress,
            ) => MoveError::HasMembers,
            _ => MoveError::Transient(TransientError::new(error.explained())),
        })
    }
}
