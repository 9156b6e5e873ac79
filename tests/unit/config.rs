//! Settings: what they become, what is refused and how, and the three places that list them.

use std::{collections::HashMap, ffi::OsString, time::Duration};

use highwater::{
    config::{self, Config, Exit, Invocation, Service},
    messaging::{
        OffsetReset,
        group::{Assignor, GroupProtocol},
    },
    telemetry::Format,
};

/// Parses with these arguments, variables and `.env`, and nothing of the process the test runs in.
fn parse(args: &[&str], variables: &[(&str, &str)], dotenv: &str) -> Result<Invocation, Exit> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let args = std::iter::once("highwater").chain(args.iter().copied()).map(OsString::from);
    config::parse(args, |name| variables.get(name).map(|value| (*value).to_owned()), dotenv)
}

/// With a Kafka to go to, so that the tests hold in a build without the embedded broker, too.
fn with(variables: &[(&str, &str)]) -> Result<Config, Exit> {
    let variables: Vec<_> = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables).copied().collect();
    parse(&[], &variables, "").map(|invocation| invocation.config)
}

/// What is reported for these variables, a line a fault.
fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    let exit = with(variables).expect_err("there is a fault");
    assert_eq!(exit.code, 2);
    let lines = exit.message.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

fn defaults() -> Config {
    with(&[]).expect("the defaults are a configuration")
}

