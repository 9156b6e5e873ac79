//! The broker inside the process, where no other is named.

use anyhow::Context as _;
use highwater_kafka_broker::Broker;

use crate::config::Config;

/// Starts it, unless there is a Kafka already; it ends when what is returned is dropped.
///
/// # Errors
///
/// It cannot start: no port of the loopback can be had.
pub async fn embedded(mut config: Config) -> anyhow::Result<(Config, Option<Broker>)> {
    if !config.embedded {
        return Ok((config, None));
    }
    let broker = Broker::start(Default::default()).await.context("the embedded broker cannot start")?;
    let address = broker.bootstrap();
    log::warn!("no KAFKA_BROKERS: using the embedded broker at {address}; nothing survives this process");
    config.kafka.brokers = vec![address];
    Ok((config, Some(broker)))
}
