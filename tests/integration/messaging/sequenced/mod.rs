//! Poison in order: later records of a key wait behind one that is set aside.

mod bounds;
mod leases;
mod members;
mod typed;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use highwater_kafka::{
    BatchOutcome, Consumer, ConsumerConfig, DlqPublisher, Message, Poison, Publisher as _, Record,
    RecordHandler, TransientError,
    dead_letter::{
        BEHIND, DlqFilter, DlqPosition, DlqReader, REDRIVES, RedriveReport, RedriveSelection, Redriver,
        SEQUENCE, Sequence, SequenceBounds, SequencedDeadLetters, SequencedHandler, VERDICT, VerdictError,
        WaitingCounts,
    },
};
use tokio::time::Instant;

use super::producing::message;
use crate::support::{Client, TestCluster, eventually};

/// Keeps what it processes. A value is poison that begins with `bad`, unless it is mended.
#[derive(Default)]
struct FakeHandler {
    processed: Mutex<Vec<Record>>,
    mended: Mutex<BTreeSet<String>>,
    /// The time that a record takes, in milliseconds.
    slow: AtomicU64,
    /// Whether nothing can be processed now.
    is_away: AtomicBool,
}

impl FakeHandler {
    fn mend(&self, value: &str) {
        self.mended.lock().unwrap().insert(value.to_owned());
    }

    fn values_of(&self, key: &str) -> Vec<String> {
        let processed = self.processed.lock().unwrap();
        processed.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes())).map(value).collect()
    }

    fn record(&self, of: &str) -> Record {
        self.processed.lock().unwrap().iter().find(|record| value(record) == of).unwrap().clone()
    }
}

#[async_trait]
impl RecordHandler for FakeHandler {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        for (index, record) in records.iter().enumerate() {
            let value = value(record);
            if let slow @ 1.. = self.slow.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(slow)).await;
            }
            if self.is_away.load(Ordering::Relaxed) {
                return BatchOutcome::retry_from(index, TransientError::new("the handler is away"));
            }
            if value.starts_with("bad") && !self.mended.lock().unwrap().contains(&value) {
                outcome.poison.push(Poison::new(index, format!("{value} is bad")));
            } else {
                self.processed.lock().unwrap().push(record.clone());
            }
        }
        outcome
    }
}

