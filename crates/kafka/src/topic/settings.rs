//! The settings of a topic.

use kafka_protocol::{
    messages::{DescribeConfigsRequest, describe_configs_request::DescribeConfigsResource},
    protocol::StrBytes,
};

use super::TopicDescription;
use crate::wire::{Connection, WireError};

/// The code of a topic in DescribeConfigs (`ConfigResource.Type` in Java).
const TOPIC_RESOURCE: i8 = 2;

/// The settings of an existing topic that can lose acknowledged records.
pub(super) async fn weaknesses(
    connection: &mut Connection,
    topic: &str,
    description: &TopicDescription,
) -> Vec<String> {
    let mut found = Vec::new();
    if description.replication < 3 {
        found.push(format!(
            "replication factor {}: a broker's loss can lose acknowledged events (3 is safe)",
            description.replication
        ));
    }
    // This user may have no right to see the settings.
    let Ok(settings) = settings(connection, topic).await else { return found };
    let setting =
        |wanted: &str| settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if description.replication >= 3 && setting("min.insync.replicas") == Some("1") {
        found.push(
            "min.insync.replicas=1: an event acknowledged by the leader alone can be lost (2 is safe)"
                .to_owned(),
        );
    }
    if setting("unclean.leader.election.enable") == Some("true") {
        found
            .push("unclean.leader.election.enable=true: an election can lose acknowledged events".to_owned());
    }
    if setting("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        found.push("cleanup.policy has compact: older events of a user disappear from the log".to_owned());
    }
    if let Some(version) = setting("message.format.version").filter(|version| is_without_headers(version)) {
        found.push(format!(
            "message.format.version={version}: records have no headers there, and Kafka takes none of ours \
             (0.11 or later is wanted, or an inter.broker.protocol.version of 3.0)"
        ));
    }
    found
}

/// Whether a message format such as `0.10.2-IV0` is older than 0.11, which has headers (KIP-82). Kafka 4 has no such
/// setting.
fn is_without_headers(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|number| number.parse().ok());
    matches!((numbers.next(), numbers.next()), (Some(0_u32), Some(0..=10_u32)))
}

/// The topic's settings by name (DescribeConfigs).
///
/// # Errors
///
/// The broker does not answer, or refuses: the right DESCRIBE_CONFIGS is missing.
pub async fn settings(connection: &mut Connection, topic: &str) -> Result<Vec<(String, String)>, WireError> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = connection.call(&request, 1..=4).await?;
    for result in &answer.results {
        WireError::check("DescribeConfigs", result.error_code)?;
    }
    let configs = answer.results.into_iter().flat_map(|result| result.configs);
    Ok(configs
        .filter_map(|config| Some((config.name.as_str().to_owned(), config.value?.as_str().to_owned())))
        .collect())
}
