//! Checks between settings.

#[cfg(not(feature = "postgres"))]
use super::table::{STORE_URL, STORE_URL_FILE};
use super::{
    Config, Service,
    reader::SettingsReader,
    table::{
        BATCH_MAX_BYTES, DRAIN_DELAY, EMBEDDED, EVENTLOG_MAX_BODY_BYTES, HTTP_MAX_BYTES, KAFKA_BROKERS,
        KAFKA_DEAD_LETTER_TOPIC, KAFKA_HEARTBEAT_INTERVAL, KAFKA_REBALANCE_TIMEOUT, KAFKA_SESSION_TIMEOUT,
        KAFKA_TOPIC, KAFKA_TOPIC_MAX_MESSAGE_BYTES, MAX_BODY_BYTES, ORDER_EVENTS_TOPIC, PRODUCE_QUEUE_BYTES,
        PRODUCE_TIMEOUT, REQUEST_TIMEOUT, SHUTDOWN_TIMEOUT, USER_EVENTS_TOPIC,
    },
    values::TopicName,
};

/// Checks the settings that all services have.
pub(super) fn check_server(config: &Config, reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) {
    reader.require(
        config.drain_delay * 2 <= config.shutdown_timeout,
        &[
            (DRAIN_DELAY.variable, reader.text(&DRAIN_DELAY)),
            (SHUTDOWN_TIMEOUT.variable, reader.text(&SHUTDOWN_TIMEOUT)),
        ],
        "the drain must leave half of the time-out for the stop after it",
    );
    let body = match config.eventlog {
        Some(_) => (EVENTLOG_MAX_BODY_BYTES.variable, reader.text(&EVENTLOG_MAX_BODY_BYTES)),
        None => (MAX_BODY_BYTES.variable, reader.text(&MAX_BODY_BYTES)),
    };
    // A growing buffer can be twice as large as its content.
    reader.require(
        config.http.max_bytes.is_none_or(|bytes| config.http.max_body_bytes <= bytes / 4),
        &[(HTTP_MAX_BYTES.variable, reader.text(&HTTP_MAX_BYTES)), body],
        "the largest body must be at most a quarter of what all requests may take",
    );
}

/// Reports a database that this build cannot use.
#[cfg(not(feature = "postgres"))]
pub(super) fn check_without_postgres(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) {
    for setting in [
        (STORE_URL.variable, reader.shown(&STORE_URL)),
        (STORE_URL_FILE.variable, reader.text(&STORE_URL_FILE)),
    ] {
        let is_set = !setting.1.is_empty();
        reader.require(
            !is_set,
            &[setting],
            "this build has no PostgreSQL: build it with --features postgres",
        );
    }
}

/// Checks that the choice of Kafka is clear. `of_kafka` is a variable about Kafka that was found.
pub(super) fn check_kafka(
    config: &Config,
    service: &Service,
    of_kafka: Option<&&str>,
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
) {
    let given = (KAFKA_BROKERS.variable, reader.text(&KAFKA_BROKERS));
    let asked_for = reader.value(&EMBEDDED);
    let word = (EMBEDDED.variable, reader.text(&EMBEDDED));
    reader.require(config.embedded || !asked_for, &[given.clone(), word], "set one of them");
    let needed = |reader: &mut SettingsReader<_>, holds: bool, rule: &str| {
        reader.require(holds, std::slice::from_ref(&given), rule);
    };
    needed(
        reader,
        cfg!(feature = "embedded-broker") || !config.embedded,
        "must be set: this build has no embedded broker",
    );
    needed(
        reader,
        !config.embedded || *service != Service::Orders,
        "must be set: the order service learns of users through Kafka, and would find none on a broker of its own",
    );
    // A mistyped or forgotten name must not start a broker that acknowledges everything and keeps nothing.
    if let Some(variable) = of_kafka {
        needed(
            reader,
            !config.embedded || asked_for,
            &format!(
                "must be set where {variable} is; for an embedded broker, which keeps nothing, set EMBEDDED=yes"
            ),
        );
    }
}

/// Checks the settings of services that use Kafka.
pub(super) fn check(
    config: &Config,
    service: &Service,
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
) {
    macro_rules! require {
        ($holds:expr, [$($setting:ident),+], $rule:expr) => {
            let settings = [$(($setting.variable, reader.text(&$setting))),+];
            reader.require($holds, &settings, $rule);
        };
    }

    // Kafka's advice for heartbeat.interval.ms: two heartbeats may be lost before the session ends.
    require!(
        config.consumer.heartbeat_interval * 3 <= config.consumer.session_timeout,
        [KAFKA_HEARTBEAT_INTERVAL, KAFKA_SESSION_TIMEOUT],
        "the heartbeat interval must be at most a third of the session time-out"
    );
    // A member may learn of a rebalance a session time-out late, and then drains for half the rebalance time-out. Both
    // must fit into it, or the group continues without the member while the member still works.
    require!(
        config.consumer.session_timeout * 2 <= config.consumer.rebalance_timeout,
        [KAFKA_REBALANCE_TIMEOUT, KAFKA_SESSION_TIMEOUT],
        "the rebalance time-out must be at least twice the session time-out"
    );
    // Otherwise a client gets a time-out while its event may still be written.
    require!(
        config.producer.timeout < config.http.request_timeout,
        [REQUEST_TIMEOUT, PRODUCE_TIMEOUT],
        "the time-out of a request must be longer than the time-out of producing"
    );
    require!(
        i32::try_from(config.producer.batch_max_bytes)
            .is_ok_and(|bytes| bytes <= config.topic.max_message_bytes),
        [BATCH_MAX_BYTES, KAFKA_TOPIC_MAX_MESSAGE_BYTES],
        "the largest batch must be at most what the topic takes"
    );
    require!(
        config.http.max_body_bytes <= config.producer.queue_bytes,
        [MAX_BODY_BYTES, PRODUCE_QUEUE_BYTES],
        "the largest body must fit into the queue"
    );
    check_topics(config, service, reader);
}

fn check_topics(
    config: &Config,
    service: &Service,
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
) {
    let topic = (KAFKA_TOPIC.variable, config.topic.name.clone());
    let dead_letters = (KAFKA_DEAD_LETTER_TOPIC.variable, config.dead_letter_topic.name.clone());
    // Kafka refuses to create a topic whose name differs from another's by . and _ alone (Topic.hasCollision).
    let unified = |name: &str| name.replace('.', "_");
    reader.require(
        unified(&topic.1) != unified(&dead_letters.1),
        &[dead_letters.clone(), topic.clone()],
        "dead letters need another topic, whose name differs by more than . and _",
    );
    reader.require(
        dead_letters.1.len() <= TopicName::LONGEST,
        std::slice::from_ref(&topic),
        "is too long for the suffix .dlq: shorten it, or set KAFKA_DEAD_LETTER_TOPIC",
    );
    // The dead letters may be those of any service: KAFKA_TOPIC names the topic that they come from.
    if matches!(service, Service::DeadLetters(_)) {
        return;
    }
    let users = (USER_EVENTS_TOPIC.variable, config.state.users.name.clone());
    let orders = (ORDER_EVENTS_TOPIC.variable, config.state.orders.name.clone());
    let is_apart = |one: &str, others: &[&str]| others.iter().all(|other| unified(one) != unified(other));
    reader.require(
        is_apart(&users.1, &[&orders.1, &topic.1, &dead_letters.1])
            && is_apart(&orders.1, &[&topic.1, &dead_letters.1]),
        &[users, orders, topic.clone()],
        "users, orders and events need topics of their own, whose names differ by more than . and _",
    );
}
