//! Who leads a partition, by the word of those who could.
//!
//! A broker that was stopped and goes on takes itself for the leader until it hears that another was elected, and its
//! log ends before the other's. It would say of a good offset that it is out of range. Which of two leaders is the
//! newer one is told by their epochs (KIP-101); Kafka's own clients carry those along (KIP-320). Here the partition's
//! replicas are asked where it matters: the newest leader is one of them, and knows it.

use futures::{StreamExt, stream::FuturesUnordered};
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{
    Cluster,
    topic::{self, Address},
    wire::WireError,
};

/// A partition's leader, by the newest word.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) leader: Address,
    pub(super) epoch: i32,
    /// The topic's id, on which all who were asked agree; `None` where none of them knows of ids.
    pub(super) topic: Option<Uuid>,
}

/// The newest leader that most of the partition's replicas know, of those that are not known to be away.
///
/// # Errors
///
/// Too few of them answer, or there is no leader, or the topic was made again and some have not heard of it: epochs of
/// two topics cannot be compared.
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
    Ok(Newest { leader: newest.leader.ok_or(topic::NO_LEADER)?, epoch: newest.epoch, topic: newest.topic })
}