mod values {
    use super::*;

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
        assert_eq!(config.consumer.max_processing, Duration::from_secs(300));
        assert_eq!(config.producer.queue_records, 10_000);
        assert_eq!(config.producer.queue_bytes, 64 << 20);
        assert_eq!(config.store.max_events, 1_000_000);
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
        for text in
            ["5", "s", "5 s", "-5s", "+5s", "5.5s", "5S", "5us", "ms", "99999999999999999999s", "5s5s"]
        {
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
    fn bounds_belong_to_what_is_allowed() {
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
    fn words_stand_for_choices() {
        assert_eq!(
            with(&[("OFFSET_RESET", "latest")]).map(|c| c.consumer.offset_reset),
            Ok(OffsetReset::Latest)
        );
        assert_eq!(with(&[("LOG_FORMAT", "json")]).map(|c| c.log.format), Ok(Some(Format::Json)));
        assert_eq!(with(&[("LOG_FORMAT", "TEXT")]).map(|c| c.log.format), Ok(Some(Format::Text)));
        assert_eq!(with(&[("KAFKA_TOPIC_RETENTION", "none")]).map(|c| c.topic.retention), Ok(None));
        assert_eq!(
            faults(&[("OFFSET_RESET", "newest")]),
            ["OFFSET_RESET=newest: must be earliest or latest"]
        );
    }

    #[test]
    fn assignors_are_named_once_each_and_the_first_is_liked_best() {
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
    fn hosts_are_addresses() {
        for text in ["127.0.0.1", "::", "::1"] {
            assert_eq!(with(&[("HOST", text)]).map(|c| c.http.host.to_string()).as_deref(), Ok(text));
        }
        for text in ["localhost", "[::]", "0.0.0.0:80", "256.0.0.1"] {
            assert_eq!(faults(&[("HOST", text)]).len(), 1, "{text}");
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
}

mod sources {
    use super::*;

    fn port(args: &[&str], variables: &[(&str, &str)], dotenv: &str) -> u16 {
        let variables: Vec<_> = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables).copied().collect();
        parse(args, &variables, dotenv).expect("valid").config.http.port
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_dotenv_and_that_before_the_default() {
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
    fn dotenv_has_comments_quotes_exports_and_other_peoples_variables() {
        let text = "\u{feff}# a comment\nexport PORT='9000' # another\nOTHER=x\nPORT=9001\n\nEVENT_TYPES=\"A,B C\"\nKAFKA_BROKERS=k:1\n";
        let config = parse(&[], &[], text).expect("valid").config;
        assert_eq!(config.http.port, 9000, "the first line counts");
        assert_eq!(config.activity.event_types, ["A", "B C"]);
    }

    #[test]
    fn a_malformed_dotenv_is_told_by_its_line_and_not_shown() {
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

    #[cfg(not(feature = "embedded-broker"))]
    #[test]
    fn without_the_embedded_broker_kafka_must_be_named() {
        let exit = parse(&[], &[], "").expect_err("a fault");
        assert!(exit.message.contains("KAFKA_BROKERS=: must be set"), "{}", exit.message);
    }
}

mod faults {
    use super::*;

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
    fn settings_at_odds_are_reported_together() {
        for (variables, says) in [
            (
                &[("KAFKA_HEARTBEAT_INTERVAL", "4s")][..],
                "KAFKA_HEARTBEAT_INTERVAL=4s, KAFKA_SESSION_TIMEOUT=10s: ",
            ),
            (&[("KAFKA_REBALANCE_TIMEOUT", "9s")], "KAFKA_REBALANCE_TIMEOUT=9s, KAFKA_SESSION_TIMEOUT=10s: "),
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
        assert!(lines[0].contains("leaves no room for .dlq"), "{lines:?}");
    }

    #[test]
    fn settings_just_in_keeping_pass() {
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
    fn a_value_at_fault_is_not_held_against_others() {
        let lines = faults(&[("KAFKA_SESSION_TIMEOUT", "x"), ("KAFKA_HEARTBEAT_INTERVAL", "5s")]);
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}

mod security {
    use std::{env::temp_dir, fs, path::PathBuf};

    use highwater::messaging::security::{Sasl, SaslMechanism, Secret, Security};
    use uuid::Uuid;

    use super::*;

    const USER: [(&str, &str); 4] = [
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_MECHANISM", "scram-sha-512"),
        ("KAFKA_SASL_USERNAME", "alice"),
        ("KAFKA_SASL_PASSWORD", "hunter2 = x"),
    ];

    /// A file that is gone after the test.
    struct TestFile(PathBuf);

    impl TestFile {
        fn of(content: &str) -> Self {
            let path = temp_dir().join(format!("highwater-test-{}", Uuid::new_v4()));
            fs::write(&path, content).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            // Nothing is lost with it.
            let _ = fs::remove_file(&self.0);
        }
    }

    fn alice(password: &str) -> Security {
        let (mechanism, username) = (SaslMechanism::ScramSha512, "alice".to_owned());
        Security {
            sasl: Some(Sasl { mechanism, username, password: Secret::new(password) }),
            ..Security::default()
        }
    }

    #[test]
    fn a_user_has_a_mechanism_a_name_and_a_password() {
        assert_eq!(with(&[]).map(|c| c.kafka.security), Ok(Security::default()));
        assert_eq!(with(&USER).map(|c| c.kafka.security), Ok(alice("hunter2 = x")));
    }

    #[test]
    fn a_password_from_a_file_is_all_of_it_but_the_end_of_the_line() {
        for (content, password) in
            [("a b ", "a b "), ("secret\n", "secret"), ("secret\r\n", "secret"), ("s\n\n", "s\n")]
        {
            let file = TestFile::of(content);
            let variables = [USER[0], USER[1], USER[2], ("KAFKA_SASL_PASSWORD_FILE", file.path())];
            assert_eq!(with(&variables).map(|c| c.kafka.security), Ok(alice(password)), "{content:?}");
        }
        for content in ["", "\n"] {
            let file = TestFile::of(content);
            let lines = faults(&[USER[0], USER[1], USER[2], ("KAFKA_SASL_PASSWORD_FILE", file.path())]);
            assert!(lines.len() == 1 && lines[0].ends_with(": holds no password"), "{lines:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = with(&USER).expect("valid");
        assert!(!format!("{config:?} {}", Secret::new("hunter2")).contains("hunter2"));
        let mut wrong = USER;
        wrong[0].1 = "SSLL";
        let file = ("KAFKA_SASL_PASSWORD_FILE", "/nowhere");
        for variables in
            [&wrong[..], &USER[1..], &[USER[0], USER[3]], &[USER[0], USER[1], USER[2], USER[3], file]]
        {
            let lines = faults(variables).join("\n");
            assert!(!lines.contains("hunter2"), "{lines}");
        }
        let lines = faults(&[USER[0], USER[1], USER[2], ("KAFKA_SASL_PASSWORD", "hunter2\u{fffd}")]);
        assert_eq!(lines, ["KAFKA_SASL_PASSWORD=…: must be a text, which is never shown"]);
    }

    #[test]
    fn all_that_is_missing_is_reported_together() {
        assert_eq!(
            faults(&[("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")]),
            [
                "KAFKA_SASL_MECHANISM=: must be set for SASL_PLAINTEXT",
                "KAFKA_SASL_USERNAME=: must be set for SASL_PLAINTEXT",
                "KAFKA_SASL_PASSWORD=: must be set for SASL_PLAINTEXT",
            ]
        );
    }

    #[test]
    fn settings_of_another_protocol_are_refused() {
        let lines = faults(&[("KAFKA_SSL_CA", "/ca.pem"), ("KAFKA_SASL_USERNAME", "alice"), USER[3]]);
        assert_eq!(
            lines,
            [
                "KAFKA_SSL_CA=/ca.pem: has no meaning with KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
                "KAFKA_SASL_USERNAME=alice: has no meaning with KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
                "KAFKA_SASL_PASSWORD=…: has no meaning with KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
            ]
        );
    }

    #[cfg(feature = "embedded-broker")]
    #[test]
    fn the_embedded_broker_is_not_secured() {
        let exit = parse(&[], &USER, "").expect_err("a fault");
        assert!(exit.message.contains("the embedded broker has neither TLS nor SASL"), "{}", exit.message);
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_in_the_build_it_cannot_be_asked_for() {
        let lines = faults(&[("KAFKA_SECURITY_PROTOCOL", "SSL")]);
        assert!(lines.len() == 1 && lines[0].contains("this build has no TLS"), "{lines:?}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn files_of_tls_that_cannot_be_used_are_told_each_and_not_shown() {
        let text = TestFile::of("hunter2, and no PEM");
        let damaged = TestFile::of("-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n");
        let lines = faults(&[
            ("KAFKA_SECURITY_PROTOCOL", "SSL"),
            ("KAFKA_SSL_CA", "/nowhere/ca.pem"),
            ("KAFKA_SSL_CERTIFICATE", text.path()),
            ("KAFKA_SSL_KEY", damaged.path()),
        ]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].starts_with("KAFKA_SSL_CA=/nowhere/ca.pem: cannot be read: No such file"),
            "{lines:?}"
        );
        assert!(lines[1].ends_with(": holds no certificate in PEM"), "{lines:?}");
        assert!(lines[2].ends_with(": is damaged PEM"), "{lines:?}");
        assert!(!lines.join("").contains("hunter2"), "{lines:?}");
        let lines = faults(&[("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_SSL_KEY", damaged.path())]);
        assert!(lines.iter().any(|line| line.contains("must be set both or neither")), "{lines:?}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_needs_names_rskafka_can_read() {
        let lines = faults(&[("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_BROKERS", "[::1]:9093")]);
        assert!(lines.iter().any(|line| line.ends_with(": TLS needs names or IPv4 addresses")), "{lines:?}");
    }
}

mod lists {
    use std::{fs, path::Path};

    use super::*;

    fn file(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Both differ at first in what the message shows.
    fn assert_lists(what: &str, found: &[String], expected: &[String]) {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        let at = differs.unwrap_or(found.len().min(expected.len()));
        assert!(
            found == expected,
            "{what}, entry {at}:\nfound    {:?}\nexpected {:?}\nall of it as expected:\n\n{}",
            found.get(at),
            expected.get(at),
            expected.join("\n")
        );
    }

    #[test]
    fn help_has_every_setting_with_its_default_its_bounds_and_its_sentence() {
        let help = parse(&["--help"], &[], "").expect_err("help").message;
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let help = words(&help);
        let mut rest = help.as_str();
        for setting in config::settings() {
            let default = if setting.default.is_empty() {
                String::new()
            } else {
                format!("[default: {}] ", setting.default)
            };
            let entry = format!(
                "--{} <{}> {} {default}{}",
                setting.flag, setting.variable, setting.sentence, setting.allowed
            );
            let at = rest.find(&entry).unwrap_or_else(|| panic!("--help lacks, in its place: {entry}"));
            rest = &rest[at + entry.len()..];
        }
        assert_eq!(help.matches("--").count(), config::settings().count() + 2, "and --help and --version");
    }

    #[test]
    fn the_example_has_every_setting_commented_out_at_its_default() {
        let text = file(".env.example");
        let found: Vec<String> = text
            .split("\n\n")
            .map(str::trim_end)
            .filter(|block| block.lines().any(is_assignment))
            .map(str::to_owned)
            .collect();
        let expected: Vec<String> = config::settings()
            .map(|s| format!("# {}\n# Takes {}.\n#{}={}", s.sentence, s.allowed, s.variable, s.default))
            .collect();
        assert_lists(".env.example", &found, &expected);
    }

    #[test]
    fn the_example_uncommented_is_the_defaults() {
        let uncommented: Vec<String> = file(".env.example")
            .lines()
            .filter(|line| is_assignment(line))
            .map(|line| line[1..].to_owned())
            .collect();
        let invocation = parse(&["--kafka-brokers=kafka:9092"], &[], &uncommented.join("\n"));
        assert_eq!(invocation.map(|i| i.config), Ok(defaults()));
    }

    fn is_assignment(line: &str) -> bool {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()) && rest.contains('='))
    }

    #[test]
    fn the_readme_has_every_setting_in_its_table() {
        let text = file("README.md");
        let section = text.split("\n## Settings\n").nth(1).expect("a section on settings");
        let section = section.split("\n## ").next().unwrap_or_default();
        let found: Vec<String> =
            section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let expected: Vec<String> = config::settings()
            .map(|s| {
                format!(
                    "| `{}` | `--{}` | {} | {} | {} |",
                    s.variable,
                    s.flag,
                    code(s.default),
                    s.allowed,
                    s.sentence
                )
            })
            .collect();
        assert_lists("README.md", &found, &expected);
    }

    #[test]
    fn compose_hands_every_setting_to_the_service_but_where_kafka_is_and_what_is_listened_on() {
        let text = file("docker-compose.yml");
        let service = text.split("\n  app-service:\n").nth(1).expect("a service called app-service");
        let environment = service.split("\n    environment: &settings\n").nth(1).expect("its environment");
        let found: Vec<String> = environment
            .lines()
            .take_while(|line| line.starts_with("      "))
            .filter(|line| !line.trim_start().starts_with('#'))
            .map(|line| line.trim().to_owned())
            .collect();
        let own = ["KAFKA_BROKERS: kafka:9092", "HOST: 0.0.0.0", "PORT: 8000"];
        let others = config::settings().map(|setting| format!("{}:", setting.variable));
        let others = others.filter(|line| !own.iter().any(|own| own.starts_with(line.as_str())));
        let expected: Vec<String> = own.map(str::to_owned).into_iter().chain(others).collect();
        assert_lists("docker-compose.yml", &found, &expected);
    }

    #[test]
    fn each_setting_is_told_in_one_sentence() {
        for setting in config::settings() {
            assert!(
                setting.sentence.ends_with('.') && !setting.sentence.contains(". "),
                "{}",
                setting.variable
            );
            assert!(setting.sentence.len() <= 100, "{}: {}", setting.variable, setting.sentence.len());
        }
    }
}
