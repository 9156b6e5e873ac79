//! The parsing of values.

use std::time::Duration;

use highwater::{activity::LoggedEvents, config, telemetry::Format};
use highwater_kafka::{
    OffsetReset,
    group::{Assignor, GroupProtocol},
};
use highwater_web::{
    http::AllowedHosts,
    trace::{Share, TraceSampler},
};

use super::{defaults, faults, parse, with};

#[test]
fn defaults_are_those_of_the_contract() {
    let config = defaults();
    assert_eq!(config.http.host.to_string(), "0.0.0.0");
    assert_eq!(config.http.port, 8000);
    assert_eq!(config.http.max_body_bytes, 65_536);
    assert_eq!(config.topic.name, "user-activity-events");
    assert_eq!(config.topic.partitions, 3);
    assert_eq!(config.topic.replication_factor, None);
    assert_eq!(config.topic.retention, Some(Duration::from_secs(7 * 24 * 60 * 60)));
    assert_eq!(config.topic.max_message_bytes, 1_048_588);
    assert_eq!(config.consumer.group_id, "user-activity-consumer-group");
    assert_eq!(config.consumer.session_timeout, Duration::from_secs(10));
    assert_eq!(config.consumer.offset_reset, OffsetReset::Earliest);
    assert_eq!(config.consumer.protocol, GroupProtocol::Classic);
    assert_eq!(config.consumer.assignors, [Assignor::CooperativeSticky]);
    assert_eq!(config.consumer.instance_id, None);
    assert!(!config.consumer.leave_on_stop);
    assert_eq!(config.consumer.max_processing, Duration::from_secs(300));
    assert_eq!(config.producer.queue_records, 10_000);
    assert_eq!(config.producer.queue_bytes, 64 << 20);
    assert_eq!((config.store.max_events, config.store.max_bytes), (1_000_000, 640 << 20));
    assert_eq!(config.activity.event_types, ["LOGIN", "LOGOUT", "PRODUCT_VIEW"]);
    assert_eq!(config.log.format, None);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(10));
}

#[test]
fn every_default_is_within_its_own_bounds_and_can_be_given_by_flag() {
    for setting in config::settings() {
        let flag = format!("--{}={}", setting.flag, setting.default);
        let invocation = parse(
            &[&flag, "--kafka-brokers=kafka:9092"][usize::from(setting.flag == "kafka-brokers")..],
            &[],
            "",
        );
        assert_eq!(invocation.map(|i| i.config), Ok(defaults()), "{flag}");
    }
}

#[test]
fn durations_have_a_unit() {
    for (text, duration) in [
        ("500ms", Duration::from_millis(500)),
        ("5s", Duration::from_secs(5)),
        ("5m", Duration::from_secs(300)),
    ] {
        assert_eq!(with(&[("BODY_TIMEOUT", text)]).map(|c| c.http.body_timeout), Ok(duration), "{text}");
    }
    for (text, hours) in [("2h", 2), ("30d", 720)] {
        let retention = with(&[("KAFKA_TOPIC_RETENTION", text)]).map(|c| c.topic.retention);
        assert_eq!(retention, Ok(Some(Duration::from_secs(hours * 3600))), "{text}");
    }
    for text in ["5", "s", "5 s", "-5s", "+5s", "5.5s", "5S", "5us", "ms", "99999999999999999999s", "5s5s"] {
        assert_eq!(faults(&[("BODY_TIMEOUT", text)]).len(), 1, "{text}");
    }
}

#[test]
fn sizes_are_bytes_or_have_a_binary_unit() {
    for (text, bytes) in [("70000", 70_000), ("128KiB", 131_072), ("2MiB", 2_097_152)] {
        assert_eq!(with(&[("MAX_BODY_BYTES", text)]).map(|c| c.http.max_body_bytes), Ok(bytes), "{text}");
    }
    for text in ["64KB", "64kib", "1.5MiB", "-1", "KiB", "1 MiB", "99999999999999GiB"] {
        assert_eq!(faults(&[("MAX_BODY_BYTES", text)]).len(), 1, "{text}");
    }
}

