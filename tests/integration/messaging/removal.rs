//! Deleting topics and groups.

use std::{sync::Arc, time::Duration};

use highwater_kafka_broker::{Fault, Options};
use kafka_protocol::messages::ApiKey;

use crate::support::{Recorder, TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_deleted_when_the_session_of_a_member_whose_farewell_was_lost_is_over() {
    let session = Duration::from_secs(3);
    let options = Options { session_timeouts: session..=session, ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let client = cluster.client();
    let config = client.consumer_config().with_session_timeout(session);
    let consumer = client.consumer_with(Arc::new(Recorder::default()) as _, config);
    let has_members = || !cluster.broker().members(&cluster.group).is_empty();
    eventually("it is a member", async || has_members().then_some(())).await;
    cluster.broker().faults().always(ApiKey::LeaveGroup, Fault::Drop);
    consumer.stop().await;
    assert!(client.cluster.delete_group(&cluster.group, Duration::ZERO).await.is_err());
    assert!(has_members(), "it is not over yet");
    client.cluster.delete_group(&cluster.group, session * 10).await.unwrap();
    assert!(!has_members());
}
