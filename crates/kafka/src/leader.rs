//! The leader of a partition, as most of its replicas know it.
//!
//! A broker that was suspended takes itself for the leader until it hears of the election of another. Its log ends
//! earlier, so it finds a good offset out of range. The leader epoch tells the newer of two leaders (KIP-101); Kafka's
//! own clients carry it along (KIP-320). Here the replicas are asked when it matters: the newest leader is one of them.

use futures::{StreamExt, stream::FuturesUnordered};
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{
    Cluster,
    topic::{self, Address},
    wire::WireError,
};

/// The newest leader of a partition.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) leader: Address,
    pub(super) epoch: i32,
    /// The topic's id, on which all replicas that were asked agree; `None` if none of them has ids.
    pub(super) topic: Option<Uuid>,
}

/// The newest leader that a majority of the partition's online replicas knows.
///
/// # Errors
///
/// Too few of them answer; there is no leader; or the topic was recreated and some have not heard of it, so that their
/// epochs cannot be compared.
pub(super) async fn newest(cluster: &Cluster, topic: &str, partition: i32) -> Result<Newest, WireError> {
    let mut newest = topic::leadership(&mut cluster.connect().await?, topic, partition).await?;
    let mut asked: FuturesUnordered<_> = newest
        .replicas
        .iter()
        .cloned()
        .map(|(host, port)| async move {
            let mut replica = cluster.connect_to(&host, port).await?;
            topic::leadership(&mut replica, topic, partition).await
        })
        .collect();
    let mut wanted = newest.replicas.len() / 2 + 1;
    let mut failure = WireError::Refused { what: "Metadata", error: ResponseError::ReplicaNotAvailable };
    while wanted > 0 {
        match asked.next().await {
            Some(Ok(known)) => {
                wanted -= 1;
                if newest.topic.zip(known.topic).is_some_and(|(one, other)| one != other) {
                    return Err(WireError::Refused {
                        what: "Metadata",
                        error: ResponseError::InconsistentTopicId,
                    });
                }
                let topic = newest.topic.or(known.topic);
                if known.epoch > newest.epoch {
                    newest = known;
                }
                newest.topic = topic;
            }
            Some(Err(error)) => failure = error,
            None => return Err(failure),
        }
    }
    Ok(Newest {
        leader: newest.leader.ok_or(WireError::NO_LEADER)?,
        epoch: newest.epoch,
        topic: newest.topic,
    })
}
