//! Redrives of dead letters.

mod concurrent;
mod listed;
mod unread;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use highwater_kafka::{
    DlqPublisher, Message, Publisher as _, Record, TopicConfig,
    dead_letter::{
        DeadLetter, DlqFilter, DlqPosition, DlqReader, ORIGIN, REDRIVES, RedriveError, RedriveReport,
        RedriveSelection, Redriver, TIMESTAMP, TOPIC, TRUNCATED,
    },
};
use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};
use rskafka::record::RecordAndOffset;
use tokio::time::Instant;

use crate::support::{Client, Recorder, TestCluster, eventually};

const MOST: u32 = 2;

/// A process that sees to the dead letters.
struct DlqClient {
    reader: DlqReader,
    redriver: Redriver,
}

impl DlqClient {
    fn of(client: &Client, cluster: &TestCluster) -> Self {
        let patience = Duration::from_secs(5);
        let reader =
            DlqReader::new(Arc::clone(&client.cluster), client.dead_letter_topic(), 64 * 1024, patience);
        let source = client.producer(client.topic());
        let redriver = Redriver::new(reader.clone(), source, &cluster.topic, &client.consumer_config(), MOST);
        Self { reader, redriver }
    }

    async fn redrive(&self, selection: &RedriveSelection) -> RedriveReport {
        self.try_to_redrive(selection).await.unwrap()
    }

    async fn try_to_redrive(&self, selection: &RedriveSelection) -> Result<RedriveReport, RedriveError> {
        self.redriver.redrive(selection, Instant::now() + Duration::from_secs(40)).await
    }

    /// The dead letters in pages of so many, the newest first.
    async fn pages(&self, filter: &DlqFilter, limit: usize) -> Vec<Vec<DeadLetter>> {
        let (mut pages, mut place) = (Vec::new(), None);
        loop {
            let page = self.reader.newest(filter, place.as_ref(), limit).await.unwrap();
            pages.push(page.dead_letters);
            match page.next {
                Some(next) => place = Some(next),
                None => return pages,
            }
        }
    }
}

/// Everything was seen to, and so many dead letters were sent back.
fn complete(redriven: u64) -> RedriveReport {
    RedriveReport { redriven, complete: true, ..RedriveReport::default() }
}

/// A record of the source topic before it became a dead letter.
fn record(number: usize, value: impl Into<Bytes>) -> Record {
    Record {
        partition: (number % 3) as i32,
        offset: number as i64,
        leader_epoch: None,
        timestamp: DateTime::from_timestamp_millis(1_790_000_000_000 + number as i64).unwrap(),
        key: Some(Bytes::from(format!("user-{number}"))),
        value: Some(value.into()),
        headers: [("trace", Some(Bytes::from_static(b"\x00\xff")))].into_iter().collect(),
    }
}

/// Sets so many records aside, whose reasons are `odd` and `even`; returns where.
async fn send_to_dlq(
    client: &Client,
    cluster: &TestCluster,
    numbers: std::ops::Range<usize>,
) -> Vec<DlqPosition> {
    let dead_letters =
        DlqPublisher::new(client.producer(client.dead_letter_topic()), &cluster.topic, "group");
    let mut positions = Vec::new();
    for number in numbers {
        let reason = ["it is even", "it is odd"][number % 2];
        let at = dead_letters.send_to_dlq(&record(number, format!("value-{number}")), reason).await.unwrap();
        positions.push(DlqPosition { partition: at.partition, offset: at.offset.unwrap() });
    }
    positions
}

fn value(record: &RecordAndOffset) -> String {
    String::from_utf8(record.record.value.clone().unwrap()).unwrap()
}

/// The values that are in the source, in no order.
async fn sent_back(cluster: &TestCluster) -> Vec<String> {
    let mut values: Vec<_> =
        cluster.records(&cluster.topic).await.iter().map(|(_, record)| value(record)).collect();
    values.sort();
    values
}

