//! Readiness, and the group in `/health`.

use std::time::Duration;

use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use serde_json::{Value, json};

use crate::support::{TestApp, TestCluster, TransactionalProducer, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_it_has_read_what_was_there_and_serves_what_it_has_until_then() {
    const EVENTS: usize = 240;
    let cluster = TestCluster::embedded().await;
    let writer = TestApp::ready(&cluster).await;
    for number in 0..EVENTS {
        writer.generate(&format!("user-{number}")).await;
    }
    writer.stop().await;

    // Some records a fetch, and each fetch takes its time.
    cluster.broker().faults().always(ApiKey::Fetch, Fault::Delay(Duration::from_millis(40)));
    let group = format!("{}-late", cluster.group);
    let settings = [("KAFKA_GROUP_ID", group.as_str()), ("FETCH_MAX_BYTES", "1KiB")];
    let app = TestApp::start_with(&cluster, &settings).await;
    let (unready, served) = eventually("it serves some and is not ready", async || {
        let served = app.processed().await.len();
        let ready = app.get("/ready").await;
        let unready = ready.status() == 503;
        (served > 0 && unready).then_some((ready, served))
    })
    .await;
    assert!(served < EVENTS, "{served}");
    let problem: Value = unready.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("of 3 partitions are read"), "{problem}");
    let partitions = problem["partitions"].as_array().unwrap();
    assert!(partitions.iter().any(|known| known["position"].as_i64() < known["goal"].as_i64()), "{problem}");

    cluster.broker().faults().clear();
    app.until_ready().await;
    assert_eq!(app.processed().await.len(), EVENTS);
    // Later events do not matter.
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_tells_the_moved_partitions_of_a_rebalance_and_that_the_others_were_not_paused() {
    let cluster = TestCluster::start().await;
    let first = TestApp::ready(&cluster).await;
    let alone = first.read("/group").await;
    assert_eq!(alone["phase"], "assigned", "{alone}");
    assert_eq!(alone["partitions"].as_array().unwrap().len(), 3, "{alone}");
    assert_eq!(alone["rebalances"][0]["reason"], "the consumer is starting", "{alone}");
    assert!(!alone["member"].as_str().unwrap().is_empty(), "{alone}");
    let acknowledged = first.generate("user-1").await;
    first.until_processed(&acknowledged.id).await;

    let second = TestApp::ready(&cluster).await;
    let told = eventually("both have some", async || {
        let (first, second) = (first.read("/group").await, second.read("/group").await);
        let count = |group: &Value| group["partitions"].as_array().unwrap().len();
        (count(&first) + count(&second) == 3 && count(&second) > 0).then_some((first, second))
    })
    .await;
    let (kept, gained) = told;
    assert_eq!(kept["generation"], gained["generation"], "{kept} {gained}");
    assert!(kept["rebalances"].as_array().unwrap().len() > 1, "{kept}");
    let revoked = |group: &Value| -> Vec<Value> {
        let rebalances = group["rebalances"].as_array().unwrap();
        rebalances.iter().flat_map(|moved| moved["revoked"].as_array().unwrap().clone()).collect()
    };
    let numbers = |group: &Value| -> Vec<Value> {
        group["partitions"].as_array().unwrap().iter().map(|held| held["partition"].clone()).collect()
    };
    assert_eq!(revoked(&kept), numbers(&gained), "{kept} {gained}");
    for held in kept["partitions"].as_array().unwrap() {
        assert_eq!(held["pausedMs"], 0, "{kept}");
    }
    for held in gained["partitions"].as_array().unwrap() {
        assert!(held["pausedMs"].is_u64() && held["lag"] == json!(0), "{gained}");
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_does_not_keep_a_service_from_being_ready() {
    let cluster = TestCluster::start().await;
    let writer = TestApp::ready(&cluster).await;
    let before = writer.generate("user-1").await;
    writer.until_processed(&before.id).await;
    writer.stop().await;
    let mut open = TransactionalProducer::start(&cluster, "open").await;
    open.send(before.partition, &["not an event"]).await;

    let app = TestApp::ready(&cluster).await;
    eventually("it sees that there is more", async || {
        let group = app.read("/group").await;
        let mut partitions = group["partitions"].as_array().unwrap().iter();
        partitions.any(|held| held["partition"] == before.partition && held["lag"] == 1).then_some(())
    })
    .await;
    assert_eq!(app.get("/ready").await.status(), 200);
    open.abort().await;
    app.stop().await;
}
