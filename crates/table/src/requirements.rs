//! The requirements on a topic that keeps state: no record in it may ever move or be deleted.

use std::sync::Arc;

use highwater_kafka::{Cluster, ReadError, Reader, describe, settings, wire::WireError};
use kafka_protocol::ResponseError;
use thiserror::Error;

/// The reason why a topic cannot keep state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("topic {topic} cannot keep state: {reason}")]
#[non_exhaustive]
pub struct InvalidTopic {
    /// The topic.
    pub topic: String,
    /// The fault, and what to do about it.
    pub reason: String,
}

/// The reason why the topic cannot be checked now.
#[derive(Debug, Error)]
pub(super) enum CheckError {
    /// The topic or its settings cannot be read.
    #[error("{}", .0.explained())]
    Unknown(#[from] WireError),
    /// Its records cannot be read.
    #[error(transparent)]
    NotReadBack(#[from] ReadError),
}

/// Checks that the topic can keep state in this number of partitions.
pub(super) async fn check(
    cluster: &Arc<Cluster>,
    topic: &Arc<str>,
    partitions: usize,
) -> Result<Result<(), InvalidTopic>, CheckError> {
    let invalid = |reason| InvalidTopic { topic: topic.to_string(), reason };
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
        // Any other error is transient; until the topic is checked, the state may be unsafe.
        Err(error) => return Err(error.into()),
    };
    if let Err(reason) = check_settings(layout.partitions, partitions, &settings) {
        return Ok(Err(invalid(reason)));
    }
    // Further partitions are not read, but a writer that is set to more of them may have used one.
    for partition in partitions..layout.partitions {
        let mut reader = Reader::new(Arc::clone(cluster), Arc::clone(topic), partition as i32, 1);
        if !reader.range().await?.is_empty() {
            return Ok(Err(invalid(format!(
                "partition {partition} has records, and the table is set to {partitions} partitions: they were written with a \
                 higher number. Set it to what the topic began with, in all instances; records there that are nobody's \
                 can be deleted (kafka-delete-records)"
            ))));
        }
    }
    Ok(Ok(()))
}

/// Whether this user may not read settings. Waiting does not help then.
fn is_forbidden(error: &WireError) -> bool {
    use ResponseError::{ClusterAuthorizationFailed, TopicAuthorizationFailed};
    matches!(error.code(), Some(TopicAuthorizationFailed | ClusterAuthorizationFailed))
}

/// Checks the number of partitions and the settings that `DescribeConfigs` returned.
fn check_settings(has: usize, needs: usize, settings: &[(String, String)]) -> Result<(), String> {
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
