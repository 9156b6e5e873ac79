//! The embedded broker, for a process without KAFKA_BROKERS.

use anyhow::Context as _;
use highwater_kafka_broker::Broker;

use crate::config::Config;

/// Starts the embedded broker where the configuration names no Kafka. Dropping the returned broker stops it.
///
/// # Errors
///
/// The broker finds no free port of the loopback interface.
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
