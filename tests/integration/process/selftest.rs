//! `highwater selftest`: its report, its exit code, and its cleanup.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use kafka_protocol::messages::{ListGroupsRequest, MetadataRequest};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Program, TestApp, TestCluster, eventually, requests};

/// The command, for a service on that port.
fn selftest(cluster: &TestCluster, port: u16) -> Command {
    let mut command = Program::command(cluster);
    command.env("PORT", port.to_string()).env("COMMIT_INTERVAL", "100ms").arg("selftest");
    command
}

/// Runs it to its end. Returns its exit code and its report.
async fn run(mut command: Command) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The topics and groups of that selftest that still exist.
async fn left_of(cluster: &TestCluster, said: &str) -> Vec<String> {
    let name =
        said.lines().find_map(|line| line.strip_prefix("# a second one, on topic and group ")).unwrap();
    let mut found = Vec::new();
    let topics =
        cluster.connect().await.call(&MetadataRequest::default().with_topics(None), 1..=9).await.unwrap();
    found.extend(topics.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())));
    for broker in &topics.brokers {
        let mut connection = requests::open(&format!("{}:{}", broker.host.as_str(), broker.port)).await;
        let groups = connection.call(&ListGroupsRequest::default(), 0..=4).await.unwrap();
        found.extend(groups.groups.iter().map(|group| group.group_id.to_string()));
    }
    found.retain(|found| found.contains(name));
    found
}

#[tokio::test]
async fn a_sound_service_passes_a_selftest_that_leaves_nothing() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    app.until_processed(&app.generate("user-1").await.id).await;
    let ends = cluster.ends().await;

    let (code, said) = run(selftest(&cluster, app.port())).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() > 60, "{said}");
    assert!(!said.contains("FAILED "), "{said}");
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");

    assert_eq!(cluster.ends().await, ends, "the topic of the service is as it was");
    assert_eq!(app.processed().await.len(), 1);
    eventually("its topics and groups are gone", async || {
        left_of(&cluster, &said).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_that_accepts_a_bad_request_fails_that_check() {
    let cluster = TestCluster::start().await;
    let larger = [("MAX_BODY_BYTES", "1MiB"), ("BODY_TIMEOUT", "100ms")];
    let app = TestApp::start_with(&cluster, &larger).await;
    app.until_ready().await;
    let (code, said) = run(selftest(&cluster, app.port())).await;
    assert_eq!(code, Some(1), "{said}");
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAILED ")).collect();
    assert_eq!(failed.len(), 2, "{said}");
    for (line, route) in failed.iter().zip(["/events/generate", "/api/events"]) {
        let expected = format!("POST {route}: 413 for a body too large: 413 expected, but the answer is 408");
        assert!(line.contains(&expected), "{said}");
    }
    assert!(said.ends_with(" passed, 2 failed\n"), "{said}");
}

#[tokio::test]
async fn without_a_service_the_selftest_names_the_address() {
    let cluster = TestCluster::start().await;
    let (code, said) = run(selftest(&cluster, 1)).await;
    assert_eq!(code, Some(1));
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAILED ")).collect();
    assert_eq!(failed.len(), 1, "{said}");
    assert!(failed[0].contains("no answer at 127.0.0.1:1: is the service running"), "{said}");
}

/// Stops it as soon as the second service works. Returns its exit code and its report.
fn stop_in_the_middle(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = String::new();
    for line in lines.by_ref() {
        said.extend([line.as_str(), "\n"]);
        if line.contains("an event of type") {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            break;
        }
    }
    said.extend(lines.map(|line| line + "\n"));
    (child.wait().unwrap().code(), said)
}

#[tokio::test]
async fn a_selftest_that_is_stopped_deletes_what_it_made() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut command = selftest(&cluster, app.port());
    // Enough events that it is not done when the signal arrives, and enough time for its cleanup.
    let types = (0..2_000).map(|number| format!(",TYPE-{number}")).collect::<String>();
    command.env("EVENT_TYPES", format!("LOGIN{types}")).env("SHUTDOWN_TIMEOUT", "1m");
    let (code, said) = tokio::task::spawn_blocking(|| stop_in_the_middle(command)).await.unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it was stopped"), "{said}");
    assert!(said.contains("ok      it stops, and its topics and groups are deleted"), "{said}");
    eventually("its topics and groups are gone", async || {
        left_of(&cluster, &said).await.is_empty().then_some(())
    })
    .await;
}
