//! The settings of the event log.

#[cfg(feature = "eventlog")]
use highwater::config::Service;
use highwater::config::{Exit, Invocation};
#[cfg(feature = "eventlog")]
use highwater_eventlog::{Config, Job, Task, Trust};
#[cfg(feature = "eventlog")]
use highwater_web::http::AllowedOrigins;

use super::parse;

const NEEDED: [(&str, &str); 4] = [
    ("SQLSERVER_USERNAME", "sa"),
    ("SQLSERVER_PASSWORD", "p"),
    ("AWS_ACCESS_KEY_ID", "k"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
];

fn asked(args: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, Exit> {
    let variables: Vec<_> = NEEDED.iter().chain(variables).copied().collect();
    parse(args, &variables, "")
}

#[cfg(feature = "eventlog")]
fn read(variables: &[(&str, &str)]) -> Config {
    asked(&["eventlog"], variables).unwrap().config.eventlog.unwrap()
}

#[cfg(not(feature = "eventlog"))]
#[test]
fn without_the_feature_it_cannot_be_asked_for() {
    let exit = asked(&["eventlog"], &[]).expect_err("a fault");
    assert!(exit.message.contains("--features eventlog"), "{}", exit.message);
}

#[cfg(feature = "eventlog")]
#[test]
fn it_needs_no_kafka_and_has_its_own_port_and_bound_of_bodies() {
    let invocation = asked(&["eventlog"], &[]).unwrap();
    assert_eq!(invocation.service, Service::EventLog(Task::Serve));
    assert_eq!(invocation.config.http.port, 5003);
    assert_eq!(invocation.config.http.max_body_bytes, 1 << 20);
    assert_eq!(super::defaults().eventlog, None);
}

#[cfg(feature = "eventlog")]
#[test]
fn its_tasks_have_names_and_a_sweep_may_be_told_where_to_begin() {
    let service = |args: &[&str]| asked(args, &[]).unwrap().service;
    assert_eq!(service(&["eventlog", "migrate"]), Service::EventLog(Task::Once(Job::Migrate)));
    assert_eq!(service(&["eventlog", "sweep"]), Service::EventLog(Task::Once(Job::Sweep { from: None })));
    let from = chrono::DateTime::parse_from_rfc3339("2026-05-01T10:00:00Z").unwrap().to_utc();
    let named = ["eventlog", "sweep", "--from", "2026-05-01T10:00:00Z"];
    assert_eq!(service(&named), Service::EventLog(Task::Once(Job::Sweep { from: Some(from) })));
}

#[cfg(feature = "eventlog")]
#[test]
fn all_missing_settings_are_reported_together() {
    let exit = parse(&["eventlog"], &[], "").expect_err("faults");
    for (variable, _) in NEEDED {
        assert!(exit.message.contains(&format!("{variable}=: must be set")), "{}", exit.message);
    }
    let exit = asked(&["eventlog"], &[("EVENTLOG_TIMEOUT", "40s")]).expect_err("a fault");
    assert!(exit.message.contains("REQUEST_TIMEOUT"), "{}", exit.message);
}

#[cfg(feature = "eventlog")]
#[test]
fn origins_and_certificates_are_read() {
    let cors = |origins| {
        asked(&["eventlog"], &[("EVENTLOG_CORS_ORIGINS", origins)])
            .unwrap()
            .config
            .http
            .cors
            .map(|cors| cors.origins)
    };
    assert_eq!(cors("*"), Some(AllowedOrigins::Any));
    let two = AllowedOrigins::These(vec!["https://a.example".into(), "http://localhost:3000".into()]);
    assert_eq!(cors("https://a.example, http://localhost:3000"), Some(two));
    for wrong in ["a.example", "https://a.example/", "ftp://a", "https://"] {
        assert!(asked(&["eventlog"], &[("EVENTLOG_CORS_ORIGINS", wrong)]).is_err(), "{wrong}");
    }
    assert_eq!(read(&[]).sql_server.trust, Trust::System);
    assert_eq!(read(&[("SQLSERVER_TRUST_CERTIFICATE", "yes")]).sql_server.trust, Trust::Anyone);
    let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(read(&[("SQLSERVER_CA", there)]).sql_server.trust, Trust::Authority(there.into()));
    let exit = asked(&["eventlog"], &[("SQLSERVER_CA", "/nowhere/ca.pem")]).expect_err("a fault");
    assert!(exit.message.contains("SQLSERVER_CA=/nowhere/ca.pem: cannot be read: "), "{}", exit.message);
    let secrets = format!("{:?}", read(&[("AWS_SESSION_TOKEN", "hush")]));
    assert!(!secrets.contains("hush"), "{secrets}");
}
