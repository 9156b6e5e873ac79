//! The settings of the cluster, its topics, the producer and the consumer.

use highwater_kafka::{ClusterConfig, ConsumerConfig, ProducerConfig, TopicConfig};

use super::{reader::SettingsReader, security, table};

/// Reads the settings of the cluster, and whether it is the embedded broker.
pub(super) fn cluster(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> (ClusterConfig, bool) {
    let brokers = reader.value(&table::KAFKA_BROKERS);
    let embedded = brokers.is_none();
    let kafka = ClusterConfig::new(brokers.unwrap_or_default())
        .with_security(security::read(reader))
        .with_client_id(reader.value(&table::KAFKA_CLIENT_ID))
        .with_connect_timeout(reader.value(&table::KAFKA_CONNECT_TIMEOUT))
        .with_request_timeout(reader.value(&table::KAFKA_REQUEST_TIMEOUT));
    (kafka, embedded)
}

/// Reads the settings of the topics of events and of dead letters.
pub(super) fn topics(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
) -> (TopicConfig, TopicConfig) {
    let topic = TopicConfig::new(reader.value(&table::KAFKA_TOPIC))
        .with_partitions(reader.value(&table::KAFKA_TOPIC_PARTITIONS))
        .with_replication_factor(reader.value(&table::KAFKA_TOPIC_REPLICATION_FACTOR))
        .with_retention(reader.value(&table::KAFKA_TOPIC_RETENTION))
        .with_max_message_bytes(reader.value(&table::KAFKA_TOPIC_MAX_MESSAGE_BYTES));
    let mut dead_letter_topic = topic.dead_letters();
    if let Some(name) = reader.value(&table::KAFKA_DEAD_LETTER_TOPIC) {
        dead_letter_topic.name = name;
    }
    (topic, dead_letter_topic)
}

/// Reads the settings of the producer.
pub(super) fn producer(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> ProducerConfig {
    ProducerConfig::default()
        .with_timeout(reader.value(&table::PRODUCE_TIMEOUT))
        .with_queue_records(reader.value(&table::PRODUCE_QUEUE_EVENTS))
        .with_queue_bytes(reader.value(&table::PRODUCE_QUEUE_BYTES))
        .with_batch_max_bytes(reader.value(&table::BATCH_MAX_BYTES))
        .with_idempotence(reader.value(&table::ENABLE_IDEMPOTENCE))
        .with_breaker_after(reader.value(&table::BREAKER_AFTER))
}

/// Reads the settings of the consumer in that group.
pub(super) fn consumer(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    group_id: String,
) -> ConsumerConfig {
    ConsumerConfig::new(group_id)
        .with_protocol(reader.value(&table::GROUP_PROTOCOL))
        .with_assignors(reader.value(&table::KAFKA_PARTITION_ASSIGNMENT_STRATEGY))
        .with_instance_id(reader.value(&table::KAFKA_GROUP_INSTANCE_ID))
        .with_leave_on_stop(reader.value(&table::GROUP_ON_STOP))
        .with_session_timeout(reader.value(&table::KAFKA_SESSION_TIMEOUT))
        .with_rebalance_timeout(reader.value(&table::KAFKA_REBALANCE_TIMEOUT))
        .with_heartbeat_interval(reader.value(&table::KAFKA_HEARTBEAT_INTERVAL))
        .with_max_processing(reader.value(&table::MAX_PROCESSING))
        .with_commit_interval(reader.value(&table::COMMIT_INTERVAL))
        .with_offset_reset(reader.value(&table::OFFSET_RESET))
        .with_metadata_max_age(reader.value(&table::METADATA_MAX_AGE))
        .with_fetch_max_bytes(reader.value(&table::FETCH_MAX_BYTES))
}
