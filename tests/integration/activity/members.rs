//! The members of the group, as the coordinator describes them.

use std::time::{Duration, Instant};

use futures::future::join_all;
use highwater_kafka_broker::Fault;
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ConsumerGroupDescribeRequest},
};
use serde_json::{Value, json};

use crate::support::{TestApp, TestCluster, eventually, skipped};

/// Two members of that protocol, the second one static, each of which names both with what they have.
async fn each_names_both(cluster: &TestCluster, protocol: &str) {
    let settings = [("GROUP_PROTOCOL", protocol), ("KAFKA_CLIENT_ID", "one")];
    let one = TestApp::start_with(cluster, &settings).await;
    one.until_ready().await;
    let settings =
        [("GROUP_PROTOCOL", protocol), ("KAFKA_CLIENT_ID", "two"), ("KAFKA_GROUP_INSTANCE_ID", "the-second")];
    let two = TestApp::start_with(cluster, &settings).await;
    let told = eventually("both name both, with what each says to have", async || {
        let (of_one, of_two) = (one.read("/group").await, two.read("/group").await);
        let numbers = |group: &Value| -> Vec<Value> {
            let held = group["partitions"].as_array().unwrap();
            held.iter().map(|held| held["partition"].clone()).collect()
        };
        let member = |group: &Value, client: &str| {
            json!({
                "memberId": group["member"], "clientId": client,
                "partitions": { cluster.topic.as_str(): numbers(group) },
            })
        };
        let mut second = member(&of_two, "two");
        second["instanceId"] = json!("the-second");
        let mut both = [member(&of_one, "one"), second];
        both.sort_by_key(|member| member["memberId"].as_str().unwrap().to_owned());
        let all = numbers(&of_one).len() + numbers(&of_two).len();
        let shared = !numbers(&of_one).is_empty() && !numbers(&of_two).is_empty() && all == 3;
        let same = of_one["members"] == json!(both) && of_two["members"] == json!(both);
        (shared && same).then_some(of_one)
    })
    .await;
    assert_eq!(told["protocol"], protocol, "{told}");
    assert_eq!(told.get("membersError"), None, "{told}");

    two.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_classic_members_lists_both_with_their_partitions() {
    each_names_both(&TestCluster::start().await, "classic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_members_of_the_consumer_protocol_lists_both_with_their_partitions() {
    let cluster = TestCluster::start().await;
    if cluster.connect().await.version::<ConsumerGroupDescribeRequest>(0..=1).is_err() {
        return skipped("kip848", "TEST_KAFKA_BROKERS names no Kafka 4");
    }
    each_names_both(&cluster, "consumer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_each_protocol_names_both() {
    let cluster = TestCluster::start().await;
    // The embedded broker takes no group from one protocol to the other while it has members.
    let speaks = cluster.connect().await.version::<ConsumerGroupDescribeRequest>(0..=1).is_ok();
    if !speaks || cluster.embedded.is_some() {
        return skipped("kip848", "TEST_KAFKA_BROKERS names no Kafka 4");
    }
    let older = TestApp::start_with(&cluster, &[("GROUP_PROTOCOL", "classic")]).await;
    older.until_ready().await;
    let newer = TestApp::start_with(&cluster, &[("GROUP_PROTOCOL", "consumer")]).await;
    for app in [&older, &newer] {
        eventually("it names both", async || {
            let group = app.read("/group").await;
            (group["members"].as_array()?.len() == 2).then_some(())
        })
        .await;
    }
    newer.stop().await;
    older.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_does_not_describe_the_group_blocks_nothing_else() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::DescribeGroups, Fault::Stall);
    let group = eventually("it says that it does not know", async || {
        let began = Instant::now();
        let group = app.read("/group").await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        group["members"].is_null().then_some(group)
    })
    .await;
    assert_eq!(group["membersError"], "the group's coordinator did not answer within 1s", "{group}");
    assert_eq!(group["phase"], "assigned", "{group}");
    assert_eq!(group["partitions"].as_array().unwrap().len(), 3, "{group}");
    // Heartbeats and commits go on, however many ask.
    let asked = faults.count(ApiKey::DescribeGroups);
    let began = Instant::now();
    let (_, acknowledged) =
        tokio::join!(join_all((0..40).map(|_| app.read("/group"))), app.generate("user-1"));
    app.until_processed(&acknowledged.id).await;
    cluster.until_committed_to_the_end().await;
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(faults.count(ApiKey::DescribeGroups) <= asked + seconds + 2);
    assert_eq!(app.read("/group").await["generation"], group["generation"]);

    faults.clear();
    faults.always(ApiKey::DescribeGroups, Fault::Refuse(ResponseError::GroupAuthorizationFailed));
    eventually("it says what it may not", async || {
        let group = app.read("/group").await;
        let why = group["membersError"].as_str()?;
        (group["members"].is_null() && why.contains("allow READ on it")).then_some(())
    })
    .await;

    faults.clear();
    eventually("it knows again", async || {
        let group = app.read("/group").await;
        (group["members"].as_array()?.len() == 1 && group.get("membersError").is_none()).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_are_known_although_the_broker_closed_the_connection_meanwhile() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    let asked = cluster.broker().faults().count(ApiKey::DescribeGroups);
    assert!(app.read("/group").await["members"].is_array());
    cluster.broker().faults().once(ApiKey::DescribeGroups, Fault::Drop);
    eventually("it was asked again", async || {
        let group = app.read("/group").await;
        assert!(group["members"].is_array(), "{group}");
        (cluster.broker().faults().count(ApiKey::DescribeGroups) == asked + 3).then_some(())
    })
    .await;
    app.stop().await;
}
