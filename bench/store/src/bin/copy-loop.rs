//! The bare loop: COPYs rows into `events`, a connection a partition, BATCH rows a statement. The rows are read from Kafka
//! and written in COPY's binary format beforehand, which is not measured. It looks for no copies, keeps no position and
//! is fenced by nothing.

use std::{collections::BTreeMap, env, mem};

use bench_store::{Anything, COLUMNS, Event, Stopwatch, consumer, database, variable};
use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::SinkExt;
use rdkafka::Message;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let partitions = rows().await?;
    let stopwatch = Stopwatch::start()?;
    let mut copies = JoinSet::new();
    for batches in partitions {
        copies.spawn(copy(batches));
    }
    while let Some(copied) = copies.join_next().await {
        copied??;
    }
    stopwatch.stop()
}

async fn copy(batches: Vec<Bytes>) -> Result<(), Anything> {
    let client = database().await?;
    let statement = client.prepare(&format!("COPY events ({COLUMNS}) FROM STDIN BINARY")).await?;
    for batch in batches {
        let sink = client.copy_in(&statement).await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(batch).await?;
        sink.finish().await?;
    }
    Ok(())
}

/// The rows of each partition, in batches.
async fn rows() -> Result<Vec<Vec<Bytes>>, Anything> {
    let events: usize = variable("EVENTS")?.parse()?;
    let size: usize = env::var("BATCH").map_or(Ok(10_000), |size| size.parse())?;
    let consumer = consumer()?;
    let mut partitions: BTreeMap<i32, Batches> = BTreeMap::new();
    for _ in 0..events {
        let message = consumer.recv().await?;
        let value = message.payload().ok_or("a record without a value")?;
        let batches = partitions.entry(message.partition()).or_default();
        batches.push(message.partition(), message.offset(), value, size)?;
    }
    Ok(partitions.into_values().map(Batches::finish).collect())
}

#[derive(Default)]
struct Batches {
    finished: Vec<Bytes>,
    open: BytesMut,
    rows: usize,
}

impl Batches {
    fn push(&mut self, partition: i32, position: i64, json: &[u8], size: usize) -> Result<(), Anything> {
        if self.rows == size {
            self.end_batch();
        }
        if self.rows == 0 {
            self.open.put_slice(b"PGCOPY\n\xff\r\n\0");
            self.open.put_u64(0); // neither flags nor an extension of the header
        }
        self.rows += 1;
        let event: Event<'_> = serde_json::from_slice(json)?;
        let type_key = event.type_key();
        let fields: [&[u8]; 8] = [
            &partition.to_be_bytes()[..],
            &position.to_be_bytes()[..],
            event.event_id.as_bytes(),
            event.user_id.as_bytes(),
            type_key.as_bytes(),
            &micros(event.timestamp).to_be_bytes()[..],
            &micros(Utc::now()).to_be_bytes()[..],
            json,
        ];
        self.open.put_i16(fields.len() as i16);
        for field in fields {
            self.open.put_i32(field.len() as i32);
            self.open.put_slice(field);
        }
        Ok(())
    }

    fn end_batch(&mut self) {
        self.open.put_i16(-1);
        self.finished.push(mem::take(&mut self.open).freeze());
        self.rows = 0;
    }

    fn finish(mut self) -> Vec<Bytes> {
        if self.rows > 0 {
            self.end_batch();
        }
        self.finished
    }
}

/// As PostgreSQL has a time: in microseconds since 2000.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros() - 946_684_800_000_000
}
