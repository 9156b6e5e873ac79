//! Signals, and what a stop that takes too long comes to.

use std::process::Command;

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Program, TestCluster};

#[tokio::test]
async fn sigterm_and_sigint_end_it_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let cluster = TestCluster::start().await;
        let program = Program::start(Program::command(&cluster));
        program.address().await;
        program.signal(signal);
        let line = program.says("stopping").await;
        let name = if signal == Signal::TERM { "SIGTERM" } else { "SIGINT" };
        assert_eq!(line["signal"], name);
        let ended = program.end().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}");
    }
}

/// A program that cannot stop in good order: a client is in the middle of a request, and may be for long.
async fn hanging(mut command: Command) -> (Program, TcpStream) {
    command.env("BODY_TIMEOUT", "5m").env("REQUEST_TIMEOUT", "5m");
    let program = Program::start(command);
    let address = program.address().await;
    let mut client = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    let head =
        "POST /events/generate HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // It is asked for the body: the request has begun.
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    (program, client)
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
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
async fn a_stop_that_takes_too_long_ends_with_1_and_says_what_was_not_finished() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    command.env("SHUTDOWN_TIMEOUT", "200ms");
    let (program, _client) = hanging(command).await;
    program.signal(Signal::TERM);
    let line = program.says("not stopped within SHUTDOWN_TIMEOUT").await;
    assert_eq!(line["level"], "ERROR");
    assert!(line["unfinished"].as_str().unwrap().contains("requests"), "{line}");
    assert_eq!(program.end().await.code, Some(1));
}