#[test]
fn bounds_are_inclusive() {
    for text in ["0", "65535"] {
        assert!(with(&[("PORT", text)]).is_ok(), "{text}");
    }
    assert_eq!(faults(&[("PORT", "65536")]), ["PORT=65536: must be a whole number from 0 to 65535"]);
    assert!(with(&[("MAX_DEPTH", "0")]).is_err());
    assert!(with(&[("KAFKA_TOPIC_REPLICATION_FACTOR", "0")]).is_err());
    assert!(with(&[("SHUTDOWN_TIMEOUT", "0s")]).is_err());
    assert!(with(&[("KAFKA_TOPIC_MAX_MESSAGE_BYTES", "2GiB")]).is_err());
}

#[test]
fn brokers_are_hosts_with_ports() {
    let config =
        with(&[("KAFKA_BROKERS", "b1:9092, b-2.example.com:9093,[::1]:9094,10.0.0.1:1")]).expect("valid");
    assert_eq!(config.kafka.brokers, ["b1:9092", "b-2.example.com:9093", "[::1]:9094", "10.0.0.1:1"]);
    assert!(!config.embedded);
    for text in [
        "b1",
        "b1:",
        ":9092",
        "b1:0",
        "b1:65536",
        "::1:9092",
        "[::1]",
        "[b1]:9092",
        "b1:9092,",
        "b 1:9092",
        "kafka://b1:9092",
        "b1:+9092",
        "b1:9092;b2:9092",
    ] {
        assert_eq!(faults(&[("KAFKA_BROKERS", text)]).len(), 1, "{text}");
    }
}

#[test]
fn topics_have_names_that_kafka_takes() {
    let longest = "t".repeat(245);
    for name in ["a", "a.b-c_D9", "...", &longest] {
        assert_eq!(with(&[("KAFKA_TOPIC", name)]).map(|c| c.topic.name).as_deref(), Ok(name));
    }
    for name in [".", "..", "a b", "a/b", "ü", &"t".repeat(250)] {
        assert_eq!(faults(&[("KAFKA_TOPIC", name)]).len(), 1, "{name}");
    }
}

#[test]
fn event_types_are_names_with_commas_between_them() {
    let types = |text| with(&[("EVENT_TYPES", text)]).map(|c| c.activity.event_types);
    assert_eq!(types("A, B C ,ü"), Ok(vec!["A".into(), "B C".into(), "ü".into()]));
    for text in [",", "A,", "A,,B", "A, ,B", "A\tB"] {
        assert!(types(text).is_err(), "{text}");
    }
}

#[test]
fn logged_events_are_all_or_none_or_a_share() {
    let logged = |text| with(&[("LOG_EVENTS", text)]).map(|config| config.activity.logged_events);
    assert_eq!(with(&[]).map(|config| config.activity.logged_events), Ok(LoggedEvents::ALL));
    assert_eq!(logged("NONE"), Ok(LoggedEvents::NONE));
    assert_eq!(logged("1/100"), Ok(LoggedEvents::one_of(100)));
    assert_eq!(logged("1/1"), logged("all"));
    for text in ["some", "2/100", "1/0", "1/", "1/-1", "1/4294967296", "0.01"] {
        assert!(logged(text).is_err(), "{text}");
    }
}

#[test]
fn settings_with_fixed_choices_take_their_words() {
    assert_eq!(with(&[("OFFSET_RESET", "latest")]).map(|c| c.consumer.offset_reset), Ok(OffsetReset::Latest));
    assert_eq!(with(&[("LOG_FORMAT", "json")]).map(|c| c.log.format), Ok(Some(Format::Json)));
    assert_eq!(with(&[("LOG_FORMAT", "TEXT")]).map(|c| c.log.format), Ok(Some(Format::Text)));
    assert_eq!(with(&[("KAFKA_TOPIC_RETENTION", "none")]).map(|c| c.topic.retention), Ok(None));
    assert_eq!(faults(&[("OFFSET_RESET", "newest")]), ["OFFSET_RESET=newest: must be earliest or latest"]);
}

#[test]
fn an_instance_id_can_be_the_host_name() {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux");
    let config = with(&[("KAFKA_GROUP_INSTANCE_ID", "hostname"), ("GROUP_ON_STOP", "leave")]).expect("valid");
    assert_eq!(config.consumer.instance_id.as_deref(), Some(machine.trim()));
    assert!(config.consumer.leave_on_stop);
    let named = with(&[("KAFKA_GROUP_INSTANCE_ID", "blue")]).expect("valid").consumer;
    assert_eq!((named.instance_id.as_deref(), named.leave_on_stop), (Some("blue"), false));
}

