//! The contents of a batch: headers, codecs, timestamps.

use std::sync::Arc;

use bytes::Bytes;
use highwater_kafka::Record;
use highwater_kafka_broker::{Fault, Options};
use kafka_protocol::{ResponseError, messages::ApiKey, records::Compression};

use super::{WHOLE, at_the_end, read_all, values};
use crate::support::{Batch, Recorder, TestCluster, eventually, rewritten};

fn value_at(record: &Record, name: &str) -> Option<Bytes> {
    record.headers.last(name).map(Bytes::copy_from_slice)
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_may_be_null_and_names_may_repeat() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(2, &[]).await;
    let null = Batch::of(&["null"]).header("without", None).header("with", Some("a value"));
    let repeated = Batch::of(&["repeated"]).header("name-1", Some("first")).header("name-2", Some("last"));
    let repeated = rewritten(&rewritten(&repeated.encode(), "name-1", "name-0"), "name-2", "name-0");
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
                assert!(
                    record.headers.contains("without") && value_at(&record, "without").is_none(),
                    "{record:?}"
                );
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
async fn headers_of_one_name_are_all_kept_also_at_the_logs_end() {
    let cluster = TestCluster::start().await;
    let (_client, recorder, consumer) = at_the_end(&cluster).await;
    let twice = Batch::of(&["twice"]).header("name-1", Some("first")).header("name-2", Some("last"));
    cluster.produce(0, rewritten(&twice.encode(), "name-2", "name-1")).await;
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    let headers = ["first", "last"].map(|value| ("name-1".into(), Some(Bytes::from(value))));
    assert_eq!(recorder.records()[1].headers.iter().collect::<Vec<_>>(), headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_broker_stamps_records_its_time_counts_from_the_first_one() {
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    eventually("the empty log is read to its end", async || {
        (cluster.broker().faults().count(ApiKey::Fetch) > 2).then_some(())
    })
    .await;
    let before = chrono::Utc::now();
    let long_ago = (before - chrono::TimeDelta::minutes(30)).timestamp_millis();
    cluster.produce(0, Batch::of(&["first"]).at(long_ago).encode()).await;
    cluster.reaches_lag_0(1).await;
    consumer.stop().await;
    let times: Vec<_> = recorder.records().iter().map(|record| record.timestamp).collect();
    let least = before - chrono::TimeDelta::milliseconds(1);
    assert!(times.len() == 1 && times[0] >= least, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_tells_no_settings_is_read() {
    let options = Options { lacks: vec![(ApiKey::DescribeConfigs, 0)], ..Options::default() };
    let cluster = TestCluster::embedded_with(options).await;
    let (_client, recorder, consumer) = at_the_end(&cluster).await;
    // The next connection is found by our own.
    cluster.broker().faults().once(ApiKey::Fetch, Fault::Drop);
    for value in ["1", "2"] {
        cluster.produce(0, Batch::of(&[value]).encode()).await;
        cluster.reaches_lag_0(1).await;
    }
    consumer.stop().await;
    assert_eq!(recorder.values(), ["before", "1", "2"]);
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

#[tokio::test(flavor = "multi_thread")]
async fn where_the_broker_stamps_records_its_time_counts_also_at_the_logs_end() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let before = chrono::Utc::now();
    let (_client, recorder, consumer) = at_the_end(&cluster).await;
    let long_ago = (before - chrono::TimeDelta::minutes(30)).timestamp_millis();
    for value in ["1", "2", "3"] {
        cluster.produce(0, Batch::of(&[value]).at(long_ago).encode()).await;
        cluster.reaches_lag_0(1).await;
    }
    consumer.stop().await;
    let times: Vec<_> = recorder.records().iter().map(|record| record.timestamp).collect();
    let least = before - chrono::TimeDelta::seconds(5); // the broker's clock may be another
    assert!(times.len() == 4 && times.iter().all(|time| *time > least), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_time_has_that_of_its_reading_also_at_the_logs_end() {
    let cluster = TestCluster::start().await;
    let before = chrono::Utc::now();
    let (_client, recorder, consumer) = at_the_end(&cluster).await;
    for value in ["1", "2", "3"] {
        cluster.produce(0, Batch::of(&[value]).at(-1).encode()).await;
        cluster.reaches_lag_0(1).await;
    }
    consumer.stop().await;
    let times: Vec<_> = recorder.records()[1..].iter().map(|record| record.timestamp).collect();
    let least = before - chrono::TimeDelta::milliseconds(1);
    assert!(times.iter().all(|time| *time >= least), "{times:?}");
}
