//! Variables that are not settings: of Kubernetes, of other services, of Kafka's own tools, mistyped.

use highwater::config::{self, is_of_a_service};

use super::{parse, with};

const ADDRESS: &str = "tcp://10.96.0.12:5001";

/// The remarks about these variables, with their levels.
fn remarks(variables: &[(&str, &str)], dotenv: &str) -> Vec<(log::Level, String)> {
    let variables: Vec<_> = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables).copied().collect();
    let config = parse(&[], &variables, dotenv).unwrap_or_else(|exit| panic!("{}", exit.message)).config;
    config.remarks.into_iter().map(|remark| (remark.level, remark.text)).collect()
}

#[test]
fn no_setting_has_the_name_of_a_kubernetes_service_variable_unless_its_value_differs() {
    for setting in config::settings() {
        assert!(!is_of_a_service(setting.variable, setting.default), "{}", setting.variable);
        let told_by_value = is_of_a_service(setting.variable, ADDRESS);
        assert_eq!(told_by_value, setting.variable.ends_with("_PORT"), "{}", setting.variable);
    }
}

#[test]
fn variables_that_kubernetes_makes_of_services_are_ignored() {
    let of_services = [
        ("USERS_PORT", ADDRESS),
        ("ORDERS_PORT", "udp://[fd00::1]:5002"),
        ("EVENTLOG_PORT", "sctp://10.96.0.12:5003"),
        ("SQLSERVER_PORT", ADDRESS),
        ("USERS_SERVICE_HOST", "10.96.0.12"),
        ("USERS_SERVICE_PORT", "5001"),
        ("USERS_SERVICE_PORT_HTTP", "5001"),
        ("USERS_PORT_5001_TCP", ADDRESS),
        ("USERS_PORT_5001_TCP_ADDR", "10.96.0.12"),
        ("KAFKA_BROKERS_PORT", ADDRESS),
    ];
    let found = remarks(&of_services, "");
    assert_eq!(found.len(), of_services.len(), "{found:?}");
    assert!(found.iter().all(|(level, text)| *level == log::Level::Debug && text.ends_with("ignored")));
    for role in ["activity", "users", "orders"] {
        let variables = [&[("KAFKA_BROKERS", "kafka:9092")], &of_services[..]].concat();
        let config = parse(&[role], &variables, "").unwrap_or_else(|exit| panic!("{}", exit.message)).config;
        assert!([8000, 5001, 5002].contains(&config.http.port), "{role}");
    }
}

#[test]
fn settings_of_other_services_are_not_checked() {
    let variables =
        |of_others: &[(&'static str, &'static str)]| [&[("KAFKA_BROKERS", "kafka:9092")], of_others].concat();
    let of_others = variables(&[
        ("ORDERS_PORT", "x"),
        ("PORT", "x"),
        ("STORE_MAX_EVENTS", "x"),
        ("EVENTLOG_TIMEOUT", "x"),
    ]);
    assert!(parse(&["users"], &of_others, "").is_ok());
    assert!(parse(&["orders"], &of_others, "").is_err());
    assert!(with(&[("USERS_PORT", "x"), ("STATE_PARTITIONS", "x"), ("SQLSERVER_PORT", "x")]).is_ok());
}

#[test]
fn a_mistyped_variable_is_reported_with_the_nearest_setting() {
    let found = remarks(&[("KAFKA_TOPICS", "x"), ("STORE_MAX_EVENT", "secret")], "PRODUCE_TIMEOUTS=1s\n");
    let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "KAFKA_TOPICS is not a setting and has no effect: is KAFKA_TOPIC meant?",
            "STORE_MAX_EVENT is not a setting and has no effect: is STORE_MAX_EVENTS meant?",
            "PRODUCE_TIMEOUTS is not a setting and has no effect: is PRODUCE_TIMEOUT meant?",
        ]
    );
    assert!(found.iter().all(|(level, _)| *level == log::Level::Warn));
}