#[test]
fn assignors_are_named_once_each_in_the_order_of_preference() {
    let assignors = |text| {
        let config = with(&[("KAFKA_PARTITION_ASSIGNMENT_STRATEGY", text)]);
        config.map(|config| config.consumer.assignors)
    };
    assert_eq!(assignors("range"), Ok(vec![Assignor::Range]));
    assert_eq!(
        assignors("cooperative-sticky, range"),
        Ok(vec![Assignor::CooperativeSticky, Assignor::Range])
    );
    for text in ["sticky", "range,range", "range,", ","] {
        assert!(assignors(text).is_err(), "{text}");
    }
}

#[test]
fn hosts_are_addresses_or_names_that_have_one() {
    for text in ["127.0.0.1", "::", "::1"] {
        assert_eq!(with(&[("HOST", text)]).map(|c| c.http.host.to_string()).as_deref(), Ok(text));
    }
    let localhost = with(&[("HOST", "localhost")]).map(|c| c.http.host);
    assert!(localhost.is_ok_and(|host| host.is_loopback()));
    for text in ["[::]", "0.0.0.0:80", "256.0.0.1", "no name", "nowhere.invalid"] {
        assert_eq!(faults(&[("HOST", text)]).len(), 1, "{text}");
    }
}

#[test]
fn a_loopback_listener_takes_loopback_names_alone_unless_others_are_allowed() {
    let hosts = |variables: &[(&str, &str)]| with(variables).map(|c| c.http.hosts);
    assert_eq!(hosts(&[]), Ok(AllowedHosts::Any));
    assert_eq!(hosts(&[("HOST", "::1")]), Ok(AllowedHosts::Loopback));
    let named = ["api.example.org", "[::1]"].map(str::to_owned).to_vec();
    let given = "api.example.org:8000, [::1]:80";
    assert_eq!(hosts(&[("HOST", "127.0.0.1"), ("ALLOWED_HOSTS", given)]), Ok(AllowedHosts::Named(named)));
    for text in ["*", "a,,b", "a/b", "http://a", "a b"] {
        assert_eq!(faults(&[("ALLOWED_HOSTS", text)]).len(), 1, "{text}");
    }
}

#[test]
fn trusted_proxies_are_addresses_and_networks() {
    for text in ["10.0.0.1", "10.0.0.0/8, ::1, fd00::/8", "0.0.0.0/0"] {
        assert!(with(&[("TRUSTED_PROXIES", text)]).is_ok(), "{text}");
    }
    for text in ["proxy", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8,", "::/129"] {
        assert_eq!(faults(&[("TRUSTED_PROXIES", text)]).len(), 1, "{text}");
    }
}

#[test]
fn trusted_origins_are_named_each() {
    let given = "https://shop.example, http://localhost:3000";
    let trusted = with(&[("TRUSTED_ORIGINS", given)]).map(|c| c.http.trusted_origins);
    assert_eq!(trusted, Ok(["https://shop.example", "http://localhost:3000"].map(str::to_owned).to_vec()));
    for text in ["*", "shop.example", "https://shop.example/"] {
        assert_eq!(faults(&[("TRUSTED_ORIGINS", text)]).len(), 1, "{text}");
    }
}

#[test]
fn a_log_filter_is_read_before_it_is_used() {
    assert!(with(&[("RUST_LOG", "debug,rskafka=off,highwater::processed=warn")]).is_ok());
    assert_eq!(faults(&[("RUST_LOG", "highwater=loud")]).len(), 1);
}

#[test]
fn dead_letters_go_beside_the_topic_and_have_room_for_headers() {
    let config = with(&[("KAFKA_TOPIC", "clicks"), ("KAFKA_TOPIC_PARTITIONS", "12")]).expect("valid");
    assert_eq!(config.dead_letter_topic.name, "clicks.dlq");
    assert_eq!(config.dead_letter_topic.partitions, 12);
    assert_eq!(config.dead_letter_topic.max_message_bytes, config.topic.max_message_bytes + 65_536);
    let config = with(&[("KAFKA_DEAD_LETTER_TOPIC", "lost")]).expect("valid");
    assert_eq!(config.dead_letter_topic.name, "lost");
}

