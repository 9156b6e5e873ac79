//! Brokers that speak Kafka's protocol in part, by what they say of themselves (ApiVersions).

use std::{collections::BTreeSet, time::Duration};

use highwater_kafka_broker::{Fault, Options};
use kafka_protocol::{ResponseError, messages::ApiKey};

use crate::support::{TestApp, TestCluster, eventually};

/// Azure Event Hubs as of 2020: each API's first version that it lacks.
const EVENT_HUBS_2020: &[(ApiKey, i16)] = &[
    (ApiKey::Produce, 6),
    (ApiKey::Fetch, 7),
    (ApiKey::ListOffsets, 3),
    (ApiKey::Metadata, 6),
    (ApiKey::OffsetCommit, 4),
    (ApiKey::OffsetFetch, 4),
    (ApiKey::FindCoordinator, 2),
    (ApiKey::JoinGroup, 3),
    (ApiKey::Heartbeat, 2),
    (ApiKey::LeaveGroup, 2),
    (ApiKey::SyncGroup, 2),
    (ApiKey::DescribeGroups, 2),
    (ApiKey::CreateTopics, 3),
    (ApiKey::DescribeConfigs, 0),
    (ApiKey::InitProducerId, 0),
    (ApiKey::DeleteRecords, 0),
];
/// As of 2026.
const EVENT_HUBS: &[(ApiKey, i16)] =
    &[(ApiKey::Produce, 8), (ApiKey::Fetch, 13), (ApiKey::Metadata, 10), (ApiKey::DescribeConfigs, 3)];
/// Redpanda as of 2024, before it knew topic ids, and as of 2021.
const REDPANDA_2024: &[(ApiKey, i16)] =
    &[(ApiKey::Fetch, 12), (ApiKey::ListOffsets, 5), (ApiKey::Metadata, 8), (ApiKey::DeleteRecords, 0)];
const REDPANDA_2021: &[(ApiKey, i16)] = &[
    (ApiKey::Fetch, 11),
    (ApiKey::ListOffsets, 4),
    (ApiKey::Metadata, 8),
    (ApiKey::OffsetFetch, 5),
    (ApiKey::DeleteRecords, 0),
];

/// What none of them has of Kafka 4.0.
const OF_KAFKA_4: &[(ApiKey, i16)] = &[
    (ApiKey::ConsumerGroupHeartbeat, 0),
    (ApiKey::ConsumerGroupDescribe, 0),
    (ApiKey::OffsetCommit, 9),
    (ApiKey::OffsetFetch, 9),
];

/// Posts and lists, stops, begins anew: on a broker that lacks that.
async fn serves(lacks: &[(ApiKey, i16)]) -> serde_json::Value {
    let options = Options { lacks: [lacks, OF_KAFKA_4].concat(), ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let mut posted = BTreeSet::new();
    let mut group = serde_json::Value::Null;
    for _ in 0..2 {
        let app = TestApp::start_with(&cluster, &[("GROUP_PROTOCOL", "auto")]).await;
        app.until_ready().await;
        for user in 0..6 {
            posted.insert(app.generate(&format!("user-{user}")).await.id);
        }
        eventually("what was posted is listed, once each, also what an earlier process read", async || {
            let listed = app.processed().await;
            (listed.len() == posted.len() && listed.into_iter().collect::<BTreeSet<_>>() == posted)
                .then_some(())
        })
        .await;
        cluster.until_committed_to_the_end().await;
        group = app.read("/group").await;
        app.stop().await;
    }
    group
}

#[tokio::test(flavor = "multi_thread")]
async fn event_hubs_apis_are_enough() {
    let group = serves(EVENT_HUBS).await;
    assert_eq!(group["members"].as_array().map(Vec::len), Some(1), "{group}");
}

#[tokio::test(flavor = "multi_thread")]
async fn event_hubs_apis_of_2020_are_enough() {
    serves(EVENT_HUBS_2020).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redpanda_s_apis_are_enough() {
    serves(REDPANDA_2024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redpanda_s_apis_of_2021_are_enough() {
    serves(REDPANDA_2021).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_are_unknown_where_the_broker_does_not_tell_them() {
    let group = serves(&[(ApiKey::DescribeGroups, 0)]).await;
    assert!(group["membersError"].as_str().is_some_and(|why| why.contains("DescribeGroups")), "{group}");
}

/// Starts on a broker that refuses so: that is told with this advice.
async fn told(cluster: &TestCluster, settings: &[(&str, &str)], advice: &str) -> TestApp {
    let app = TestApp::start_with(cluster, settings).await;
    eventually("it is told, and what mends it", async || {
        app.read("/health").await["kafka"].to_string().contains(advice).then_some(())
    })
    .await;
    assert_eq!(app.get("/ready").await.status(), 503);
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_setting_that_the_cluster_refuses_is_reported() {
    let cluster = TestCluster::embedded().await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::CreateTopics, Fault::Refuse(ResponseError::InvalidConfig));
    let app = told(&cluster, &[], "create it by hand").await;
    faults.clear();
    app.until_ready().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_time_out_that_the_broker_refuses_is_reported() {
    let session_timeouts = Duration::from_secs(6)..=Duration::from_secs(300);
    let options = Options { session_timeouts, ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let settings = [("KAFKA_SESSION_TIMEOUT", "301s"), ("KAFKA_REBALANCE_TIMEOUT", "602s")];
    told(&cluster, &settings, "group.max.session.timeout.ms").await.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_static_members_is_reported() {
    let options = Options { lacks: EVENT_HUBS_2020.to_vec(), ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    told(&cluster, &[("KAFKA_GROUP_INSTANCE_ID", "one")], "leave the group instance id out").await.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_by_a_policy_is_sent_again() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::ready(&cluster).await;
    cluster.broker().faults().once(ApiKey::Produce, Fault::Refuse(ResponseError::PolicyViolation));
    app.generate("ann").await;
    app.stop().await;
}
