//! What a topic must be to keep state in: nothing in it may ever change place or go away.

use kafka_protocol::ResponseError;
use thiserror::Error;

use crate::messaging::{
    Cluster,
    topic::{describe, settings},
    wire::WireError,
};

/// Why a topic cannot keep state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("topic {topic} cannot keep state: {reason}")]
pub struct Unfit {
    /// The topic.
    pub topic: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Looks whether the topic can keep state in so many partitions.
pub(super) async fn check(
    cluster: &Cluster,
    topic: &str,
    partitions: usize,
) -> Result<Result<(), Unfit>, WireError> {
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
        Err(error) => return Err(error),
    };
    Ok(judge(layout.partitions, partitions, &settings)
        .map_err(|reason| Unfit { topic: topic.to_owned(), reason }))
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
            "it has {has} partitions, and STATE_PARTITIONS is {needs}. Partitions cannot be added to state: \
             set STATE_PARTITIONS to what the topic was made with"
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