#[test]
fn traces_are_set_by_the_variables_of_opentelemetry() {
    let traces = |given: &[(&str, &str)]| with(given).unwrap().traces;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/otlp/");
    assert_eq!(traces(&[]), None);
    let usual = traces(&[endpoint]).unwrap();
    assert_eq!(usual.endpoint.to_string(), "http://collector:4318/otlp/v1/traces");
    assert_eq!(usual.service_name, "highwater");
    assert_eq!(usual.sampler, TraceSampler { parent_based: true, share: Share::ALL });
    assert_eq!((usual.max_queue, usual.max_batch), (2048, 512));
    assert_eq!((usual.timeout, usual.delay), (Duration::from_secs(10), Duration::from_secs(5)));

    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://jaeger:4318/v1/traces");
    assert_eq!(traces(&[endpoint, own]).unwrap().endpoint.to_string(), own.1);
    for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(traces(&[endpoint, off]), None);
        // What is not sent needs no protocol.
        assert_eq!(traces(&[endpoint, off, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), None);
    }
    assert_eq!(traces(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), None);
    assert!(traces(&[own, ("OTEL_TRACES_EXPORTER", "otlp")]).is_some());
    // Of two variables that of traces counts.
    let both = traces(&[
        own,
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=all"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-other=own"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "20000"),
    ])
    .unwrap();
    assert_eq!((both.headers.len(), both.headers[0].0.as_str()), (1, "x-other"));
    assert_eq!(both.timeout, Duration::from_secs(20));
    let as_it_is = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://jaeger:4318");
    assert_eq!(traces(&[endpoint, as_it_is]).unwrap().endpoint.to_string(), "http://jaeger:4318/");
    let sampler = |sampler, share| {
        let given = [endpoint, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", share)];
        traces(&given).unwrap().sampler
    };
    let hundredth = Share::from_ratio(0.01).unwrap();
    assert_eq!(
        sampler("parentbased_traceidratio", "0.01"),
        TraceSampler { parent_based: true, share: hundredth }
    );
    assert_eq!(sampler("traceidratio", "1e-2"), TraceSampler { parent_based: false, share: hundredth });
    assert_eq!(sampler("always_off", "0.01"), TraceSampler { parent_based: false, share: Share::NONE });

    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop, deployment.environment.name=a%2Cb");
    let named = traces(&[endpoint, attributes]).unwrap();
    assert_eq!(named.service_name, "shop");
    assert_eq!(named.resource[1], ("deployment.environment.name".to_owned(), "a,b".to_owned()));
    let name = ("OTEL_SERVICE_NAME", "events");
    assert_eq!(traces(&[endpoint, attributes, name]).unwrap().service_name, "events");
    let headers =
        traces(&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,x-tenant=1")]).unwrap().headers;
    assert_eq!(headers[0].1.to_str().unwrap(), "a b");
    assert!(!format!("{headers:?}").contains("a b"), "it is a secret");
}

#[test]
fn what_traces_cannot_be_sent_by_is_a_fault() {
    let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/v1/traces");
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "nowhere.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "no pair"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
    ] {
        let found = faults(&[endpoint, (variable, value)]);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{variable}=")), "{found:?}");
    }
    // A URL with a user is none that is taken, and neither the user nor a query is shown.
    let variable = "OTEL_EXPORTER_OTLP_ENDPOINT";
    for url in ["https://ada:hunter2@collector", "collector?key=hunter2"] {
        let found = faults(&[(variable, url)]);
        assert!(
            found[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT=…: must be a URL without a user"),
            "{found:?}"
        );
    }
    let plain = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/v1/traces?key=hunter2");
    let found = faults(&[plain, ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "ca.pem")]);
    assert_eq!(
        found,
        [
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE=ca.pem, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=…: there is no TLS that it could be for"
        ]
    );
    // The certificate for all signals may be for others than spans.
    assert!(with(&[plain, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem")]).is_ok());
    for header in ["host=elsewhere", "content-length=1", "Transfer-Encoding=chunked"] {
        assert_eq!(faults(&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", header)]).len(), 1, "{header}");
    }
    // Where no spans are sent, a value that is not known is for other programs.
    let unknown = [("OTEL_TRACES_SAMPLER", "jaeger_remote"), ("OTEL_TRACES_EXPORTER", "zipkin")];
    assert!(with(&unknown).is_ok());
    assert!(with(&[endpoint, ("OTEL_SDK_DISABLED", "true"), unknown[0]]).is_ok());
    let jwks = [("AUTH", "none"), ("JWT_JWKS", "https://issuer.example/keys?token=hunter2")];
    assert!(!format!("{:?}", faults(&jwks)).contains("hunter2"));
}
