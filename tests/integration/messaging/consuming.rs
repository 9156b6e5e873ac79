//! The consumer: every record once, none skipped, and dead letters for those that cannot be processed.

use std::{sync::Arc, time::Duration};

use highwater_kafka::{Message, OffsetReset, Publisher, dead_letter};

use super::producing::message;
use crate::support::{Recorder, TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn records_are_handled_in_order_and_committed() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let expected: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    for value in &expected {
        producer.publish(message("one", value.as_str())).await.unwrap();
    }
    eventually("all are handled", async || (recorder.count() == 200).then_some(())).await;
    assert_eq!(recorder.values(), expected);
    let registry = client.registry.watch();
    eventually("all are committed", async || {
        let committed: i64 = registry.borrow().group.partitions.iter().map(|p| p.committed).sum();
        (committed == 200).then_some(())
    })
    .await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_stop_nothing_is_handled_again_and_the_window_is_restored() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let first = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&first) as _);
    for i in 0..50 {
        producer.publish(message("one", format!("{i}"))).await.unwrap();
    }
    eventually("all are handled", async || (first.count() == 50).then_some(())).await;
    consumer.stop().await;

    let client = cluster.client();
    let second = Arc::new(Recorder::restoring(20));
    let consumer = client.consumer(Arc::clone(&second) as _);
    producer.publish(message("one", "new")).await.unwrap();
    eventually("the new one is handled", async || (second.count() == 1).then_some(())).await;
    assert_eq!(second.values(), ["new"]);
    assert_eq!(second.restored(), (30..50).map(|i| i.to_string()).collect::<Vec<_>>());
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    for value in ["before", "poison", "after"] {
        producer.publish(message("one", value)).await.unwrap();
    }
    eventually("the good ones are handled", async || (recorder.count() == 2).then_some(())).await;
    assert_eq!(recorder.values(), ["before", "after"]);

    let letters = Arc::new(Recorder::default());
    let mut config = client.consumer_config();
    config.group_id.push_str("-dlq");
    let reader = {
        let dead_letters = highwater_kafka::DlqPublisher::new(
            client.producer(client.dead_letter_topic()),
            "unused",
            "unused",
        );
        highwater_kafka::Consumer::start(
            Arc::clone(&client.cluster),
            client.dead_letter_topic(),
            config,
            Arc::new(LetterBox(Arc::clone(&letters))),
            dead_letters,
            Arc::new(highwater_kafka::StatusRegistry::new()),
        )
    };
    eventually("the dead letter is there", async || (letters.count() == 1).then_some(())).await;
    let letter = letters.records().remove(0);
    let header = |name: &str| String::from_utf8(letter.headers.first(name).unwrap().to_vec()).unwrap();
    assert_eq!(letter.value.as_deref(), Some(&b"poison"[..]));
    assert_eq!(letter.key.as_deref(), Some(&b"one"[..]));
    assert_eq!(header(dead_letter::TOPIC), cluster.topic);
    assert_eq!(header(dead_letter::OFFSET), "1");
    assert_eq!(header(dead_letter::ERROR), "it is poison");
    reader.stop().await;
    consumer.stop().await;
}

/// Takes poison as it is: it reads the dead letters.
struct LetterBox(Arc<Recorder>);

#[async_trait::async_trait]
impl highwater_kafka::RecordHandler for LetterBox {
    async fn handle(&self, records: &[highwater_kafka::Record]) -> highwater_kafka::BatchOutcome {
        self.0.keep(records);
        highwater_kafka::BatchOutcome::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_stops_its_partition_only_and_skips_nothing() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    // user-1 and foobar are of different partitions.
    for (key, value) in [("user-1", "1"), ("user-1", "trouble"), ("user-1", "3"), ("foobar", "other")] {
        producer.publish(message(key, value)).await.unwrap();
    }
    eventually("the other partition goes on", async || {
        recorder.values().contains(&"other".to_owned()).then_some(())
    })
    .await;
    let registry = client.registry.watch();
    eventually("the registry says what stands still", async || {
        registry.borrow().group.partitions.iter().find_map(|partition| partition.error.clone())
    })
    .await;
    assert!(!recorder.values().contains(&"3".to_owned()));
    recorder.end_trouble();
    eventually("the rest follows", async || (recorder.count() == 4).then_some(())).await;
    let of_user: Vec<String> = recorder.values().into_iter().filter(|value| value != "other").collect();
    assert_eq!(of_user, ["1", "trouble", "3"]);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_committed_offset_latest_starts_after_what_is_there_and_that_start_is_committed() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    producer.publish(message("one", "old")).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let mut config = client.consumer_config();
    config.offset_reset = OffsetReset::Latest;
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config.clone());
    let registry = client.registry.watch();
    eventually("the start is committed", async || {
        let status = registry.borrow();
        let partitions = &status.group.partitions;
        (partitions.len() == 3 && partitions.iter().all(|partition| partition.committed >= 0)).then_some(())
    })
    .await;
    consumer.stop().await;
    // Records that arrive while the group is empty are not skipped.
    producer.publish(message("one", "new")).await.unwrap();
    let client = cluster.client();
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    eventually("the new one is handled", async || (recorder.count() == 1).then_some(())).await;
    assert_eq!(recorder.values(), ["new"]);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_stops_nothing_for_good_and_skips_nothing() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    for value in ["before", "panic", "after"] {
        producer.publish(message("one", value)).await.unwrap();
    }
    eventually("all are handled", async || {
        let values = recorder.values();
        ["before", "panic", "after"].iter().all(|value| values.contains(&(*value).to_owned())).then_some(())
    })
    .await;
    consumer.stop().await;
}

/// Fails when a partition whose time to go on comes while another is seen to is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_whose_handlers_panic_at_nearly_the_same_time_all_go_on() {
    const PARTITIONS: i32 = 40;

    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic_named(&cluster.topic, PARTITIONS));
    for partition in 0..PARTITIONS {
        let record = Message { partition: Some(partition), ..message("any", "panic") };
        producer.publish(record).await.unwrap();
    }
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let all = PARTITIONS as usize;
    eventually("all are handled", async || (recorder.count() == all).then_some(())).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_with_a_backlog_progresses_and_keeps_its_place_and_a_stop_loses_nothing_of_it() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    for _ in 0..100 {
        producer.publish(message("one", "slow")).await.unwrap();
    }
    let recorder = Arc::new(Recorder::default());
    // All of them take longer than this, and one of them does not.
    let config = client.consumer_config().with_max_processing(Duration::from_millis(500));
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config.clone());
    let registry = client.registry.watch();
    eventually("what is handled is committed while it is at the rest", async || {
        let committed: i64 =
            registry.borrow().group.partitions.iter().map(|found| found.committed.max(0)).sum();
        (committed >= 40).then_some(())
    })
    .await;
    assert!(recorder.count() < 100, "it is not at the rest any more");
    consumer.stop().await;
    assert!(recorder.count() < 100, "it is not stopped in the middle");

    let client = cluster.client();
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    eventually("the rest is handled", async || (recorder.times().len() == 100).then_some(())).await;
    assert!(recorder.times().values().all(|times| *times == 1), "{:?}", recorder.times());
    consumer.stop().await;
}
