//! Every well-formed log is read to its end. A malformed one stops its partition with an error.

mod compacted;
mod illegal;
mod legal;
mod moved;
mod transactions;

use std::sync::Arc;

use highwater_kafka::{Consumer, Record};

use crate::support::{Batch, Client, Recorder, TestCluster};

const WHOLE: i32 = 1024 * 1024;

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

/// A consumer that has read the topic to its end.
async fn at_the_end(cluster: &TestCluster) -> (Client, Arc<Recorder>, Consumer) {
    cluster.create_topic(1, &[]).await;
    cluster.produce(0, Batch::of(&["before"]).encode()).await;
    let client = cluster.client();
    let recorder = Arc::new(Recorder::default());
    let consumer = client.consumer(Arc::clone(&recorder) as _);
    cluster.reaches_lag_0(1).await;
    (client, recorder, consumer)
}
