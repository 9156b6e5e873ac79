//! Dead letters on the command line and in the settings.

use std::{ffi::OsString, fs, path::PathBuf};

use highwater::config::{self, Config, Exit, Invocation, Service};
use highwater_kafka::dead_letter::{DlqFilter, DlqPosition, RedriveSelection};
use highwater_web::{dead_letters::DlqCommand, http::BearerToken};
use uuid::Uuid;

const TOKEN: &str = "a-token-of-24-characters";

fn parse(args: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, Exit> {
    let variables = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables);
    let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let args = std::iter::once("highwater").chain(args.iter().copied()).map(OsString::from);
    config::parse(args, &variables, "")
}

fn task(args: &[&str]) -> DlqCommand {
    match parse(args, &[]).map(|invocation| invocation.service) {
        Ok(Service::DeadLetters(task)) => task,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn with(variables: &[(&str, &str)]) -> Result<Config, Exit> {
    parse(&[], variables).map(|invocation| invocation.config)
}

/// A file that holds that; removed when dropped.
struct Held(PathBuf);

impl Held {
    fn of(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("highwater-test-{}", Uuid::new_v4()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_listing_has_the_dead_letters_and_their_count() {
    let all = DlqCommand::List { filter: DlqFilter::default(), limit: None };
    assert_eq!(task(&["dead-letters", "list"]), all);
    let time = "2026-05-01T12:00:00+02:00";
    let args = [
        "--reason",
        "not JSON",
        "--partition=2",
        "--key",
        "-x",
        "--from",
        time,
        "--to",
        time,
        "--limit",
        "7",
    ];
    let asked = task(&[&["dead-letters", "list"], &args[..]].concat());
    let timestamp = Some("2026-05-01T10:00:00Z".parse().unwrap());
    let filter = DlqFilter {
        reason: Some("not JSON".to_owned()),
        source_partition: Some(2),
        key: Some("-x".to_owned()),
        from: timestamp,
        to: timestamp,
    };
    assert_eq!(asked, DlqCommand::List { filter, limit: Some(7) });
}

#[test]
fn a_redrive_must_name_its_dead_letters() {
    assert_eq!(task(&["dead-letters", "redrive", "--all"]), DlqCommand::Redrive(RedriveSelection::All));
    let reason = RedriveSelection::Reason("not JSON".to_owned());
    assert_eq!(task(&["dead-letters", "redrive", "--reason", "not JSON"]), DlqCommand::Redrive(reason));
    let positions = [(0, 12), (1, 3)].map(|(partition, offset)| DlqPosition { partition, offset });
    let asked = task(&["dead-letters", "redrive", "--position", "0/12", "--position=1/3"]);
    assert_eq!(asked, DlqCommand::Redrive(RedriveSelection::Positions(positions.into())));
    for wrong in [
        &["dead-letters"][..],
        &["dead-letters", "redrive"],
        &["dead-letters", "redrive", "--all", "--reason", "x"],
        &["dead-letters", "redrive", "--position", "12"],
        &["dead-letters", "redrive", "--position", "-1/12"],
        &["dead-letters", "redrive", "--position", "0/-12"],
        &["dead-letters", "list", "--from", "yesterday"],
        &["dead-letters", "list", "--partition", "-1"],
        &["dead-letters", "forget"],
    ] {
        assert_eq!(parse(wrong, &[]).unwrap_err().code, 2, "{wrong:?}");
    }
}

#[test]
fn settings_may_precede_or_follow_the_command() {
    for args in [
        &["--kafka-topic", "orders", "dead-letters", "list"][..],
        &["dead-letters", "--kafka-topic", "orders", "list"],
        &["dead-letters", "list", "--kafka-topic", "orders", "--limit", "3"],
    ] {
        assert_eq!(parse(args, &[]).unwrap().config.dead_letter_topic.name, "orders.dlq", "{args:?}");
    }
}

#[test]
fn without_a_token_dead_letters_are_refused() {
    let config = with(&[]).unwrap();
    assert_eq!((config.dead_letters.admin, config.dead_letters.redrive_max), (None, 3));
}

#[test]
fn a_token_comes_from_its_variable_or_from_a_file() {
    let bearer = Some(BearerToken::new(TOKEN));
    assert_eq!(with(&[("ADMIN_TOKEN", TOKEN)]).unwrap().dead_letters.admin, bearer);
    for text in [TOKEN.to_owned(), format!("{TOKEN}\n"), format!("{TOKEN}\r\n")] {
        let file = Held::of(&text);
        assert_eq!(with(&[("ADMIN_TOKEN_FILE", file.path())]).unwrap().dead_letters.admin, bearer);
    }
}

#[test]
fn an_invalid_token_is_refused_and_never_shown() {
    let file = Held::of("too short\n");
    let fine = Held::of(TOKEN);
    for (variables, rule) in [
        (&[("ADMIN_TOKEN", "too-short")][..], "must be 16 to 1024 visible"),
        (&[("ADMIN_TOKEN", "with a blank in between")], "must be 16 to 1024 visible"),
        (&[("ADMIN_TOKEN_FILE", file.path())], "must hold 16 to 1024 visible"),
        (&[("ADMIN_TOKEN_FILE", "/no/such/file")], "cannot be read"),
        (&[("ADMIN_TOKEN", TOKEN), ("ADMIN_TOKEN_FILE", fine.path())], "set one of them"),
    ] {
        let message = with(variables).unwrap_err().message;
        assert!(message.contains(rule), "{message}");
        assert_eq!(message.lines().filter(|line| line.starts_with("  ")).count(), 1, "{message}");
        for secret in [TOKEN, "too-short", "too short", "with a blank"] {
            assert!(!message.contains(secret), "{message}");
        }
    }
}
