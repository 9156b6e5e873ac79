//! Standard output with a slow reader, or with none.

use std::{net::TcpListener, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Program, TestCluster, eventually};

/// A port that was free a moment ago: a program whose log is not read cannot tell its own.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A client that is told by an error where the program hangs.
fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

/// Waits until it answers, and posts an event; its id.
async fn post(http: &reqwest::Client, base: &str, number: usize) -> String {
    let body = json!({"userId": format!("user-{number}-{}", "x".repeat(200)), "eventType": "LOGIN"});
    eventually("an event is acknowledged", async || {
        let answer = http.post(format!("{base}/events/generate")).json(&body).send().await.ok()?;
        let answer = answer.error_for_status().ok()?.json::<Value>().await.ok()?;
        answer["eventId"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_log_without_a_reader_for_a_while_blocks_no_event_and_loses_no_line() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    let port = free_port();
    command.env("PORT", port.to_string());
    let (mut program, stdout) = Program::start_unread(command, "");
    let (http, base) = (client(), format!("http://127.0.0.1:{port}"));
    // Two lines an event, more than a pipe holds (64 KiB on Linux).
    let mut last = String::new();
    for number in 0..300 {
        last = post(&http, &base, number).await;
    }
    let processed = http.get(format!("{base}/events/processed/{last}?wait=30s")).send().await.unwrap();
    assert_eq!(processed.status(), 200);
    program.read(stdout);
    eventually("every processed event is in the log", async || {
        (program.count("processed") == 300 && program.count("published") == 300).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_log_whose_reader_is_gone_ends_nothing() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    let port = free_port();
    command.env("PORT", port.to_string());
    let (program, stdout) = Program::start_unread(command, "");
    drop(stdout);
    let (http, base) = (client(), format!("http://127.0.0.1:{port}"));
    for number in 0..10 {
        post(&http, &base, number).await;
    }
    program.signal(Signal::TERM);
    assert_eq!(program.end().await.code, Some(0));
}