#[test]
fn a_setting_in_lower_case_or_with_two_wrong_letters_is_reported() {
    for (mistyped, meant) in [
        ("port", "PORT"),
        ("store_max_events", "STORE_MAX_EVENTS"),
        ("Admin_Token", "ADMIN_TOKEN"),
        ("KAFAK_GROUP_ID", "KAFKA_GROUP_ID"),
        ("HTTP_MAX_BYTE", "HTTP_MAX_BYTES"),
    ] {
        let told = format!("{mistyped} is not a setting and has no effect: is {meant} meant?");
        assert_eq!(remarks(&[(mistyped, "x")], ""), [(log::Level::Warn, told)]);
    }
}

#[test]
fn variables_of_other_programs_are_not_reported() {
    let of_others = [
        ("PATH", "/bin"),
        ("HOME", "/"),
        ("RUST_BACKTRACE", "1"),
        ("AWS_PROFILE", "x"),
        ("HTTP_PROXY", "http://proxy:3128"),
        ("http_proxy", "http://proxy:3128"),
        ("APP_PORT", "80"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("KAFKA_TOPIC", ""),
        ("KAFKA_TOPICS", " "),
    ];
    assert_eq!(remarks(&of_others, ""), []);
}

#[cfg(feature = "embedded-broker")]
#[test]
fn a_missing_or_mistyped_address_of_kafka_starts_no_embedded_broker() {
    for variable in [
        "KAFKA_BROKER",
        "KAFKA_TOPIC",
        "KAFKA_BOOTSTRAP_SERVERS",
        "kafka_brokers",
        "KAFAK_BROKERS",
        "KAFKABROKERS",
    ] {
        let exit = parse(&[], &[(variable, "kafka")], "").expect_err(variable);
        assert_eq!(exit.code, 2);
        let rule = format!("KAFKA_BROKERS=: must be set where {variable} is");
        assert!(exit.message.contains(&rule), "{}", exit.message);
        assert!(parse(&[], &[], &format!("{variable}=kafka")).is_err(), "in .env, too");
        let config = parse(&[], &[(variable, "kafka"), ("EMBEDDED", "yes")], "").expect("it is meant").config;
        assert!(config.embedded);
    }
}

#[cfg(feature = "embedded-broker")]
#[test]
fn other_programs_variables_about_kafka_do_not_prevent_the_embedded_broker() {
    let of_others = [
        ("KAFKA_SERVICE_HOST", "10.96.0.9"),
        ("KAFKA_PORT", "tcp://10.96.0.9:9092"),
        ("KAFKA_PORT_9092_TCP_PROTO", "tcp"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("KAFKA_TOPIC", ""),
    ];
    assert!(parse(&[], &of_others, "").is_ok_and(|invocation| invocation.config.embedded));
}

#[test]
fn an_embedded_broker_beside_a_named_kafka_is_a_fault() {
    let exit = with(&[("EMBEDDED", "yes")]).expect_err("a fault");
    assert!(
        exit.message.contains("KAFKA_BROKERS=kafka:9092, EMBEDDED=yes: set one of them"),
        "{}",
        exit.message
    );
}

#[test]
fn the_dead_letters_of_any_service_can_be_listed_and_redriven() {
    let variables = [("KAFKA_BROKERS", "kafka:9092")];
    for topic in ["order-events", "user-events"] {
        let invocation = parse(&["dead-letters", "list", "--kafka-topic", topic], &variables, "");
        let config = invocation.unwrap_or_else(|exit| panic!("{}", exit.message)).config;
        assert_eq!(config.dead_letter_topic.name, format!("{topic}.dlq"));
    }
}

#[test]
fn a_malformed_line_with_a_dollar_explains_the_expansion() {
    let exit = with_dotenv("X=\"abc$q\"\n");
    assert!(exit.contains("line 1") && exit.contains("A $ begins a variable's name"), "{exit}");
    assert!(!with_dotenv("nothing\n").contains('$'));
}

fn with_dotenv(text: &str) -> String {
    parse(&[], &[], text).expect_err("malformed").message
}