fn value(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

fn reader(client: &Client) -> DlqReader {
    let patience = Duration::from_secs(10);
    DlqReader::new(Arc::clone(&client.cluster), client.dead_letter_topic(), 64 * 1024, patience)
}

/// A member of the group with poison in order, and how much waits.
fn start(
    client: &Client,
    cluster: &TestCluster,
    fake: &Arc<FakeHandler>,
    bounds: SequenceBounds,
) -> (Consumer, WaitingCounts) {
    start_with(client, cluster, fake, bounds, client.consumer_config())
}

fn start_with(
    client: &Client,
    cluster: &TestCluster,
    fake: &Arc<FakeHandler>,
    bounds: SequenceBounds,
    config: ConsumerConfig,
) -> (Consumer, WaitingCounts) {
    let counts = WaitingCounts::default();
    let dead_letters =
        DlqPublisher::new(client.producer(client.dead_letter_topic()), &cluster.topic, &cluster.group);
    let handler = Arc::clone(fake) as Arc<dyn RecordHandler>;
    let registry = Arc::clone(&client.registry);
    let handler = SequencedHandler::new(handler, reader(client), dead_letters, bounds, registry)
        .with_counts(counts.clone());
    (client.consumer_with(Arc::new(handler), config), counts)
}

/// What an operator has in hand.
fn operator(client: &Client, cluster: &TestCluster) -> SequencedDeadLetters {
    let publisher = client.producer(client.dead_letter_topic());
    SequencedDeadLetters::new(reader(client), publisher, &cluster.topic, &cluster.group)
}

fn position(sequence: &Sequence) -> DlqPosition {
    let record = &sequence.head.record;
    DlqPosition { partition: record.partition, offset: record.offset }
}

/// The one key that waits, with so many dead letters.
async fn waiting(operator: &SequencedDeadLetters, letters: usize) -> Sequence {
    eventually("one key waits, with all its letters", async || {
        let mut sequences = operator.sequences().await.unwrap();
        sequences.pop().filter(|one| one.letters == letters && sequences.is_empty())
    })
    .await
}

async fn publish(client: &Client, records: &[(&str, &str)]) {
    let producer = client.producer(client.topic());
    for (key, value) in records {
        producer.publish(message(key, *value)).await.unwrap();
    }
}

async fn until_processed(fake: &FakeHandler, key: &str, values: &[&str]) {
    eventually(&format!("{values:?} of {key} are processed"), async || {
        (fake.values_of(key).len() >= values.len()).then_some(())
    })
    .await;
    assert_eq!(fake.values_of(key), values, "of {key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn later_records_of_a_key_wait_behind_its_poison_and_come_in_order_when_it_is_redriven() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    // They are there before the consumer is, so that a batch has several of a key.
    let records =
        [("one", "1"), ("one", "bad 2"), ("one", "3"), ("one", "4"), ("user-1", "a"), ("foobar", "b")];
    publish(&client, &records).await;
    let (consumer, counts) = start(&client, &cluster, &fake, SequenceBounds::default());
    for (key, value) in [("user-1", "a"), ("foobar", "b"), ("one", "1")] {
        until_processed(&fake, key, &[value]).await;
    }
    let operator = operator(&client, &cluster);
    let sequence = waiting(&operator, 3).await;
    assert_eq!(
        (sequence.head.reason.as_str(), value(&sequence.head.record).as_str()),
        ("bad 2 is bad", "bad 2")
    );
    assert_eq!((counts.total().keys, counts.total().letters), (1, 3));
    cluster.until_committed_to_the_end().await;
    assert_eq!(fake.values_of("one"), ["1"]);

    // It is poison still: it is set aside again, with that told, and the others wait on.
    operator.redrive(position(&sequence)).await.unwrap();
    let again = eventually("it is set aside again", async || {
        let head = waiting(&operator, 3).await;
        (head.head.redrives == 1).then_some(head)
    })
    .await;
    assert_eq!(again.head.source.offset, sequence.head.source.offset);
    assert_eq!(fake.values_of("one"), ["1"]);

    fake.mend("bad 2");
    operator.redrive(position(&again)).await.unwrap();
    until_processed(&fake, "one", &["1", "bad 2", "3", "4"]).await;
    eventually("nothing waits", async || (counts.total().letters == 0).then_some(())).await;
    // The handler gets records as they were in the log, with the redrives.
    let (first, third) = (fake.record("bad 2"), fake.record("3"));
    assert_eq!(Some(first.offset), sequence.head.source.offset);
    assert_eq!(first.headers.last(REDRIVES), Some(&b"2"[..]));
    assert!(third.offset > first.offset && third.headers.is_empty(), "{third:?}");
    publish(&client, &[("one", "5")]).await;
    until_processed(&fake, "one", &["1", "bad 2", "3", "4", "5"]).await;
    assert_eq!(operator.sequences().await.unwrap(), []);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_dropped_record_the_others_go_on_without_it() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "bad 1"), ("one", "2"), ("one", "bad 3"), ("one", "4")]).await;
    let operator = operator(&client, &cluster);
    let first = waiting(&operator, 4).await;
    let behind = DlqPosition { offset: position(&first).offset + 1, ..position(&first) };
    let refused = operator.redrive(behind).await;
    assert!(matches!(refused, Err(VerdictError::Behind(at)) if at == behind), "{refused:?}");
    let nothing = DlqPosition { offset: 99, ..behind };
    let refused = operator.drop(nothing).await;
    assert!(matches!(refused, Err(VerdictError::Missing(at)) if at == nothing), "{refused:?}");

    operator.drop(position(&first)).await.unwrap();
    until_processed(&fake, "one", &["2"]).await;
    let second = waiting(&operator, 2).await;
    assert_eq!(value(&second.head.record), "bad 3");
    operator.drop(position(&second)).await.unwrap();
    until_processed(&fake, "one", &["2", "4"]).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_processed_now_is_tried_again_and_its_key_waits() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "bad 1"), ("one", "2")]).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 2).await;
    fake.mend("bad 1");
    fake.is_away.store(true, Ordering::Relaxed);
    operator.redrive(position(&head)).await.unwrap();
    let registry = client.registry.watch();
    eventually("it says so", async || {
        let error = registry.borrow().kafka.error.clone();
        error.filter(|error| error.contains("the handler is away"))
    })
    .await;
    assert_eq!(operator.sequences().await.unwrap().len(), 1);
    fake.is_away.store(false, Ordering::Relaxed);
    until_processed(&fake, "one", &["bad 1", "2"]).await;
    eventually("all is well", async || registry.borrow().kafka.error.is_none().then_some(())).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_come_during_a_redrive_do_not_overtake() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, counts) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "bad 0")]).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 1).await;
    let producing = {
        let producer = client.producer(client.topic());
        tokio::spawn(async move {
            for number in 1..400 {
                producer.publish(message("one", format!("{number}"))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    eventually("some wait", async || (counts.total().letters > 50).then_some(())).await;
    fake.mend("bad 0");
    operator.redrive(position(&head)).await.unwrap();
    producing.await.unwrap();
    let expected: Vec<String> =
        (0..400).map(|number| if number == 0 { "bad 0".to_owned() } else { number.to_string() }).collect();
    eventually("all are processed", async || (fake.values_of("one").len() >= 400).then_some(())).await;
    assert_eq!(fake.values_of("one"), expected);
    eventually("nothing waits", async || (counts.total().letters == 0).then_some(())).await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_sequence_are_not_sent_back_and_verdicts_are_not_listed() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    publish(&client, &[("one", "bad 1"), ("one", "2")]).await;
    let operator = operator(&client, &cluster);
    operator.drop(position(&waiting(&operator, 2).await)).await.unwrap();
    until_processed(&fake, "one", &["2"]).await;
    eventually("nothing waits", async || operator.sequences().await.unwrap().is_empty().then_some(())).await;

    let listed = reader(&client).newest(&DlqFilter::default(), None, 10).await.unwrap().dead_letters;
    let listed: Vec<String> = listed.iter().map(|letter| value(&letter.record)).collect();
    assert_eq!(listed, ["2", "bad 1"]);
    let source = client.producer(client.topic());
    let redriver = Redriver::new(reader(&client), source, &cluster.topic, &client.consumer_config(), 3);
    let until = Instant::now() + Duration::from_secs(40);
    let report = redriver.redrive(&RedriveSelection::All, until).await.unwrap();
    // Two letters, and two verdicts: the operator's, and that the second one is processed.
    assert_eq!(report, RedriveReport { foreign: 4, complete: true, ..RedriveReport::default() });
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_record_that_are_named_as_those_of_sequences_change_nothing() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let fake = Arc::<FakeHandler>::default();
    let (consumer, _) = start(&client, &cluster, &fake, SequenceBounds::default());
    let producer = client.producer(client.topic());
    for value in ["bad 1", "2"] {
        let forged = [(VERDICT, "done"), (BEHIND, "0"), (SEQUENCE, "another")];
        let headers = forged.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        producer.publish(Message { headers, ..message("one", value) }).await.unwrap();
    }
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 2).await;
    let listed = reader(&client).newest(&DlqFilter::default(), None, 10).await.unwrap().dead_letters;
    assert_eq!(listed.len(), 2);
    fake.mend("bad 1");
    operator.redrive(position(&head)).await.unwrap();
    until_processed(&fake, "one", &["bad 1", "2"]).await;
    consumer.stop().await;
}
