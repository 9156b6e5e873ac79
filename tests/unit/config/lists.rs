//! The lists of all settings in the documents, compared with the table.

use std::{fs, path::Path};

use highwater::config;

use super::{defaults, parse};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with the first difference of the two lists.
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
fn the_page_of_the_settings_has_every_one_in_its_table() {
    let text = file("docs/operating/settings.md");
    let found: Vec<String> = text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
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
    assert_lists("docs/operating/settings.md", &found, &expected);
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
    // The defaults of a container that differ.
    // A container may have a load balancer before it.
    let defaults =
        [("KAFKA_GROUP_INSTANCE_ID", "-hostname"), ("GROUP_ON_STOP", "-leave"), ("DRAIN_DELAY", ":-5s")];
    // The event log has a compose file of its own.
    let others = config::settings().filter(|setting| setting.group != "Event log");
    let others = others.map(|setting| {
        let variable = setting.variable;
        match defaults.iter().find(|(name, _)| *name == variable) {
            Some((_, default)) => format!("{variable}: ${{{variable}{default}}}"),
            None => format!("{variable}:"),
        }
    });
    let others = others.filter(|line| !own.iter().any(|own| own.starts_with(line.as_str())));
    let expected: Vec<String> = own.map(str::to_owned).into_iter().chain(others).collect();
    assert_lists("docker-compose.yml", &found, &expected);
}

#[test]
fn the_event_logs_compose_hands_it_every_setting_but_what_its_databases_and_its_container_say() {
    let text = file("docker-compose.eventlog.yml");
    let environment = text.split("\n  environment:\n").nth(1).expect("an environment");
    let mut found: Vec<String> = environment
        .lines()
        .take_while(|line| line.starts_with("    "))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| Some(line.trim().split_once(':')?.0.to_owned()))
        .collect();
    found.sort();
    // It listens on all addresses of its container, has limits and a port of its own, and its databases are there.
    let without = [
        "HOST",
        "PORT",
        "MAX_BODY_BYTES",
        "EVENT_TYPES",
        "EVENT_SCHEMAS",
        "EVENT_SCHEMAS_MODE",
        "BATCH_MAX_EVENTS",
        "MAX_BATCH_BYTES",
        "MAX_EVENT_STREAMS",
        "STREAM_PAUSE",
        "LOG_EVENTS",
        "SQLSERVER_PASSWORD_FILE",
        "SQLSERVER_CA",
        "AWS_SESSION_TOKEN",
    ];
    let its = config::settings()
        .filter(|setting| ["Server", "Access", "Event log", "Traces", "Process"].contains(&setting.group));
    let its = its.map(|setting| setting.variable).filter(|variable| !without.contains(variable));
    let mut expected: Vec<String> = its.map(str::to_owned).collect();
    expected.sort();
    assert_lists("docker-compose.eventlog.yml", &found, &expected);
}

#[test]
fn each_setting_is_described_in_one_sentence() {
    for setting in config::settings() {
        assert!(setting.sentence.ends_with('.') && !setting.sentence.contains(". "), "{}", setting.variable);
        assert!(setting.sentence.len() <= 100, "{}: {}", setting.variable, setting.sentence.len());
    }
}

#[test]
fn every_service_of_compose_has_a_health_check_that_a_reader_finds_and_one_of_them_builds_the_program() {
    for name in ["docker-compose.yml", "docker-compose.eventlog.yml"] {
        let text = file(name);
        let services = text.split("\nservices:\n").nth(1).expect("services");
        let services = services.split("\nvolumes:\n").next().unwrap_or_default();
        assert_eq!(services.matches("target: app").count(), 1, "{name}");
        // A container that ends is not healthy, but done.
        let lasting = services.split("\n\n").filter(|service| !service.contains("command: [eventlog, "));
        for service in lasting {
            assert!(service.contains("\n    healthcheck:"), "{name}: {service}");
        }
    }
}

#[test]
fn compose_without_zookeeper_has_all_other_services() {
    let services = |name: &str| -> Vec<String> {
        let text = file(name);
        let (_, text) = text.split_once("\nservices:\n").expect("services");
        let names = text.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
        let names = names.filter(|line| line.starts_with("  ") && !line[2..].starts_with([' ', '#']));
        names.map(|line| line.trim().to_owned()).collect()
    };
    let (mut all, mut without) = (services("docker-compose.yml"), services("docker-compose.kraft.yml"));
    all.retain(|name| name != "zookeeper:");
    all.sort();
    without.sort();
    assert_eq!(all, without);
}
