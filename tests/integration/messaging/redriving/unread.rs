//! Dead letters that a redrive cannot read.

use highwater_kafka::dead_letter::{DlqPosition, RedriveSelection};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::{DlqClient, complete, send_to_dlq, sent_back, values};
use crate::support::{TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_could_not_read_everything_says_so() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let position = send_to_dlq(&client, &cluster, 0..1).await[0];
    let dlq = DlqClient::of(&client, &cluster);
    // The dead letter is there when the redrive begins, and gone when it gets to read.
    let faults = cluster.broker().faults();
    faults.always(ApiKey::Fetch, Fault::Refuse(ResponseError::NotLeaderOrFollower));
    let asked = faults.count(ApiKey::Fetch);
    let lose = async {
        eventually("it reads", async || (faults.count(ApiKey::Fetch) > asked).then_some(())).await;
        cluster.broker().truncate(&format!("{}.dlq", cluster.topic), position.partition, 0);
        faults.clear();
    };
    let (report, ()) = tokio::join!(dlq.redrive(&RedriveSelection::All), lose);
    assert!(!report.complete && report.missing == 0, "{report:?}");
    assert!(report.stopped.unwrap().contains("ask again"));
    send_to_dlq(&client, &cluster, 1..3).await;
    assert!(dlq.redrive(&RedriveSelection::All).await.complete);
    assert_eq!(sent_back(&cluster).await, values(1..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_passes_over_no_dead_letters_of_another_history_below_what_was_sent_back() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let dlq = DlqClient::of(&client, &cluster);
    let read = send_to_dlq(&client, &cluster, 0..6).await;
    let partition = read[0].partition;
    let newest =
        |letters: &[DlqPosition]| letters.iter().filter(|at| at.partition == partition).max().copied();
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(6));
    cluster.broker().truncate(&format!("{}.dlq", cluster.topic), partition, 1);
    let written = send_to_dlq(&client, &cluster, 6..24).await;
    assert!(newest(&written) > newest(&read), "{written:?}");
    let report = dlq.redrive(&RedriveSelection::All).await;
    let stopped = report.stopped.unwrap();
    assert!(stopped.contains(&format!("partition {partition} of the dead letters ended at 1")), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_believes_no_broker_that_lags_and_calls_a_dead_letter_out_of_range() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let dlq = DlqClient::of(&client, &cluster);
    for (numbers, all) in [(0..3, true), (3..6, false)] {
        let positions = send_to_dlq(&client, &cluster, numbers).await;
        let selection = if all {
            RedriveSelection::All
        } else {
            RedriveSelection::Positions(positions.into_iter().collect())
        };
        cluster.broker().faults().once(ApiKey::Fetch, Fault::Refuse(ResponseError::OffsetOutOfRange));
        let report = dlq.redrive(&selection).await;
        assert!(report.complete && report.missing == 0, "{report:?}");
    }
    assert_eq!(sent_back(&cluster).await, values(0..6));
}
