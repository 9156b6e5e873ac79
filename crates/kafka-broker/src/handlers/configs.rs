//! DescribeConfigs.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    },
    protocol::StrBytes,
};

use super::{Answered, Context};

/// `ConfigResource.Type` in Java.
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;

/// `DescribeConfigsResponse.ConfigSource` in Java: the topic's own, or Kafka's default.
pub(super) fn source(given: bool) -> i8 {
    if given { 1 } else { 5 }
}

impl Answered for DescribeConfigsRequest {
    async fn answer(self, context: &Context<'_>) -> DescribeConfigsResponse {
        let options = &context.shared.options;
        let results = context.shared.with(|state| {
            let of_broker = [
                ("auto.create.topics.enable", options.auto_create_topics.to_string()),
                ("default.replication.factor", state.image().nodes.len().to_string()),
                ("num.partitions", options.default_partitions.to_string()),
            ];
            let described = self.resources.iter().map(|resource| {
                let wanted = |name: &str| {
                    let names = resource.configuration_keys.as_ref();
                    names.is_none_or(|names| names.iter().any(|wanted| wanted.as_str() == name))
                };
                let name = resource.resource_name.as_str();
                let topic = state.topics.get(name);
                let result = DescribeConfigsResult::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone());
                match (resource.resource_type, topic) {
                    (TOPIC_RESOURCE, Some(topic)) => {
                        let configs = topic.all_configs().filter(|(name, ..)| wanted(name));
                        let configs = configs.map(|(name, value, given)| described(name, value, given));
                        result.with_configs(configs.collect())
                    }
                    (TOPIC_RESOURCE, None) => {
                        result.with_error_code(ResponseError::UnknownTopicOrPartition.code())
                    }
                    (BROKER_RESOURCE, _) if name.is_empty() || name == state.node.to_string() => {
                        let configs = of_broker.iter().filter(|(name, _)| wanted(name));
                        let configs = configs.map(|(name, value)| described(name, value, false));
                        result.with_configs(configs.collect())
                    }
                    _ => result.with_error_code(ResponseError::InvalidRequest.code()),
                }
            });
            described.collect()
        });
        DescribeConfigsResponse::default().with_results(results)
    }

    fn refuse(&self, error: i16) -> DescribeConfigsResponse {
        let results = self.resources.iter().map(|resource| {
            DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_code(error)
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}

fn described(name: &str, value: &str, given: bool) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(Some(StrBytes::from_string(value.to_owned())))
        .with_config_source(source(given))
}
