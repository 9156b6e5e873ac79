//! A producer of records that are no events.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use crate::{admin::Admin, batch::Batch, gate::Gate, history::History, instance::TOPIC, random::Random};

/// How long it rests between two records.
const REST: Duration = Duration::from_millis(400);
/// With what the keys of its records begin.
pub(crate) const KEY: &str = "malformed-";

/// Runs until the process ends; in between only while the gate is open.
pub(crate) async fn run(admin: Admin, history: Arc<History>, gate: Arc<Gate>, seed: u64) {
    let mut random = Random::named(seed, "malformed");
    for number in 0_u64.. {
        let inside = gate.enter().await;
        if let Err(error) = write(&admin, &history, &mut random, number).await {
            history.write(format_args!("malformed record {number}: {error:#}"));
        }
        drop(inside);
        sleep(REST).await;
    }
}

async fn write(admin: &Admin, history: &History, random: &mut Random, number: u64) -> Result<()> {
    let values = [
        Some("not JSON"),
        Some("{\"eventType\": \"LOGIN\""),
        Some("{\"userId\": \"nobody\", \"eventType\": \"LOGIN\"}"),
        Some("[1, 2, 3]"),
        Some(""),
        None,
    ];
    let key = format!("{KEY}{number}");
    let value = values[random.below(values.len())].map(str::to_owned);
    let partition = random.below(usize::try_from(admin.partitions(TOPIC).await?)?) as i32;
    let records = [(key.clone(), value)];
    let batch = Batch { topic: TOPIC, partition, records: &records, transaction: None };
    // Not tried again: one without an acknowledgement need not be anywhere.
    let offset = batch.write(admin).await?;
    let mut known = history.known();
    known.malformed.insert(key.clone(), (partition, offset));
    known.figures.malformed += 1;
    drop(known);
    history.write(format_args!("malformed {key} {partition}/{offset}"));
    Ok(())
}
