//! What a topic must be to keep state in: nothing in it may ever change place or go away.

use std::sync::Arc;

use highwater_kafka::{Cluster, ReadError, Reader, describe, settings, wire::WireError};
use kafka_protocol::ResponseError;
use thiserror::Error;

/// Why a topic cannot keep state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("topic {topic} cannot keep state: {reason}")]
pub struct Unfit {
    /// The topic.
    pub topic: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Why nothing is known of it yet.
#[derive(Debug, Error)]
pub(super) enum CheckError {
    /// Of the topic and its settings.
    #[error("{}", .0.explained())]
    Unknown(#[from] WireError),
    /// Of what is in it.
    #[error(transparent)]
    Unread(#[from] ReadError),
}

/// Looks whether the topic can keep state in so many partitions.
pub(super) async fn check(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    partitions: usize,
) -> Result<Result<(), Unfit>, CheckError> {
    let unfit = |reason| Unfit { topic: topic.to_string(), reason };
    let mut connection = cluster.connect().await?;
    let layout = describe(&mut connection, topic).await?;
    let settings = match settings(&mut connection, topic).await {
        Ok(settings) => settings,
        Err(error) if is_forbidden(&error) => {
            log::warn!(
                "topic {topic}: its settings cannot be read ({error}); they are taken to be as they must. \
                 Allow DESCRIBE_CONFIGS on it to have them checked"
            );
            Vec::new()
        }
        // Whatever else is wrong passes; until then nobody knows whether the state is safe.
        Err(error) => return Err(error.into()),
    };
    if let Err(reason) = judge(layout.partitions, partitions, &settings) {
        return Ok(Err(unfit(reason)));
    }
    // More partitions do not count, but whoever wrote to one counts it.
    for partition in partitions..layout.partitions {
        let mut reader = Reader::new(Arc::clone(cluster), Arc::clone(topic), partition as i32, 1);
        if !reader.range().await?.is_empty() {
            return Ok(Err(unfit(format!(
                "partition {partition} has records, and the table is set to {partitions} partitions: they were written with a \
                 higher number. Set it to what the topic began with, in all instances; records there that are nobody's \
                 can be deleted (kafka-delete-records)"
            ))));
        }
    }
    Ok(Ok(()))
}

/// Whether this user may not read settings, which no waiting mends.
fn is_forbidden(error: &WireError) -> bool {
    use ResponseError::{ClusterAuthorizationFailed, TopicAuthorizationFailed};
    matches!(error.code(), Some(TopicAuthorizationFailed | ClusterAuthorizationFailed))
}

/// By its settings, as `DescribeConfigs` tells them.
fn judge(has: usize, needs: usize, settings: &[(String, String)]) -> Result<(), String> {
    if has < needs {
        return Err(format!(
            "it has {has} partitions, and the table is set to {needs}. Partitions cannot be added to state: \
             set their number to what the topic was made with"
        ));
    }
    let must_be = [
        ("cleanup.policy", "delete", "compaction would take events away that decided who won"),
        ("retention.ms", "-1", "what is older would be forgotten"),
        ("retention.bytes", "-1", "what is older would be forgotten"),
    ];
    for (name, wanted, because) in must_be {
        if let Some((_, found)) = settings.iter().find(|(setting, value)| setting == name && value != wanted)
        {
            return Err(format!("{name} is {found}, and must be {wanted}: {because}"));
        }
    }
    Ok(())
}
