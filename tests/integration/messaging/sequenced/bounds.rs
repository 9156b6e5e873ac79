//! The bounds of what waits, and what cannot wait.

use std::sync::{Arc, atomic::Ordering};

use highwater_kafka::{
    Consumer, DlqPublisher, RecordHandler, TopicConfig,
    dead_letter::{SequenceBounds, SequencedHandler, WaitingCounts},
};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};

use super::{FakeHandler, operator, position, publish, reader, start, until_processed, value, waiting};
use crate::support::{Batch, Client, TestCluster, eventually};

async fn stalled(client: &Client) -> String {
    let registry = client.registry.watch();
    eventually("the partition says why it stands still", async || {
        registry.borrow().group.partitions.iter().find_map(|partition| partition.error.clone())
    })
    .await
}

/// A key that waits behind the first record of a topic of its own, and the member that knows of it.
struct OneWaits {
    cluster: TestCluster,
    client: Client,
    fake: Arc<FakeHandler>,
    consumer: Consumer,
    counts: WaitingCounts,
}

impl OneWaits {
    /// With `is_read_back` the member has read the dead letter. Without it, the member cannot read.
    async fn start(is_read_back: bool) -> Self {
        let cluster = TestCluster::embedded().await;
        let client = cluster.client();
        let fake = Arc::<FakeHandler>::default();
        let (consumer, counts) = start(&client, &cluster, &fake, SequenceBounds::default());
        fake.is_away.store(!is_read_back, Ordering::Relaxed);
        publish(&client, &[("one", "bad 1")]).await;
        let faults = cluster.broker().faults();
        if !is_read_back {
            stalled(&client).await;
            faults.always(ApiKey::Fetch, Fault::Refuse(ResponseError::NotLeaderOrFollower));
            fake.is_away.store(false, Ordering::Relaxed);
        }
        eventually("it waits", async || (counts.total().letters == 1).then_some(())).await;
        let asked = faults.count(ApiKey::Fetch);
        let fetches = if is_read_back { 30 } else { 3 };
        eventually("it reads", async || (faults.count(ApiKey::Fetch) > asked + fetches).then_some(())).await;
        Self { cluster, client, fake, consumer, counts }
    }

    /// An unclean election loses the dead letter, and the topic is written past its reader.
    async fn lose(self) {
        let topic = format!("{}.dlq", self.cluster.topic);
        let broker = self.cluster.broker();
        let partition = highwater_kafka::partition_for_key(b"one", 3);
        assert_eq!(broker.end_offset(&topic, partition), 1);
        broker.truncate(&topic, partition, 0);
        for value in ["a", "b", "c"] {
            broker.append_raw(&topic, partition, Batch::of(&[value]).encode()).unwrap();
        }
        broker.faults().clear();
        let waiting = || self.counts.total().letters;
        eventually("its key waits no more", async || (waiting() == 0).then_some(())).await;
        publish(&self.client, &[("one", "2")]).await;
        until_processed(&self.fake, "one", &["2"]).await;
        self.consumer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_lost_before_it_was_read_back_holds_no_key_up() {
    OneWaits::start(false).await.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_lost_after_it_was_read_back_holds_no_key_up() {
    OneWaits::start(true).await.lose().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_bound_of_letters_the_partition_waits_and_says_so_until_there_is_room() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let bounds = SequenceBounds::default().with_letters(3);
    let (consumer, counts) = start(&client, &cluster, &fake, bounds);
    publish(&client, &[("one", "bad 1"), ("one", "2"), ("one", "3"), ("one", "4"), ("one", "5")]).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 3).await;
    assert!(stalled(&client).await.contains("3 dead letters of a key wait"), "{}", stalled(&client).await);
    assert_eq!(counts.total().letters, 3);

    fake.mend("bad 1");
    operator.redrive(position(&head)).await.unwrap();
    until_processed(&fake, "one", &["bad 1", "2", "3", "4", "5"]).await;
    cluster.until_committed_to_the_end().await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_of_keys_a_partition_waits_before_the_next_poison() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default().with_keys(1));
    let same = same_partition(&["one"], 2);
    publish(&client, &[("one", "bad 1"), (&same[0], "bad a"), (&same[1], "b")]).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 1).await;
    assert!(stalled(&client).await.contains("1 keys wait"), "{}", stalled(&client).await);
    operator.drop(position(&head)).await.unwrap();
    until_processed(&fake, &same[1], &["b"]).await;
    assert_eq!(value(&waiting(&operator, 1).await.head.record), "bad a");
    consumer.stop().await;
}

