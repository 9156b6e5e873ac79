//! Faults of Kafka or of the network when the service starts. The service logs each once, with what usually
//! mends it, keeps running, and needs no restart when it is mended.

use std::{net::Ipv4Addr, process::Command};

use highwater_kafka_broker::{Fault, Options};
use highwater_web::http::client::{Request, ask};
use kafka_protocol::{ResponseError, messages::ApiKey};
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{Program, TestCluster, eventually};

/// A service that starts into trouble.
struct Start {
    program: Program,
    address: String,
}

impl Start {
    async fn of(command: Command) -> Self {
        let program = Program::start(command);
        let address = program.address().await;
        Self { program, address: address.strip_prefix("http://").unwrap().to_owned() }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let patience = std::time::Duration::from_secs(10);
        let answer = ask(self.address.parse().unwrap(), None, &Request::get(path), patience).await.unwrap();
        (answer.status, answer.json())
    }

    /// Waits until the log and /health say that, while /ready is 503.
    async fn says(&self, words: &str) {
        let line = self.program.says(words).await;
        assert_eq!(line["level"], "WARN", "{line}");
        eventually("/health says it, too", async || {
            let (status, health) = self.get("/health").await;
            assert_eq!(status, 200);
            let told = |error: &Value| error.as_str().is_some_and(|error| error.contains(words));
            (told(&health["kafka"]["error"]) || told(&health["group"]["error"])).then_some(())
        })
        .await;
        assert_eq!(self.get("/ready").await.0, 503);
    }

    /// Waits until it is ready, without having been started again; how many lines told of trouble.
    async fn heals(self) -> usize {
        eventually("it is ready", async || (self.get("/ready").await.0 == 200).then_some(())).await;
        self.program.log().text().lines().filter(|line| line.contains("failing: ")).count()
    }
}

/// A command whose calls to Kafka follow each other quickly.
fn command(cluster: &TestCluster) -> Command {
    let mut command = Program::command(cluster);
    command.envs([("KAFKA_CONNECT_TIMEOUT", "500ms"), ("KAFKA_REQUEST_TIMEOUT", "1s")]);
    command
}

/// Waits until such a request came so many times more.
async fn until_asked(cluster: &TestCluster, api: ApiKey, times: usize) {
    let before = cluster.broker().faults().count(api);
    eventually("it goes on asking", async || {
        (cluster.broker().faults().count(api) >= before + times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kafka_is_one_log_line_and_heals() {
    let mut cluster = TestCluster::embedded().await;
    cluster.embedded.as_mut().unwrap().suspend();
    let start = Start::of(command(&cluster)).await;
    start.says("nothing listens there").await;
    cluster.embedded.as_mut().unwrap().resume().await.unwrap();
    assert_eq!(start.heals().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_that_does_not_resolve_is_reported() {
    let cluster = TestCluster::embedded().await;
    let mut command = command(&cluster);
    // No resolver has to be asked: a label is at most 63 bytes long (RFC 1035, 2.3.4).
    command.env("KAFKA_BROKERS", format!("{}.example:9092", "k".repeat(64)));
    let start = Start::of(command).await;
    start.says("does not resolve here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_permission_to_create_is_reported_once_and_found_when_it_exists() {
    let cluster = TestCluster::embedded().await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::CreateTopics, Fault::Refuse(ResponseError::TopicAuthorizationFailed));
    let start = Start::of(command(&cluster)).await;
    start.says("may not create it").await;
    start.program.says(&format!("topic {}.dlq", cluster.topic)).await;
    until_asked(&cluster, ApiKey::CreateTopics, 6).await;
    faults.clear();
    assert_eq!(start.heals().await, 2, "a line a topic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_permission_is_reported_once_and_joined_when_permitted() {
    for api in [ApiKey::FindCoordinator, ApiKey::JoinGroup] {
        let cluster = TestCluster::embedded().await;
        let faults = cluster.broker().faults();
        faults.always(api, Fault::Refuse(ResponseError::GroupAuthorizationFailed));
        let start = Start::of(command(&cluster)).await;
        start.says("may not use the group: allow READ on it").await;
        start.program.says(&format!("group {}", cluster.group)).await;
        until_asked(&cluster, api, 4).await;
        faults.clear();
        assert_eq!(start.heals().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_advertised_listener_is_reported_and_used_once_reachable() {
    // A port that is free now.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let options = Options { advertised_port: Some(port), ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let start = Start::of(command(&cluster)).await;
    start.says("advertised.listeners").await;
    start.program.says(&format!("127.0.0.1:{port}")).await;

    let relay = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let broker = cluster.brokers[0].clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = relay.accept().await {
            let broker = broker.clone();
            tokio::spawn(async move {
                let mut broker = TcpStream::connect(broker).await?;
                copy_bidirectional(&mut client, &mut broker).await
            });
        }
    });
    assert_eq!(start.heals().await, 1);
}
