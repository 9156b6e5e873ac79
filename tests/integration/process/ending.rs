//! Signals, and a stop that takes too long.

use std::process::Command;

use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Program, TestCluster};

#[tokio::test]
async fn sigterm_sigint_and_sighup_end_it_in_good_order() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")] {
        let cluster = TestCluster::start().await;
        let program = Program::start(Program::command(&cluster));
        program.address().await;
        program.signal(signal);
        let line = program.says("stopping").await;
        assert_eq!(line["signal"], name);
        let ended = program.end().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn under_nohup_it_outlives_its_terminal() {
    let cluster = TestCluster::start().await;
    let program = Program::command(&cluster);
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().arg("-c").arg("trap '' HUP; exec \"$0\"").arg(program.get_program());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let program = Program::start(shell);
    program.address().await;
    program.signal(Signal::HUP);
    program.signal(Signal::TERM);
    assert_eq!(program.says("stopping").await["signal"], "SIGTERM");
    assert_eq!(program.end().await.code, Some(0));
}

/// A program that cannot stop in good order: a client is in the middle of a request, and may be for long.
async fn hanging(mut command: Command) -> (Program, TcpStream) {
    command.env("BODY_TIMEOUT", "5m").env("REQUEST_TIMEOUT", "5m");
    let program = Program::start(command);
    let address = program.address().await;
    let mut client = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    let head = "POST /events/generate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // It is asked for the body: the request has begun.
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    (program, client)
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let cluster = TestCluster::start().await;
        let mut command = Program::command(&cluster);
        command.env("SHUTDOWN_TIMEOUT", "10m");
        let (program, _client) = hanging(command).await;
        program.signal(Signal::TERM);
        program.says("stopping").await;
        program.signal(second);
        assert_eq!(program.end().await.code, Some(code));
    }
}

#[tokio::test]
async fn no_client_can_prevent_a_graceful_stop() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    // The stop commits the offsets.
    command.env("SHUTDOWN_TIMEOUT", "6s").env("COMMIT_INTERVAL", "10m");
    let (program, _in_the_middle) = hanging(command).await;
    let address = program.address().await;
    let http = reqwest::Client::new();
    let missing = http.get(format!("{address}/events/processed/{}?wait=30s", uuid::Uuid::new_v4()));
    let waiting = tokio::spawn(async move { missing.send().await.unwrap().status() });
    let event = serde_json::json!({"userId": "user-1", "eventType": "LOGIN"});
    let posted = http.post(format!("{address}/events/generate")).json(&event).send().await.unwrap();
    let location = posted.headers()["location"].to_str().unwrap().to_owned();
    let found = http.get(format!("{address}{location}?wait=30s")).send().await.unwrap();
    assert_eq!(found.status(), 200);
    program.says("processed").await;

    program.signal(Signal::TERM);
    assert_eq!(waiting.await.unwrap(), 404);
    let log = program.log();
    let ended = program.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", log.text());
    assert!(log.text().contains("left group"), "{}", log.text());
    cluster.until_committed_to_the_end().await;
}

#[tokio::test]
async fn a_stop_that_takes_too_long_ends_with_1_and_says_what_was_not_finished() {
    let cluster = TestCluster::embedded().await;
    let mut command = Program::command(&cluster);
    command.env("SHUTDOWN_TIMEOUT", "200ms");
    let program = Program::start(command);
    program.says("assigned").await;
    cluster.broker().faults().always(ApiKey::LeaveGroup, Fault::Stall);
    program.signal(Signal::TERM);
    let line = program.says("not stopped within 200ms").await;
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["unfinished"], "the consumer");
    assert_eq!(program.end().await.code, Some(1));
}

#[tokio::test]
async fn a_stop_without_kafka_tells_of_no_group_that_was_left() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    command.envs([("KAFKA_BROKERS", "127.0.0.1:1"), ("KAFKA_CONNECT_TIMEOUT", "200ms")]);
    let program = Program::start(command);
    program.says("failing: ").await;
    program.signal(Signal::TERM);
    program.says("stopping").await;
    let log = program.log();
    let ended = program.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", log.text());
    assert!(!log.text().contains("left group"), "{}", log.text());
}
