//! The embedded broker, for a process without KAFKA_BROKERS.

use anyhow::Context as _;
use highwater_kafka::ClusterConfig;
use highwater_kafka_broker::Broker;

/// Starts the embedded broker where `kafka` names no brokers, and names it there. Dropping the returned broker stops it.
///
/// # Errors
///
/// The broker finds no free port of the loopback interface.
pub async fn start(kafka: &mut ClusterConfig) -> anyhow::Result<Option<Broker>> {
    if !kafka.brokers.is_empty() {
        return Ok(None);
    }
    let broker = Broker::start(Default::default()).await.context("the embedded broker cannot start")?;
    let address = broker.bootstrap();
    log::warn!("no KAFKA_BROKERS: using the embedded broker at {address}; nothing survives this process");
    kafka.brokers = vec![address];
    Ok(Some(broker))
}
