//! Every legal log is read to its end, whoever wrote it; an illegal one stops its partition, and says so.

use std::{cell::Cell, sync::Arc};

use bytes::Bytes;
use highwater::{
    embedded::Fault,
    messaging::{Consumer, OffsetReset, Record},
};
use kafka_protocol::{ResponseError, messages::ApiKey, records::Compression};

use crate::support::{Batch, Client, Recorder, TestCluster, TransactionalProducer, eventually, rewritten};

/// Reads the topic until its lag is 0, with fetches of so many bytes.
async fn read_all(cluster: &TestCluster, partitions: i32, fetch_max_bytes: i32) -> Vec<Record> {
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let mut config = client.consumer_config();
    config.fetch_max_bytes = fetch_max_bytes;
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    cluster.reaches_lag_0(partitions).await;
    consumer.stop().await;
    recorder.records()
}

fn values(records: &[Record]) -> Vec<String> {
    let value = |record: &Record| record.value.clone().map(|value| String::from_utf8(value.into()).unwrap());
    records.iter().map(|record| value(record).unwrap_or_else(|| "null".to_owned())).collect()
}

fn value_at(record: &Record, name: &str) -> Option<Bytes> {
    record.headers.iter().rfind(|(found, _)| found == name).and_then(|(_, value)| value.clone())
}

