//! The command line of `highwater replay`.

use std::collections::BTreeMap;

use highwater::{
    config::Service,
    replay::{Bound, ReplayCommand, Target},
};

use super::parse;

const KAFKA: [(&str, &str); 1] = [("KAFKA_BROKERS", "localhost:9092")];

fn asked(args: &[&str]) -> Result<Service, String> {
    let args: Vec<&str> = ["replay"].iter().chain(args).copied().collect();
    parse(&args, &KAFKA, "").map(|invocation| invocation.service).map_err(|exit| exit.message)
}

#[test]
fn a_stretch_is_named_by_a_word_a_time_or_offsets() {
    let time = chrono::DateTime::parse_from_rfc3339("2026-11-01T01:00:00+01:00").unwrap().to_utc();
    for (text, bound) in [
        ("earliest", Bound::Earliest),
        ("2026-11-01T00:00:00Z", Bound::Time(time)),
        ("0/5, 3/12", Bound::Offsets(BTreeMap::from([(0, 5), (3, 12)]))),
    ] {
        let command = ReplayCommand::Rewind { from: bound, to: None, dry_run: false };
        assert_eq!(asked(&["--from", text]), Ok(Service::Replay(command)), "{text}");
    }
    for text in ["latest", "5", "0/-1", "-1/5", "0/5,", "0/5,0/6", "2026-11-01", ""] {
        let fault = asked(&["--from", text]).unwrap_err();
        assert!(fault.contains("--from") || fault.contains("PARTITION/OFFSET"), "{text}: {fault}");
    }
}

#[test]
fn a_schema_or_a_url_is_filled_and_flags_are_taken_where_they_mean_something() {
    let into = |args: &[&str]| match asked(args) {
        Ok(Service::Replay(ReplayCommand::Fill { into, swap, dry_run })) => (into, swap, dry_run),
        other => panic!("{other:?}"),
    };
    let schema = || Target::Schema("new".to_owned());
    assert_eq!(into(&["--into", "new"]), (schema(), None, false));
    assert_eq!(into(&["--into", "new", "--swap"]), (schema(), Some(false), false));
    assert_eq!(into(&["--into", "new", "--swap", "--allow-loss", "--dry-run"]), (schema(), Some(true), true));
    let (url, ..) = into(&["--into", "postgres://u:secret@h/d"]);
    assert!(matches!(url, Target::Url(_)) && !format!("{url:?}").contains("secret"), "{url:?}");
    for args in [
        &[][..],
        &["--dry-run"],
        &["--to", "earliest"],
        &["--from", "earliest", "--swap"],
        &["--from", "earliest", "--into", "new"],
        &["--into", "new", "--to", "earliest"],
        &["--into", "new", "--allow-loss"],
    ] {
        assert!(asked(args).is_err(), "{args:?}");
    }
}