fn values(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut values: Vec<_> = numbers.into_iter().map(|number| format!("value-{number}")).collect();
    values.sort();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_goes_back_as_it_was_to_where_it_was_with_its_redrives_counted() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..9).await;
    let dlq = DlqClient::of(&client, &cluster);
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(9));
    let found = cluster.records(&cluster.topic).await;
    assert_eq!(found.len(), 9);
    for (partition, found) in found {
        let number: usize = value(&found).strip_prefix("value-").unwrap().parse().unwrap();
        let was = record(number, "");
        assert_eq!(partition, was.partition, "{number}");
        assert_eq!(found.record.key, was.key.map(|key| key.to_vec()));
        assert_eq!(found.record.timestamp.timestamp_millis(), was.timestamp.timestamp_millis());
        let headers: Vec<_> = found.record.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let origin = format!("{}/{}", was.partition, was.offset);
        let expected = [(ORIGIN, origin.as_bytes()), (REDRIVES, &b"1"[..]), ("trace", &b"\x00\xff"[..])];
        assert_eq!(headers, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_older_than_its_topic_takes_goes_back_with_the_time_of_now() {
    // Kafka 3.4 has another name for the setting.
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(3, &[("message.timestamp.before.max.ms", "3600000")]).await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..2).await;
    let dlq = DlqClient::of(&client, &cluster);
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(2));
    for (_, found) in cluster.records(&cluster.topic).await {
        let number: usize = value(&found).strip_prefix("value-").unwrap().parse().unwrap();
        let was = record(number, "").timestamp.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        assert_eq!(found.record.headers[TIMESTAMP], was.into_bytes());
        assert!(found.record.timestamp > Utc::now() - chrono::TimeDelta::hours(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_back_of_a_topic_that_was_made_again_says_nothing_of_the_dead_letters_that_are_there_now()
 {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..9).await;
    let dlq = DlqClient::of(&client, &cluster);
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(9));
    let name = format!("{}.dlq", cluster.topic);
    let dead_letters = TestCluster {
        brokers: cluster.brokers.clone(),
        embedded: None,
        group: format!("{name}.redrive"),
        topic: name,
    };
    let mut noted = Vec::new();
    for partition in 0..3 {
        noted.push(dead_letters.noted_of(partition).await);
    }
    dead_letters.make_topic_again(3).await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 9..18).await;
    for (partition, noted) in (0..).zip(&noted).filter(|(_, noted)| noted.0 >= 0) {
        dead_letters.commit_noted(partition, noted).await;
    }
    assert_eq!(DlqClient::of(&client, &cluster).redrive(&RedriveSelection::All).await, complete(9));
    assert_eq!(sent_back(&cluster).await, values(0..18));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_back_is_not_sent_again_however_it_is_asked_for() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let positions = send_to_dlq(&client, &cluster, 0..10).await;
    let dlq = DlqClient::of(&client, &cluster);
    let odd = RedriveSelection::Reason("odd".to_owned());
    let some = |numbers: &[usize]| {
        RedriveSelection::Positions(numbers.iter().map(|number| positions[*number]).collect::<BTreeSet<_>>())
    };
    assert_eq!(dlq.redrive(&some(&[2, 3])).await, complete(2));
    assert_eq!(sent_back(&cluster).await, values([2, 3]));
    let again = RedriveReport { already: 1, ..complete(1) };
    assert_eq!(dlq.redrive(&some(&[3, 4])).await, again);
    assert_eq!(dlq.redrive(&odd).await, complete(4), "but for 3");
    assert_eq!(sent_back(&cluster).await, values([1, 2, 3, 4, 5, 7, 9]));
    // Another process knows as much.
    let other = cluster.client();
    let other = DlqClient::of(&other, &cluster);
    assert_eq!(other.redrive(&odd).await, complete(0));
    assert_eq!(other.redrive(&RedriveSelection::All).await, complete(3));
    assert_eq!(sent_back(&cluster).await, values(0..10));
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(0));
    send_to_dlq(&client, &cluster, 10..12).await;
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(2));
    assert_eq!(sent_back(&cluster).await, values(0..12));
    // Places where no dead letter is.
    let nowhere =
        [(0, 1 << 40), (99, 0), (-1, 0)].map(|(partition, offset)| DlqPosition { partition, offset });
    let missing = RedriveReport { missing: 3, ..complete(0) };
    assert_eq!(dlq.redrive(&RedriveSelection::Positions(nowhere.into())).await, missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_back_too_often_is_cut_or_is_not_from_here_stays() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let dead_letters = client.producer(client.dead_letter_topic());
    let write = async |headers: &[(&str, &str)], value: &str| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        let message = Message {
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: headers.iter().map(owned).collect(),
            timestamp: Utc::now(),
            partition: Some(0),
        };
        dead_letters.publish(message).await.unwrap()
    };
    let here = (TOPIC, &*cluster.topic);
    write(&[here, (REDRIVES, "2")], "exhausted").await;
    write(&[here, (REDRIVES, "1")], "once more").await;
    write(&[here, (REDRIVES, "many")], "exhausted").await;
    write(&[here, (TRUNCATED, "99999")], "the beginning").await;
    write(&[(TOPIC, "another-topic")], "foreign").await;
    write(&[], "a stranger's").await;
    let dlq = DlqClient::of(&client, &cluster);
    let stays = RedriveReport { exhausted: 2, truncated: 1, foreign: 2, ..complete(1) };
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, stays);
    assert_eq!(sent_back(&cluster).await, ["once more"]);
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, RedriveReport { redriven: 0, ..stays });
    let first = RedriveSelection::Positions([DlqPosition { partition: 0, offset: 0 }].into());
    assert_eq!(dlq.redrive(&first).await, RedriveReport { exhausted: 1, ..complete(0) });
    assert_eq!(dlq.pages(&DlqFilter::default(), 10).await[0].len(), 6, "all of them are still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_again_comes_back_once_a_redrive_until_it_stays() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let handler = Arc::new(Recorder::default());
    let consumer = client.consumer(handler.clone());
    let poison = Message {
        key: Some(b"user-1".to_vec()),
        value: Some(b"poison".to_vec()),
        headers: Vec::new(),
        timestamp: Utc::now(),
        partition: None,
    };
    let first = client.producer(client.topic()).publish(poison).await.unwrap();
    let origin = format!("{}/{}", first.partition, first.offset.unwrap()).into_bytes();
    let dlq = DlqClient::of(&client, &cluster);
    let filter = DlqFilter::default();
    for redrives in 0..=MOST {
        let dead_letters = eventually("it is in the dead letters", async || {
            let dead_letters = dlq.pages(&filter, 10).await.concat();
            (dead_letters.len() > redrives as usize).then_some(dead_letters)
        })
        .await;
        assert_eq!(dead_letters.len(), redrives as usize + 1, "once");
        assert_eq!(dead_letters[0].redrives, redrives, "the newest is the first");
        assert_eq!(
            (dead_letters[0].reason.as_str(), dead_letters[0].own_headers().count()),
            ("it is poison", 0)
        );
        let report = dlq.redrive(&RedriveSelection::All).await;
        let goes = u64::from(redrives < MOST);
        assert_eq!(report, RedriveReport { exhausted: 1 - goes, ..complete(goes) });
        cluster.until_committed_to_the_end().await;
    }
    assert_eq!(dlq.pages(&filter, 10).await.concat().len(), MOST as usize + 1);
    let sent_back = cluster.records(&cluster.topic).await.into_iter().skip(1);
    for (_, found) in sent_back {
        assert_eq!(found.record.headers[ORIGIN], origin, "where it was first");
    }
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_stays_and_goes_the_next_time() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..20).await;
    let dlq = DlqClient::of(&client, &cluster);
    assert_eq!(dlq.redrive(&RedriveSelection::Reason("no such".to_owned())).await, complete(0));
    let faults = cluster.broker().faults();
    faults.always(ApiKey::Produce, Fault::Refuse(ResponseError::TopicAuthorizationFailed));
    let report = dlq.redrive(&RedriveSelection::All).await;
    assert_eq!((report.redriven, report.complete), (0, false));
    assert!(report.stopped.unwrap().contains("stays"));
    faults.clear();
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(20));
    assert_eq!(sent_back(&cluster).await, values(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_its_topic_refuses_for_good_stays_and_keeps_no_other() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let small = TopicConfig::new(&cluster.topic)
        .with_partitions(3)
        .with_retention(None)
        .with_max_message_bytes(10_000);
    let source = client.topic_of(small);
    eventually("the source is there", async || (source.partitions() == 3).then_some(())).await;
    send_to_dlq(&client, &cluster, 0..3).await;
    let dead_letters =
        DlqPublisher::new(client.producer(client.dead_letter_topic()), &cluster.topic, "group");
    dead_letters.send_to_dlq(&record(3, vec![b'x'; 20_000]), "large").await.unwrap();
    send_to_dlq(&client, &cluster, 4..12).await;
    let dlq = DlqClient::of(&client, &cluster);
    let refused = |redriven| RedriveReport { refused: 1, ..complete(redriven) };
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, refused(11));
    assert_eq!(dlq.redrive(&RedriveSelection::Reason("large".to_owned())).await, refused(0));
    assert_eq!(sent_back(&cluster).await, values((0..3).chain(4..12)));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_were_cut_below_what_was_sent_back_are_not_sent_from_their_beginning() {
    let cluster = TestCluster::embedded().await;
    let client = cluster.client();
    let mut last = None;
    for _ in 0..4 {
        last = send_to_dlq(&client, &cluster, 0..1).await.pop();
    }
    let dlq = DlqClient::of(&client, &cluster);
    assert_eq!(dlq.redrive(&RedriveSelection::All).await, complete(4));
    cluster.broker().truncate(&format!("{}.dlq", cluster.topic), last.unwrap().partition, 2);
    let report = dlq.redrive(&RedriveSelection::All).await;
    assert!(!report.complete && report.redriven == 0, "{report:?}");
    assert!(report.stopped.unwrap().contains("cut or made anew"));
    assert_eq!(sent_back(&cluster).await, ["value-0"; 4]);
}