const WHOLE: i32 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn committed_transactions_are_read_and_aborted_ones_are_not() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(2, &[]).await;
    let mut one = TransactionalProducer::start(&cluster, "one").await;
    let mut two = TransactionalProducer::start(&cluster, "two").await;
    cluster.produce(0, Batch::of(&["plain 1"]).encode()).await;
    one.send(0, &["committed 1", "committed 2"]).await;
    two.send(0, &["aborted 1"]).await;
    cluster.produce(0, Batch::of(&["plain 2"]).encode()).await;
    one.send(1, &["committed 3"]).await;
    two.send(1, &["aborted 2"]).await;
    one.commit().await;
    two.send(0, &["aborted 3"]).await;
    two.abort().await;
    two.send(0, &["committed 4"]).await;
    one.send(0, &["aborted 4"]).await;
    two.commit().await;
    one.abort().await;

    let records = read_all(&cluster, 2, WHOLE).await;
    let of = |partition| records.iter().filter(move |record| record.partition == partition).cloned();
    assert_eq!(
        values(&of(0).collect::<Vec<_>>()),
        ["plain 1", "committed 1", "committed 2", "plain 2", "committed 4"]
    );
    assert_eq!(values(&of(1).collect::<Vec<_>>()), ["committed 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_aborted_transaction_larger_than_a_fetch_nothing_is_read() {
    let mut cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut producer = TransactionalProducer::start(&cluster, "large").await;
    let large = "x".repeat(600);
    for round in 0..3 {
        cluster.produce(0, Batch::of(&[format!("before {round}")]).encode()).await;
        for batch in 0..5 {
            producer.send(0, &[format!("aborted {round} {batch} {large}")]).await;
        }
        cluster.produce(0, Batch::of(&[format!("between {round}")]).encode()).await;
        for batch in 0..5 {
            producer.send(0, &[format!("aborted {round} {batch} {large}")]).await;
        }
        producer.abort().await;
        cluster.produce(0, Batch::of(&[format!("after {round}")]).encode()).await;
    }
    // A fetch has room for two batches, or for one: it ends inside a transaction.
    for fetch_max_bytes in [1_500, 100] {
        let records = read_all(&cluster, 1, fetch_max_bytes).await;
        let expected: Vec<String> = (0..3)
            .flat_map(|round| ["before", "between", "after"].map(|place| format!("{place} {round}")))
            .collect();
        assert_eq!(values(&records), expected, "fetches of {fetch_max_bytes} bytes");
        cluster.group.push_str("-again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_the_reader_until_it_ends() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut producer = TransactionalProducer::start(&cluster, "open").await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let first = producer.send(0, &["within 1"]).await;
    cluster.produce(0, Batch::of(&["plain"]).encode()).await;

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    eventually("it is read up to the transaction", async || {
        (cluster.committed_of(0).await == first).then_some(())
    })
    .await;
    producer.send(0, &["within 2"]).await;
    assert_eq!(recorder.values(), ["before"]);
    producer.commit().await;
    cluster.reaches_lag_0(1).await;
    assert_eq!(recorder.values(), ["before", "within 1", "plain", "within 2"]);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_may_be_null_and_names_may_repeat() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(2, &[]).await;
    let null = Batch::of(&["null"]).header("without", None).header("with", Some("a value"));
    let repeated = Batch::of(&["repeated"]).header("name-1", Some("first")).header("name-2", Some("last"));
    let repeated = rewritten(&rewritten(&repeated.encode(), "name-1", "name-0"), "name-2", "name-0");
    // In one partition a log that rskafka reads, in the other one that it does not.
    for batch in [null.encode(), repeated.clone()] {
        cluster.produce(0, batch).await;
    }
    cluster.produce(1, repeated).await;
    cluster.produce(1, Batch::of(&["after"]).encode()).await;

    let records = read_all(&cluster, 2, WHOLE).await;
    assert_eq!(records.len(), 4);
    for record in records {
        match record.value.as_deref() {
            Some(b"null") => {
                assert!(record.headers.contains(&("without".to_owned(), None)), "{record:?}");
                assert_eq!(value_at(&record, "with").as_deref(), Some(&b"a value"[..]));
            }
            Some(b"repeated") => {
                assert_eq!(value_at(&record, "name-0").as_deref(), Some(&b"last"[..]));
            }
            _ => assert!(record.headers.is_empty()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_is_read() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut expected = Vec::new();
    for codec in codecs {
        let sent: Vec<String> = (0..50).map(|number| format!("{codec:?} {number}")).collect();
        cluster.produce(0, Batch::of(&sent).compressed(codec).encode()).await;
        expected.extend(sent);
    }
    assert_eq!(values(&read_all(&cluster, 1, WHOLE).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_compressed_by_its_broker_is_read() {
    for codec in ["zstd", "lz4", "snappy", "gzip"] {
        let cluster = TestCluster::start().await;
        cluster.create_topic(1, &[("compression.type", codec)]).await;
        let sent: Vec<String> = (0..50).map(|number| format!("{codec} {number}")).collect();
        for part in sent.chunks(10) {
            cluster.produce(0, Batch::of(part).encode()).await;
        }
        assert_eq!(values(&read_all(&cluster, 1, WHOLE).await), sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_is_read_over_its_gaps_to_its_empty_end() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(2, &[("cleanup.policy", "compact")]).await;
    // Gaps within a batch, at both ends of one, and of a whole batch.
    let pairs =
        [("a", Some("a1")), ("b", Some("b1")), ("a", Some("a2")), ("c", Some("c1")), ("a", Some("a3"))];
    cluster.produce(0, Batch::keyed(&pairs).compressed(Compression::Gzip).encode()).await;
    cluster.produce(0, Batch::keyed(&[("a", Some("a4")), ("a", Some("a5"))]).encode()).await;
    cluster.produce(0, Batch::keyed(&[("c", Some("c2")), ("a", Some("a6"))]).encode()).await;
    // In the other partition the tail is a batch without any record.
    cluster.produce(1, Batch::keyed(&[("x", Some("x1")), ("y", Some("y1")), ("x", None)]).encode()).await;
    cluster.produce(1, Batch::of(&["without a key"]).without_keys().encode()).await;
    cluster.broker().compact(&cluster.topic);

    let records = read_all(&cluster, 2, WHOLE).await;
    let mut placed: Vec<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    placed.sort_unstable();
    assert_eq!(placed, [(0, 1), (0, 7), (0, 8), (1, 1), (1, 2)]);
    let mut values = values(&records);
    values.sort_unstable();
    assert_eq!(values, ["a6", "b1", "c2", "null", "y1"]);
    assert_eq!((cluster.end_of(0).await, cluster.end_of(1).await), (9, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_kafkas_cleaner_compacted_is_read_to_its_end() {
    let cluster = TestCluster::start().await;
    if cluster.embedded.is_some() {
        return; // the test above is its own
    }
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "500"),
        ("delete.retention.ms", "0"),
    ];
    cluster.create_topic(1, &configs).await;
    let keys = ["a", "b", "c"];
    let rounds = Cell::new(0);
    // The cleaner comes by every 15 s and leaves the active segment alone: what is written goes on until
    // the log begins with a gap.
    eventually("the cleaner was there", async || {
        for key in keys {
            let pair = (key, Some(format!("{key}{}", rounds.get())));
            cluster.produce(0, Batch::keyed(&[(pair.0, pair.1.as_deref())]).encode()).await;
        }
        rounds.set(rounds.get() + 1);
        let mut leader = cluster.leader(0).await;
        let first = leader.fetch(&cluster.topic, 0, 0, WHOLE, 0).await.unwrap();
        (first.records.first()?.offset > 3).then_some(())
    })
    .await;
    let records = read_all(&cluster, 1, WHOLE).await;
    let newest: Vec<String> = keys.iter().map(|key| format!("{key}{}", rounds.get() - 1)).collect();
    assert!(values(&records).ends_with(&newest));
    assert!(records.len() < rounds.get() * keys.len(), "something was compacted away");
    assert!(records.is_sorted_by_key(|record| record.offset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_batch_stops_its_partition_loudly_and_no_other() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(2, &[]).await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let mut corrupt = Batch::of(&["corrupt"]).encode().to_vec();
    let last = corrupt.len() - 3;
    corrupt[last] ^= 0xff;
    let at = cluster.broker().append_raw(&cluster.topic, 0, corrupt.into()).unwrap();
    cluster.produce(0, Batch::of(&["behind"]).encode()).await;

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let board = client.board.watch();
    let error = eventually("the board says why it stands still", async || {
        board.borrow().group.partitions.iter().find(|found| found.partition == 0)?.error.clone()
    })
    .await;
    assert!(error.contains(&format!("offset {at}")), "{error}");
    cluster.produce(1, Batch::of(&["another"]).encode()).await;
    eventually("the other partition goes on", async || (cluster.committed_of(1).await == 1).then_some(()))
        .await;
    consumer.stop().await;
    assert_eq!(recorder.values(), ["before", "another"]);
    assert_eq!(cluster.committed_of(0).await, at, "it is not skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lies_about_its_headers_stops_its_partition_and_costs_no_memory() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    // Two billion headers: the five bytes of the value become the number of headers, behind an empty value.
    let lie = Batch::of(&["\u{1}....."]).encode();
    let (value, number) = ("\u{c}\u{1}.....\0", [0x00, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00]);
    let at = lie.windows(8).position(|bytes| bytes == value.as_bytes()).unwrap();
    let mut bytes = lie.to_vec();
    bytes[at..at + 8].copy_from_slice(&number);
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    cluster.broker().append_raw(&cluster.topic, 0, bytes.into()).unwrap();

    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    let board = client.board.watch();
    eventually("the board says why it stands still", async || {
        board.borrow().group.partitions.first()?.error.clone()
    })
    .await;
    consumer.stop().await;
    assert_eq!((recorder.count(), cluster.committed_of(0).await), (0, 0));
}

/// A consumer that has read the topic to its end, where rskafka reads on.
async fn at_the_end(cluster: &TestCluster) -> (Client, Arc<Recorder>, Consumer) {
    cluster.create_topic(1, &[]).await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    cluster.reaches_lag_0(1).await;
    (client, recorder, consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_unpacks_beyond_all_bounds_stops_its_partition_also_at_the_logs_end() {
    let cluster = TestCluster::embedded().await;
    let (client, recorder, consumer) = at_the_end(&cluster).await;
    let zeros = "\0".repeat(129 * 1024 * 1024);
    let bomb = Batch::of(&[zeros]).compressed(Compression::Zstd).encode();
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    let at = cluster.broker().append_raw(&cluster.topic, 0, bomb).unwrap();
    let board = client.board.watch();
    let error = eventually("the board says why it stands still", async || {
        board.borrow().group.partitions.first()?.error.clone()
    })
    .await;
    assert!(error.contains(&format!("offset {at}")) && error.contains("more than"), "{error}");
    consumer.stop().await;
    assert_eq!((recorder.values(), cluster.committed_of(0).await), (vec!["before".to_owned()], at));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_one_name_are_all_kept_also_at_the_logs_end() {
    let cluster = TestCluster::start().await;
    let (_client, recorder, consumer) = at_the_end(&cluster).await;
    let twice = Batch::of(&["twice"]).header("name-1", Some("first")).header("name-2", Some("last"));
    cluster.produce(0, rewritten(&twice.encode(), "name-2", "name-1")).await;
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    let headers = ["first", "last"].map(|value| ("name-1".to_owned(), Some(Bytes::from(value))));
    assert_eq!(recorder.records()[1].headers, headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rskafka_alone_gets_no_answer_our_own_fetch_reads_on() {
    let cluster = TestCluster::embedded().await;
    let (_client, recorder, consumer) = at_the_end(&cluster).await;
    cluster.broker().faults().always(ApiKey::Fetch, Fault::DropBelow(11));
    for value in ["1", "2", "3"] {
        cluster.produce(0, Batch::of(&[value]).encode()).await;
        cluster.reaches_lag_0(1).await;
    }
    consumer.stop().await;
    assert_eq!(recorder.values(), ["before", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_timestamp_is_readable() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let mut expected = Vec::new();
    for timestamp in [0, i64::MAX, -1, i64::MIN, 8_640_000_000_000_001, 1_700_000_000_000] {
        let value = timestamp.to_string();
        match cluster.try_produce(0, Batch::of(&[&value]).at(timestamp).encode()).await {
            Ok(_) => expected.push(value),
            // Newer brokers refuse what is far off.
            Err(ResponseError::InvalidTimestamp) => assert!(cluster.embedded.is_none()),
            Err(error) => panic!("{error}"),
        }
    }
    let records = read_all(&cluster, 1, WHOLE).await;
    assert_eq!(values(&records), expected);
    assert_eq!(records.last().unwrap().timestamp.timestamp_millis(), 1_700_000_000_000);
}

/// Has a group commit offset 10 of 10, changes the log, and has a new member read on.
async fn read_on(change: impl Fn(&TestCluster), reset: OffsetReset) -> (TestCluster, Vec<String>) {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    for value in 0..10 {
        cluster.produce(0, Batch::of(&[value.to_string()]).encode()).await;
    }
    assert_eq!(read_all(&cluster, 1, WHOLE).await.len(), 10);
    change(&cluster);
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let mut config = client.consumer_config();
    config.offset_reset = reset;
    let consumer = client.consumer_with(Arc::clone(&recorder) as _, config);
    cluster.reaches_lag_0(1).await;
    let asked = cluster.broker().faults().count(ApiKey::ListOffsets);
    cluster.produce(0, Batch::of(&["new"]).encode()).await;
    eventually("it goes on", async || recorder.values().contains(&"new".to_owned()).then_some(())).await;
    let asked = cluster.broker().faults().count(ApiKey::ListOffsets) - asked;
    assert!(asked == 0, "the range is asked for once, not over and over");
    consumer.stop().await;
    (cluster, recorder.values())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_committed_offset_is_gone_reading_starts_at_the_logs_new_start() {
    let gone = |cluster: &TestCluster| {
        let topic = cluster.topic.clone();
        for value in 10..15 {
            let batch = Batch::of(&[value.to_string()]).encode();
            cluster.broker().append_raw(&topic, 0, batch).unwrap();
        }
        cluster.broker().delete_records_before(&topic, 0, 12);
    };
    let (_, values) = read_on(gone, OffsetReset::Earliest).await;
    assert_eq!(values, ["12", "13", "14", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_logs_end_went_back_reading_goes_on_by_rule() {
    let truncated = |cluster: &TestCluster| cluster.broker().truncate(&cluster.topic, 0, 3);
    let (_, values) = read_on(truncated, OffsetReset::Earliest).await;
    assert_eq!(values, ["0", "1", "2", "new"]);
    let (cluster, values) = read_on(truncated, OffsetReset::Latest).await;
    assert_eq!(values, ["new"]);
    assert_eq!(cluster.end_of(0).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shrinks_under_its_reader_is_read_on() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    for value in ["1", "2", "3"] {
        cluster.produce(0, Batch::of(&[value]).encode()).await;
    }
    eventually("it is read", async || (recorder.count() == 3).then_some(())).await;
    cluster.broker().truncate(&cluster.topic, 0, 1);
    eventually("it starts again at the beginning", async || (recorder.count() == 4).then_some(())).await;
    cluster.produce(0, Batch::of(&["4"]).encode()).await;
    eventually("it goes on", async || (recorder.count() == 5).then_some(())).await;
    assert_eq!(recorder.values(), ["1", "2", "3", "1", "4"]);
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
}
