//! The sources of a value: a flag, the environment, a `.env` file.

use highwater::config::{self, Service};

use super::{faults, parse};

fn port(args: &[&str], variables: &[(&str, &str)], dotenv: &str) -> u16 {
    let variables: Vec<_> = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables).copied().collect();
    parse(args, &variables, dotenv).expect("valid").config.http.port
}

#[test]
fn a_flag_overrides_the_environment_and_that_dotenv_and_that_the_default() {
    assert_eq!(port(&["--port", "1"], &[("PORT", "2")], "PORT=3"), 1);
    assert_eq!(port(&[], &[("PORT", "2")], "PORT=3"), 2);
    assert_eq!(port(&[], &[], "PORT=3"), 3);
    assert_eq!(port(&[], &[], ""), 8000);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    assert_eq!(port(&[], &[("PORT", "")], "PORT=3"), 3);
    assert_eq!(port(&[], &[("PORT", " ")], "PORT="), 8000);
}

#[test]
fn an_empty_flag_asks_for_the_default() {
    assert_eq!(port(&["--port="], &[("PORT", "2")], "PORT=3"), 8000);
}

#[test]
fn blanks_around_a_value_do_not_count() {
    assert_eq!(port(&[], &[("PORT", " 2 ")], ""), 2);
}

#[test]
fn a_value_that_is_not_utf_8_is_a_fault() {
    assert_eq!(faults(&[("KAFKA_GROUP_ID", "caf\u{fffd}")]).len(), 1);
}

#[test]
fn dotenv_can_have_comments_quotes_exports_and_unknown_variables() {
    let text = "\u{feff}# a comment\nexport PORT='9000' # another\nOTHER=x\nPORT=9001\n\nEVENT_TYPES=\"A,B C\"\nKAFKA_BROKERS=k:1\n";
    let config = parse(&[], &[], text).expect("valid").config;
    assert_eq!(config.http.port, 9000, "the first line counts");
    assert_eq!(config.activity.event_types, ["A", "B C"]);
}

#[test]
fn a_malformed_dotenv_is_reported_by_line_number_without_its_text() {
    let exit = parse(&[], &[], "PORT=1\n# fine\nKAFKA_PASSWORD hunter2\n").expect_err("malformed");
    assert_eq!(exit.code, 2);
    assert!(exit.message.contains(".env is malformed at line 3"), "{}", exit.message);
    assert!(!exit.message.contains("hunter2"), "{}", exit.message);
}

#[test]
fn help_and_version_do_not_need_a_configuration() {
    for (arg, says) in [("--help", "--kafka-brokers"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let exit = parse(&[arg], &[("PORT", "x")], "= malformed").expect_err("an end");
        assert_eq!(exit.code, 0);
        assert!(exit.message.contains(says), "{}", exit.message);
    }
}

#[test]
fn activity_runs_by_name_or_by_default_with_flags_on_either_side() {
    for args in [&["--port=1"][..], &["activity", "--port=1"], &["--port=1", "activity"]] {
        let invocation = parse(args, &[("KAFKA_BROKERS", "kafka:9092")], "").expect("valid");
        assert_eq!((invocation.service, invocation.config.http.port), (Service::Activity, 1), "{args:?}");
    }
}

#[test]
fn a_healthcheck_finds_the_service_that_its_container_runs() {
    let found = |own: &str, first: &str| {
        let args = config::args_of_service(own.as_ref(), first.as_bytes())?;
        Some(args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>())
    };
    for (first, args) in [
        ("/highwater\0users\0", &["/highwater", "users"][..]),
        (
            "/sbin/docker-init\0--\0/highwater\0orders\0--orders-port=7\0",
            &["/highwater", "orders", "--orders-port=7"],
        ),
        ("highwater\0", &["highwater"]),
    ] {
        assert_eq!(found("/highwater", first).unwrap(), args);
    }
    assert_eq!(found("/highwater", "/sbin/init\0splash\0"), None);
    assert_eq!(found("/highwater", ""), None);
}

#[test]
fn a_healthcheck_needs_no_settings_of_kafka() {
    // Below PRODUCE_TIMEOUT, which the event log does not have.
    let event_logs = [("REQUEST_TIMEOUT", "4s"), ("EVENTLOG_TIMEOUT", "3s")];
    let invocation = parse(&["healthcheck", "--port=5003"], &event_logs, "").expect("valid");
    assert_eq!((invocation.service, invocation.config.http.port), (Service::Healthcheck, 5003));
    assert!(parse(&["healthcheck"], &[("PORT", "x")], "").is_err());
    let kafkas = [&[("KAFKA_BROKERS", "kafka:9092")], &event_logs[..]].concat();
    assert!(parse(&["activity"], &kafkas, "").is_err());
}

#[test]
fn unknown_flags_and_services_end_with_2() {
    for args in [&["--prot=1"][..], &["nonsense"], &["--port"], &["--port=1", "--port=2"]] {
        let exit = parse(args, &[], "").expect_err("a fault");
        assert_eq!(exit.code, 2, "{args:?}");
    }
}

#[cfg(feature = "embedded-broker")]
#[test]
fn the_embedded_broker_stands_in_for_kafka() {
    let config = parse(&[], &[], "").expect("valid").config;
    assert!(config.embedded && config.kafka.brokers.is_empty());
}

#[cfg(feature = "embedded-broker")]
#[test]
fn orders_need_a_kafka_and_no_embedded_broker() {
    let exit = parse(&["orders"], &[], "").expect_err("a fault");
    assert!(exit.message.contains("KAFKA_BROKERS=: must be set: the order service"), "{}", exit.message);
    assert!(parse(&["orders"], &[("KAFKA_BROKERS", "kafka:9092")], "").is_ok());
    assert!(parse(&["users"], &[], "").is_ok());
}

#[cfg(not(feature = "embedded-broker"))]
#[test]
fn without_the_embedded_broker_kafka_must_be_named() {
    let exit = parse(&[], &[], "").expect_err("a fault");
    assert!(exit.message.contains("KAFKA_BROKERS=: must be set"), "{}", exit.message);
}

#[test]
fn a_containers_memory_is_the_least_that_any_group_above_it_has() {
    let limit = |files: &[(&str, &str)]| {
        config::memory_limit(|path| files.iter().find(|file| file.0 == path).map(|file| file.1.to_owned()))
    };
    let own = ("/proc/self/cgroup", "0::/\n");
    assert_eq!(limit(&[own, ("/sys/fs/cgroup/memory.max", "268435456\n")]), Some(256 << 20));
    assert_eq!(limit(&[own, ("/sys/fs/cgroup/memory.max", "max\n")]), None);
    assert_eq!(limit(&[own]), None);
    assert_eq!(limit(&[]), None);
    let below = ("/proc/self/cgroup", "0::/system.slice/highwater.service\n");
    assert_eq!(
        limit(&[
            below,
            ("/sys/fs/cgroup/system.slice/highwater.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1000\n"),
        ]),
        Some(1000)
    );
    // Version 1, within a container that sees the path of its group, and not the group.
    let first = ("/proc/self/cgroup", "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n");
    let file = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
    assert_eq!(limit(&[first, (file, "1073741824\n")]), Some(1 << 30));
    assert_eq!(limit(&[first, (file, "9223372036854771712\n")]), None);
}
