//! Redrives at the same time: one of them works.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_kafka::dead_letter::{RedriveError, RedriveReport, RedriveSelection};
use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;

use super::{DlqClient, complete, send_to_dlq, sent_back, values};
use crate::support::{TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn of_several_redrives_at_a_time_one_works_and_nothing_goes_twice() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..60).await;
    let clients = [cluster.client(), cluster.client(), cluster.client()];
    let clients: Vec<_> = clients.iter().map(|client| Arc::new(DlqClient::of(client, &cluster))).collect();
    let rounds = clients.iter().chain(&clients).map(|dlq| {
        let dlq = Arc::clone(dlq);
        tokio::spawn(async move { dlq.try_to_redrive(&RedriveSelection::All).await })
    });
    let redriven = AtomicU64::new(0);
    let count = |report: &RedriveReport| redriven.fetch_add(report.redriven, Ordering::SeqCst);
    for round in rounds.collect::<Vec<_>>() {
        match round.await.unwrap() {
            Ok(report) => drop(count(&report)),
            Err(error) => assert!(matches!(error, RedriveError::Busy), "{error}"),
        }
    }
    eventually("whoever began last has been let go", async || {
        let report = clients[0].try_to_redrive(&RedriveSelection::All).await.ok()?;
        count(&report);
        report.complete.then_some(())
    })
    .await;
    assert_eq!((redriven.into_inner(), sent_back(&cluster).await), (60, values(0..60)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_a_redrive_works_is_told_so_and_the_one_at_work_ends_it() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..300).await;
    let faults = cluster.broker().faults();
    let clients = [cluster.client(), cluster.client()];
    let [first, second] = clients.each_ref().map(|client| Arc::new(DlqClient::of(client, &cluster)));
    let produced = faults.count(ApiKey::Produce);
    faults.always(ApiKey::Produce, Fault::Delay(Duration::from_millis(300)));
    let working = tokio::spawn(async move { first.redrive(&RedriveSelection::All).await });
    eventually("it has begun to send", async || (faults.count(ApiKey::Produce) > produced).then_some(()))
        .await;
    let meanwhile = second.try_to_redrive(&RedriveSelection::All).await;
    assert!(matches!(meanwhile, Err(RedriveError::Busy)), "{meanwhile:?}");
    assert_eq!(working.await.unwrap(), complete(300));
    faults.clear();
    assert_eq!(sent_back(&cluster).await, values(0..300));
    assert_eq!(second.redrive(&RedriveSelection::All).await, complete(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_began_before_another_and_works_after_it_sends_nothing_again() {
    let cluster = TestCluster::embedded().await;
    let (client, other) = (cluster.client(), cluster.client());
    for _ in 0..3 {
        send_to_dlq(&client, &cluster, 0..1).await;
    }
    let (early, quick) = (DlqClient::of(&client, &cluster), DlqClient::of(&other, &cluster));
    let faults = cluster.broker().faults();
    faults.once(ApiKey::JoinGroup, Fault::Delay(Duration::from_secs(1)));
    let everything = RedriveSelection::All;
    let later = async {
        eventually("the first one joins", async || (faults.count(ApiKey::JoinGroup) > 0).then_some(())).await;
        // One more than there was when the first one began.
        send_to_dlq(&other, &cluster, 0..1).await;
        quick.redrive(&everything).await
    };
    let (first, second) = tokio::join!(early.try_to_redrive(&everything), later);
    assert!(second.complete && second.redriven == 4, "{second:?}");
    assert!(first.as_ref().is_ok_and(|first| first.redriven == 0), "{first:?}");
    assert_eq!(sent_back(&cluster).await, ["value-0"; 4]);
}
