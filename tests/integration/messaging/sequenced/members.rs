//! Members that come, go and die while keys wait.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use highwater_kafka::{ConsumerConfig, dead_letter::SequenceBounds, group::GroupProtocol};
use tokio::runtime::Runtime;

use super::{FakeHandler, operator, position, publish, start, start_with, until_processed, waiting};
use crate::{
    messaging::group::share,
    support::{Client, TestCluster, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn another_member_that_gets_the_partition_keeps_the_order() {
    let cluster = TestCluster::start().await;
    let (one, two) = (cluster.client(), cluster.client());
    let fake = Arc::<FakeHandler>::default();
    let (first, _) = start(&one, &cluster, &fake, SequenceBounds::default());
    let keys: Vec<String> = (0..30).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        publish(&one, &[(key, "1"), (key, "bad 2"), (key, "3")]).await;
    }
    let operator = operator(&one, &cluster);
    eventually("all wait", async || (operator.sequences().await.unwrap().len() == 30).then_some(())).await;
    // Some partitions move while letters are processed and records come.
    fake.mend("bad 2");
    let (second, _) = start(&two, &cluster, &fake, SequenceBounds::default());
    for sequence in operator.sequences().await.unwrap() {
        operator.redrive(position(&sequence)).await.unwrap();
    }
    for key in &keys {
        publish(&two, &[(key, "4")]).await;
    }
    share(&one, &two).await;
    for key in &keys {
        until_processed(&fake, key, &["1", "bad 2", "3", "4"]).await;
    }
    // And when the first one goes.
    for key in &keys {
        publish(&two, &[(key, "bad 5"), (key, "6")]).await;
    }
    first.stop().await;
    fake.mend("bad 5");
    eventually("all are redriven", async || {
        for sequence in operator.sequences().await.unwrap() {
            // Some are processed, or were redriven, meanwhile.
            let _meanwhile = operator.redrive(position(&sequence)).await;
        }
        keys.iter().all(|key| fake.values_of(key).len() >= 6).then_some(())
    })
    .await;
    for key in &keys {
        until_processed(&fake, key, &["1", "bad 2", "3", "4", "bad 5", "6"]).await;
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_member_died_while_letters_were_processed_no_record_overtakes_and_none_is_lost() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let doomed = Runtime::new().unwrap();
    {
        let _inside = doomed.enter();
        let member = cluster.client();
        start_with(&member, &cluster, &fake, SequenceBounds::default(), classic(&member));
    }
    publish(&client, &[("one", "bad 0")]).await;
    publish_numbers(&client, 1..600).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 600).await;
    fake.mend("bad 0");
    fake.slow.store(3, Ordering::Relaxed);
    operator.redrive(position(&head)).await.unwrap();
    eventually("it is in the middle", async || (!fake.values_of("one").is_empty()).then_some(())).await;
    doomed.shutdown_background();
    fake.slow.store(0, Ordering::Relaxed);
    let before = fake.values_of("one").len();

    let (heir, counts) = start_with(&client, &cluster, &fake, SequenceBounds::default(), classic(&client));
    publish_numbers(&client, 600..650).await;
    eventually("all are processed", async || (fake.values_of("one").last()? == "649").then_some(())).await;
    eventually("nothing waits", async || (counts.total().letters == 0).then_some(())).await;
    let values = fake.values_of("one");
    let number = |value: &String| value.trim_start_matches("bad ").parse::<usize>().unwrap();
    let numbers: Vec<usize> = values.iter().map(number).collect();
    // The heir repeats what its predecessor did not note, and goes on from there.
    let falls = numbers.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(falls <= 1, "it goes back {falls} times: {numbers:?}");
    let steps = numbers.windows(2).all(|pair| pair[1] <= pair[0] + 1);
    assert!(steps && numbers[0] == 0, "a record overtakes: {numbers:?}");
    assert!(before < 600, "it died in the middle: {before}");
    heir.stop().await;
}

/// Its sessions are as long as a client wants.
fn classic(client: &Client) -> ConsumerConfig {
    client.consumer_config().with_protocol(GroupProtocol::Classic)
}

async fn publish_numbers(client: &Client, numbers: Range<usize>) {
    let values: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let records: Vec<_> = values.iter().map(|value| ("one", value.as_str())).collect();
    publish(client, &records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_has_none_of_the_old_ones_sequences() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, counts) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "bad 1"), ("one", "2")]).await;
    let operator = operator(&client, &cluster);
    waiting(&operator, 2).await;
    cluster.make_topic_again(3).await;
    eventually("what the old one had waits no more", async || (counts.total().letters == 0).then_some(()))
        .await;
    let new = cluster.client();
    publish(&new, &[("one", "3")]).await;
    until_processed(&fake, "one", &["3"]).await;
    assert_eq!(operator.sequences().await.unwrap(), []);
    tokio::time::timeout(Duration::from_secs(20), consumer.stop()).await.unwrap();
}
