//! What Highwater's store in PostgreSQL is measured against by scripts/bench-store.sh: rows into the tables that
//! `highwater migrate` makes. Each program reads EVENTS records of the topic and ends with a line of JSON.

use std::{env, error::Error, fs, time::Instant};

use chrono::{DateTime, Utc};
use rdkafka::{
    ClientConfig,
    consumer::{Consumer, StreamConsumer},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

pub type Anything = Box<dyn Error + Send + Sync>;

/// The columns of a row of `events`, but for those that every row of a batch shares.
pub const COLUMNS: &str = "partition, position, id, user_id, event_type, occurred_at, stored_at, event";

/// The fields of an event's JSON that have columns of their own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    pub event_id: Uuid,
    pub user_id: &'a str,
    pub event_type: &'a str,
    pub timestamp: DateTime<Utc>,
    #[serde(borrow, rename = "payload")]
    pub _payload: &'a RawValue,
}

impl Event<'_> {
    /// The type as the store compares it.
    pub fn type_key(&self) -> String {
        self.event_type.to_lowercase()
    }
}

/// A variable that must be set.
pub fn variable(name: &str) -> Result<String, Anything> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// A consumer of KAFKA_TOPIC from its beginning, in a group that commits when it is told to.
pub fn consumer() -> Result<StreamConsumer, Anything> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", variable("KAFKA_BROKERS")?)
        .set("group.id", variable("KAFKA_GROUP_ID")?)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[&variable("KAFKA_TOPIC")?])?;
    Ok(consumer)
}

/// A connection to the database of STORE_URL.
pub async fn database() -> Result<Client, Anything> {
    let (client, driver) = tokio_postgres::connect(&variable("STORE_URL")?, NoTls).await?;
    tokio::spawn(driver);
    client.batch_execute("SET search_path TO highwater").await?;
    Ok(client)
}

/// The time and the CPU time that something takes.
pub struct Stopwatch(Instant, f64);

impl Stopwatch {
    pub fn start() -> Result<Self, Anything> {
        Ok(Self(Instant::now(), cpu_seconds()?))
    }

    /// Prints them.
    pub fn stop(self) -> Result<(), Anything> {
        let Self(began, cpu) = self;
        println!(
            "{{\"seconds\":{:.3},\"cpu_seconds\":{:.2}}}",
            began.elapsed().as_secs_f64(),
            cpu_seconds()? - cpu
        );
        Ok(())
    }
}

/// The CPU time of this process, user and system, which Linux counts in hundredths of a second.
fn cpu_seconds() -> Result<f64, Anything> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").ok_or("/proc/self/stat has no name")?.1;
    let ticks: Vec<f64> = after_name.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
