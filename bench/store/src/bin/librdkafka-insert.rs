//! The peer: a consumer on librdkafka that stores BATCH records with one INSERT of many rows, and then commits their offsets.

use std::env;

use bench_store::{Anything, COLUMNS, Event, Stopwatch, consumer, database, variable};
use chrono::{DateTime, Utc};
use rdkafka::{
    Message,
    consumer::{CommitMode, Consumer},
    message::BorrowedMessage,
};
use serde_json::value::RawValue;
use tokio_postgres::{
    Client,
    types::{Json, ToSql},
};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Row<'a> {
    partition: i32,
    position: i64,
    id: Uuid,
    user_id: &'a str,
    event_type: String,
    occurred_at: DateTime<Utc>,
    stored_at: DateTime<Utc>,
    event: Json<&'a RawValue>,
}

impl<'a> Row<'a> {
    fn of(message: &'a BorrowedMessage<'_>) -> Result<Self, Anything> {
        let json = message.payload().ok_or("a record without a value")?;
        let event: Event<'_> = serde_json::from_slice(json)?;
        Ok(Self {
            partition: message.partition(),
            position: message.offset(),
            id: event.event_id,
            user_id: event.user_id,
            event_type: event.type_key(),
            occurred_at: event.timestamp,
            stored_at: Utc::now(),
            event: Json(serde_json::from_slice(json)?),
        })
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.partition,
            &self.position,
            &self.id,
            &self.user_id,
            &self.event_type,
            &self.occurred_at,
            &self.stored_at,
            &self.event,
        ]
    }
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let events: usize = variable("EVENTS")?.parse()?;
    // As many as a consumer in Java gets from a poll by default.
    let size: usize = env::var("BATCH").map_or(Ok(500), |size| size.parse())?;
    let (client, consumer) = (database().await?, consumer()?);
    let whole = client.prepare(&insert(size)).await?;
    let mut stored = 0;
    let mut batch = vec![consumer.recv().await?];
    let stopwatch = Stopwatch::start()?;
    while stored < events {
        while batch.len() < size.min(events - stored) {
            batch.push(consumer.recv().await?);
        }
        let rows: Vec<Row<'_>> = batch.iter().map(Row::of).collect::<Result<_, _>>()?;
        let values: Vec<_> = rows.iter().flat_map(Row::values).collect();
        store(&client, &whole, size, &values).await?;
        consumer.commit_consumer_state(CommitMode::Async)?;
        stored += batch.len();
        batch.clear();
    }
    stopwatch.stop()
}

async fn store(
    client: &Client,
    whole: &tokio_postgres::Statement,
    size: usize,
    values: &[&(dyn ToSql + Sync)],
) -> Result<(), Anything> {
    let rows = values.len() / 8;
    if rows == size {
        client.execute(whole, values).await?;
    } else {
        client.execute(&insert(rows), values).await?;
    }
    Ok(())
}

fn insert(rows: usize) -> String {
    let row = |row: usize| {
        let values: Vec<_> = (row * 8 + 1..=row * 8 + 8).map(|number| format!("${number}")).collect();
        format!("({})", values.join(","))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!("INSERT INTO events ({COLUMNS}) VALUES {} ON CONFLICT DO NOTHING", rows.join(","))
}
