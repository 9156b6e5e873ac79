//! What must hold between settings.

#[cfg(not(feature = "postgres"))]
use super::table::{STORE_URL, STORE_URL_FILE};
use super::{
    Config, Service,
    reader::Reader,
    table::{
        BATCH_MAX_BYTES, DRAIN_DELAY, EMBEDDED, EVENTLOG_MAX_BODY_BYTES, HTTP_MAX_BYTES, KAFKA_BROKERS,
        KAFKA_DEAD_LETTER_TOPIC, KAFKA_HEARTBEAT_INTERVAL, KAFKA_REBALANCE_TIMEOUT, KAFKA_SESSION_TIMEOUT,
        KAFKA_TOPIC, KAFKA_TOPIC_MAX_MESSAGE_BYTES, MAX_BODY_BYTES, ORDER_EVENTS_TOPIC, PRODUCE_QUEUE_BYTES,
        PRODUCE_TIMEOUT, REQUEST_TIMEOUT, SHUTDOWN_TIMEOUT, USER_EVENTS_TOPIC,
    },
    values::TopicName,
};

/// Notes what cannot work together in any service.
pub(super) fn check_server(config: &Config, reader: &mut Reader<impl Fn(&str) -> Option<String>>) {
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
    // A buffer that grows can be twice as large as what is in it.
    reader.require(
        config.http.max_bytes.is_none_or(|bytes| config.http.max_body_bytes <= bytes / 4),
        &[(HTTP_MAX_BYTES.variable, reader.text(&HTTP_MAX_BYTES)), body],
        "the largest body must be at most a quarter of what all requests may take",
    );
}

/// Notes a database that this build can do nothing with.
#[cfg(not(feature = "postgres"))]
pub(super) fn check_without_postgres(reader: &mut Reader<impl Fn(&str) -> Option<String>>) {
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

/// Notes where it is not clear which Kafka is meant. `of_kafka` is a variable that says something of one.
pub(super) fn check_kafka(
    config: &Config,
    service: &Service,
    of_kafka: Option<&&str>,
    reader: &mut Reader<impl Fn(&str) -> Option<String>>,
) {
    let given = (KAFKA_BROKERS.variable, reader.text(&KAFKA_BROKERS));
    let asked_for = reader.value(&EMBEDDED);
    let word = (EMBEDDED.variable, reader.text(&EMBEDDED));
    reader.require(config.embedded || !asked_for, &[given.clone(), word], "set one of them");
    let needed = |reader: &mut Reader<_>, holds: bool, rule: &str| {
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
        "must be set: orders are of users whom the user service tells of in Kafka, and on a broker of its own the order \
         service would know none",
    );
    // A mistyped or forgotten name must not end in a broker that keeps nothing and acknowledges everything.
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

/// Notes each pair of settings that cannot work together.
pub(super) fn check(
    config: &Config,
    service: &Service,
    reader: &mut Reader<impl Fn(&str) -> Option<String>>,
) {
    macro_rules! require {
        ($holds:expr, [$($setting:ident),+], $rule:expr) => {
            let settings = [$(($setting.variable, reader.text(&$setting))),+];
            reader.require($holds, &settings, $rule);
        };
    }

    // Two heartbeats may be lost before the session is: Kafka's own advice for heartbeat.interval.ms.
    require!(
        config.consumer.heartbeat_interval * 3 <= config.consumer.session_timeout,
        [KAFKA_HEARTBEAT_INTERVAL, KAFKA_SESSION_TIMEOUT],
        "the heartbeat interval must be at most a third of the session time-out"
    );
    // A member may learn of a rebalance a session time-out late, and then drains for half the rebalance
    // time-out: both must fit into it, or the group goes on without the member while it still works.
    require!(
        config.consumer.session_timeout * 2 <= config.consumer.rebalance_timeout,
        [KAFKA_REBALANCE_TIMEOUT, KAFKA_SESSION_TIMEOUT],
        "the rebalance time-out must be at least twice the session time-out"
    );
    // Else a client is told that its request took too long while the event may yet be written.
    require!(
        config.producer.timeout < config.http.request_timeout,
        [REQUEST_TIMEOUT, PRODUCE_TIMEOUT],
        "the time-out of a request must be longer than the time-out of producing"
    );
    require!(
        i32::try_from(config.producer.batch_max_bytes)
            .is_ok_and(|bytes| bytes <= config.topic.max_message_bytes),
        [BATCH_MAX_BYTES, KAFKA_TOPIC_MAX_MESSAGE_BYTES],
        "the largest batch that is sent must be at most what the topic takes"
    );
    require!(
        config.http.max_body_bytes <= config.producer.queue_bytes,
        [MAX_BODY_BYTES, PRODUCE_QUEUE_BYTES],
        "the largest body must fit into the queue"
    );
    check_topics(config, service, reader);
}

fn check_topics(config: &Config, service: &Service, reader: &mut Reader<impl Fn(&str) -> Option<String>>) {
    let topic = (KAFKA_TOPIC.variable, config.topic.name.clone());
    let dead_letters = (KAFKA_DEAD_LETTER_TOPIC.variable, config.dead_letter_topic.name.clone());
    // Kafka refuses to create a topic whose name differs from another's by . and _ alone (Topic.hasCollision).
    let unified = |name: &str| name.replace('.', "_");
    reader.require(
        unified(&topic.1) != unified(&dead_letters.1),
        &[dead_letters.clone(), topic.clone()],
        "dead letters must go to another topic, told apart by more than . and _",
    );
    reader.require(
        dead_letters.1.len() <= TopicName::LONGEST,
        std::slice::from_ref(&topic),
        "leaves no room for .dlq after it: make it shorter, or set KAFKA_DEAD_LETTER_TOPIC",
    );
    // Whichever service's dead letters are seen to, KAFKA_TOPIC names the topic that they are of.
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
        "users, orders and events must have topics of their own, told apart by more than . and _",
    );
}