/// So many more keys of the partition of the first.
fn same_partition(keys: &[&str], more: usize) -> Vec<String> {
    let partition = |key: &str| highwater_kafka::partition_for_key(key.as_bytes(), 3);
    let all = (0..).map(|number| format!("key-{number}"));
    all.filter(|key| partition(key) == partition(keys[0])).take(more).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_waits_where_the_dead_letter_topic_has_none_of_its_number() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    client.topic_named(&format!("{}.dlq", cluster.topic), 1).known_partitions().await;
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    let key = of_partition_2();
    publish(&client, &[(&key, "bad 1"), (&key, "2")]).await;
    assert!(stalled(&client).await.contains("has 1 partitions"), "{}", stalled(&client).await);
    cluster.create_partitions_of(&format!("{}.dlq", cluster.topic), 3).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 2).await;
    assert_eq!(position(&head).partition, 2);
    operator.drop(position(&head)).await.unwrap();
    until_processed(&fake, &key, &["2"]).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_a_producer_wrote_to_another_partition_does_not_count() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let dead_letters = |topic| DlqPublisher::new(client.producer(topic), &cluster.topic, &cluster.group);
    let known = dead_letters(client.dead_letter_topic());
    let handler = Arc::clone(&fake) as Arc<dyn RecordHandler>;
    let (bounds, registry) = (SequenceBounds::default(), Arc::clone(&client.registry));
    let handler = SequencedHandler::new(handler, reader(&client), known, bounds, registry);
    // It has not heard of the other partitions.
    let lagging = dead_letters(client.dead_letter_topic().with_max_partitions(1));
    let (kafka, registry) = (Arc::clone(&client.cluster), Arc::clone(&client.registry));
    let config = client.consumer_config();
    let consumer = Consumer::start(kafka, client.topic(), config, Arc::new(handler), lagging, registry);
    let key = of_partition_2();
    publish(&client, &[(&key, "bad 1"), (&key, "2")]).await;
    assert!(stalled(&client).await.contains("has no partition 2"), "{}", stalled(&client).await);
    assert_eq!(operator(&client, &cluster).sequences().await.unwrap(), []);
    assert!(fake.values_of(&key).is_empty() && cluster.committed().await.is_empty());
    consumer.stop().await;
}

fn of_partition_2() -> String {
    let mut keys = (0..).map(|number| format!("key-{number}"));
    keys.find(|key| highwater_kafka::partition_for_key(key.as_bytes(), 3) == 2).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_everything_that_was_read_is_committed_no_letter_is_processed() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "0")]).await;
    until_processed(&fake, "one", &["0"]).await;
    cluster.until_committed_to_the_end().await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::OffsetCommit, Fault::Refuse(ResponseError::CoordinatorLoadInProgress));
    publish(&client, &[("one", "bad 1"), ("one", "2")]).await;
    let operator = operator(&client, &cluster);
    let head = eventually("it waits", async || operator.sequences().await.unwrap().pop()).await;
    fake.mend("bad 1");
    operator.redrive(position(&head)).await.unwrap();
    // It would be processed within a second.
    let tried = faults.count(ApiKey::OffsetCommit);
    eventually("commits are refused for longer than that", async || {
        (faults.count(ApiKey::OffsetCommit) > tried + 20).then_some(())
    })
    .await;
    assert_eq!(fake.values_of("one"), ["0"]);
    faults.clear();
    until_processed(&fake, "one", &["0", "bad 1", "2"]).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_cannot_be_noted_that_letters_are_processed_their_key_waits_and_none_comes_twice() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, counts) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "bad 1"), ("one", "2")]).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 2).await;
    fake.mend("bad 1");
    operator.redrive(position(&head)).await.unwrap();
    cluster.broker().faults().always(ApiKey::Produce, Fault::Refuse(ResponseError::PolicyViolation));
    until_processed(&fake, "one", &["bad 1", "2"]).await;
    let registry = client.registry.watch();
    eventually("it says so", async || {
        let error = registry.borrow().kafka.error.clone();
        error.filter(|error| error.contains("seeing to the dead letters"))
    })
    .await;
    assert_eq!(counts.total().letters, 2);
    cluster.broker().faults().clear();
    eventually("nothing waits", async || (counts.total().letters == 0).then_some(())).await;
    publish(&client, &[("one", "3")]).await;
    until_processed(&fake, "one", &["bad 1", "2", "3"]).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_waits_and_is_too_large_for_the_dead_letters_goes_on_when_its_head_is_dropped() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let small =
        TopicConfig::new(format!("{}.dlq", cluster.topic)).with_partitions(3).with_max_message_bytes(5000);
    client.topic_of(small).known_partitions().await;
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    let large = "x".repeat(10_000);
    publish(&client, &[("one", "bad 1"), ("one", "2"), ("one", &large), ("one", "3")]).await;
    assert!(stalled(&client).await.contains("no dead letter"), "{}", stalled(&client).await);
    let operator = operator(&client, &cluster);
    let head = eventually("it waits", async || operator.sequences().await.unwrap().pop()).await;
    operator.drop(position(&head)).await.unwrap();
    until_processed(&fake, "one", &["2", &large, "3"]).await;
    cluster.until_committed_to_the_end().await;
    consumer.stop().await;
}
