//! Faults of single values and of several together.

use super::{faults, with};

#[test]
fn all_faults_are_reported_together_with_their_values() {
    let lines =
        faults(&[("PORT", "http"), ("KAFKA_TOPIC", "a b"), ("COMMIT_INTERVAL", "1"), ("MAX_DEPTH", "0")]);
    let names: Vec<_> =
        lines.iter().filter_map(|line| line.split_once(": must be ")).map(|(name, _)| name).collect();
    assert_eq!(names, ["PORT=http", "MAX_DEPTH=0", "KAFKA_TOPIC=a b", "COMMIT_INTERVAL=1"]);
}

#[test]
fn a_value_cannot_forge_the_report() {
    let lines = faults(&[("KAFKA_TOPIC", "a\n  PORT=1: must be\u{1b}[2J")]);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("KAFKA_TOPIC=a\\n  PORT=1: must be\\u{1b}[2J: must be 1 to 249"),
        "{lines:?}"
    );
    let lines = faults(&[("PORT", &"9".repeat(5_000))]);
    assert!(lines[0].len() < 300, "{lines:?}");
}

#[test]
fn contradicting_settings_are_reported_together() {
    for (variables, says) in [
        (
            &[("KAFKA_HEARTBEAT_INTERVAL", "4s")][..],
            "KAFKA_HEARTBEAT_INTERVAL=4s, KAFKA_SESSION_TIMEOUT=10s: ",
        ),
        (&[("KAFKA_REBALANCE_TIMEOUT", "9s")], "KAFKA_REBALANCE_TIMEOUT=9s, KAFKA_SESSION_TIMEOUT=10s: "),
        (&[("DRAIN_DELAY", "6s")], "DRAIN_DELAY=6s, SHUTDOWN_TIMEOUT=10s: "),
        (
            &[("HTTP_MAX_BYTES", "4MiB"), ("MAX_BODY_BYTES", "2MiB")],
            "HTTP_MAX_BYTES=4MiB, MAX_BODY_BYTES=2MiB: ",
        ),
        (&[("REQUEST_TIMEOUT", "5s")], "REQUEST_TIMEOUT=5s, PRODUCE_TIMEOUT=5s: "),
        (&[("BATCH_MAX_BYTES", "2MiB")], "BATCH_MAX_BYTES=2MiB, KAFKA_TOPIC_MAX_MESSAGE_BYTES=1048588: "),
        (
            &[("MAX_BODY_BYTES", "1MiB"), ("PRODUCE_QUEUE_BYTES", "512KiB")],
            "MAX_BODY_BYTES=1MiB, PRODUCE_QUEUE_BYTES=512KiB: ",
        ),
        (
            &[("KAFKA_DEAD_LETTER_TOPIC", "user-activity-events")],
            "KAFKA_DEAD_LETTER_TOPIC=user-activity-events, KAFKA_TOPIC=user-activity-events: ",
        ),
        (
            &[("KAFKA_TOPIC", "a.b"), ("KAFKA_DEAD_LETTER_TOPIC", "a_b")],
            "KAFKA_DEAD_LETTER_TOPIC=a_b, KAFKA_TOPIC=a.b: ",
        ),
    ] {
        let lines = faults(variables);
        assert!(lines.len() == 1 && lines[0].starts_with(says), "{says}: {lines:?}");
    }
    let lines = faults(&[("KAFKA_TOPIC", &"t".repeat(246))]);
    assert!(lines[0].contains("is too long for the suffix .dlq"), "{lines:?}");
}

#[test]
fn settings_at_the_edge_of_a_rule_pass() {
    for variables in [
        &[("KAFKA_SESSION_TIMEOUT", "9s"), ("KAFKA_REBALANCE_TIMEOUT", "18s")][..],
        &[("REQUEST_TIMEOUT", "5001ms")],
        &[("BATCH_MAX_BYTES", "1048588")],
        &[("MAX_BODY_BYTES", "64KiB"), ("PRODUCE_QUEUE_BYTES", "64KiB")],
    ] {
        assert_eq!(with(variables).err(), None, "{variables:?}");
    }
}

#[test]
fn a_faulty_value_is_not_compared_with_others() {
    let lines = faults(&[("KAFKA_SESSION_TIMEOUT", "x"), ("KAFKA_HEARTBEAT_INTERVAL", "5s")]);
    assert_eq!(lines.len(), 1, "{lines:?}");
}
