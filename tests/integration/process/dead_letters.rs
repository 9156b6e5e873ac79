//! Dead dead letters from a shell, without a service.

use std::process::Command;

use bytes::Bytes;
use chrono::Utc;
use highwater_kafka::{DlqPublisher, Record, exists};
use serde_json::{Value, json};

use crate::support::{Program, TestCluster};

/// Runs it to its end: its exit code, the lines of its output, and what it complained of.
async fn run(cluster: &TestCluster, args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let mut command: Command = Program::command(cluster);
    command.arg("dead-letters").args(args);
    let program = Program::start(command);
    let log = program.log();
    let ended = program.end().await;
    let lines = log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (ended.code, lines, ended.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_redriven_with_the_services_settings() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let dead_letters =
        DlqPublisher::new(client.producer(client.dead_letter_topic()), &cluster.topic, "group");
    client.topic().clone().known_partitions().await;
    for number in 0..3_u8 {
        let record = Record {
            partition: 0,
            offset: i64::from(number),
            leader_epoch: None,
            timestamp: Utc::now(),
            key: None,
            value: Some(Bytes::from(vec![b'0' + number])),
            headers: Default::default(),
        };
        dead_letters.send_to_dlq(&record, &format!("reason {number}")).await.unwrap();
    }
    let (code, all, _) = run(&cluster, &["list"]).await;
    assert_eq!((code, all.len()), (Some(0), 3));
    let (code, one, _) = run(&cluster, &["list", "--reason", "reason 1", "--limit", "5"]).await;
    assert_eq!((code, one.len(), &one[0]["value"]), (Some(0), 1, &json!({"text": "1"})));

    let place = format!("{}/{}", one[0]["partition"], one[0]["offset"]);
    let (code, sent, _) = run(&cluster, &["redrive", "--position", &place]).await;
    assert_eq!((code, &sent[0]["redriven"], &sent[0]["complete"]), (Some(0), &json!(1), &json!(true)));
    let (code, sent, _) = run(&cluster, &["redrive", "--all"]).await;
    assert_eq!((code, &sent[0]["redriven"]), (Some(0), &json!(2)));
    assert_eq!(cluster.records(&cluster.topic).await.len(), 3);
    let (code, all, stderr) = run(&cluster, &["list"]).await;
    let redriven = all.iter().filter(|dead_letter| dead_letter["redriven"] == true).count();
    assert_eq!((code, redriven), (Some(0), 3), "{all:?} {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_it_says_why_and_ends_with_1() {
    let mut away = TestCluster::embedded().await;
    away.embedded.as_mut().unwrap().suspend();
    let (code, lines, stderr) = run(&away, &["list"]).await;
    assert_eq!((code, lines.len()), (Some(1), 0));
    assert!(stderr.contains("Connection refused") && stderr.contains("nothing listens there"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_reported_and_not_created() {
    let cluster = TestCluster::start().await;
    for args in [&["list"][..], &["redrive", "--all"]] {
        let (code, lines, stderr) = run(&cluster, args).await;
        assert_eq!((code, lines.len()), (Some(1), 0), "{stderr}");
        assert!(stderr.contains(&format!("topic {}.dlq does not exist", cluster.topic)), "{stderr}");
    }
    let mut connection = cluster.client().cluster.connect().await.unwrap();
    for name in [cluster.topic.clone(), format!("{}.dlq", cluster.topic)] {
        assert!(!exists(&mut connection, &name).await.unwrap(), "{name}");
    }
}
