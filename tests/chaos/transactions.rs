//! A transactional producer beside the service (KIP-98). Its events count once they are committed, and those of an
//! aborted transaction never.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use highwater_kafka::{partition_for_key, wire::Connection};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
};
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    admin::{Admin, OF_TRANSACTION, check, persistently, text, topic_name},
    batch::{Author, Batch},
    gate::Gate,
    history::{History, TopicOffset, user_name},
    instance::TOPIC,
    random::Random,
};

const ID: &str = "chaos-transactions";
/// Its users: none of the clients'.
pub(crate) const FIRST_USER: u32 = 500_000;
pub(crate) const USERS: usize = 20;
/// How long it rests between two transactions.
const REST: Duration = Duration::from_millis(300);
/// How many of a hundred transactions are aborted.
const ABORTED: u64 = 25;
/// How long one step is tried; then the transaction is given up.
const STEP: Duration = Duration::from_secs(5);

/// Runs until the process ends; in between only while the gate is open.
pub(crate) async fn run(admin: Admin, history: Arc<History>, gate: Arc<Gate>, seed: u64) {
    let mut producer = Producer {
        admin,
        history,
        random: Random::named(seed, "transactions"),
        numbers: BTreeMap::new(),
        session: None,
    };
    loop {
        let inside = gate.enter().await;
        if let Err(error) = producer.transaction().await {
            // The next one begins with a new epoch, which aborts what this one left.
            producer.history.write(format_args!("transaction given up: {error:#}"));
            producer.session = None;
            // Left open it would hold readers up, at a quiet point too.
            while let Err(error) = producer.session().await {
                producer.history.write(format_args!("no transactional producer: {error:#}"));
                sleep(REST).await;
            }
        }
        drop(inside);
        sleep(REST).await;
    }
}

struct Producer {
    admin: Admin,
    history: Arc<History>,
    random: Random,
    numbers: BTreeMap<u32, u32>,
    session: Option<Session>,
}

/// The state of one epoch.
struct Session {
    id: i64,
    epoch: i16,
    /// The next sequence number of each partition.
    sequences: BTreeMap<i32, i32>,
}

/// An event on its way.
struct Event {
    id: Uuid,
    /// Its key and its value.
    record: (String, Option<String>),
}

impl Producer {
    async fn transaction(&mut self) -> Result<()> {
        self.session().await?;
        let aborts = self.random.percent(ABORTED);
        let events = 1 + self.random.below(5);
        let partitions = usize::try_from(self.admin.partitions(TOPIC).await?)?;
        let mut by_partition: BTreeMap<i32, Vec<Event>> = BTreeMap::new();
        for _ in 0..events {
            let user = FIRST_USER + self.random.below(USERS) as u32;
            let number = self.numbers.entry(user).or_default();
            let (id, name) = (Uuid::new_v4(), user_name(user));
            self.history.sent(id, user, *number);
            let value = json!({
                "eventId": id,
                "userId": name,
                "eventType": "LOGIN",
                "timestamp": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "payload": {"number": *number},
            });
            *number += 1;
            let partition = partition_for_key(name.as_bytes(), partitions);
            let event = Event { id, record: (name, Some(value.to_string())) };
            by_partition.entry(partition).or_default().push(event);
        }
        // Until a commit is sent it can only be aborted.
        let outcome = self.write(&by_partition).await;
        let ids = || by_partition.values().flatten().map(|event| event.id);
        let Ok(places) = outcome else {
            ids().for_each(|id| self.history.aborted(id));
            self.history.known().figures.transactions.2 += 1;
            return outcome.map(drop);
        };
        if aborts {
            ids().for_each(|id| self.history.aborted(id));
        }
        self.end(!aborts).await?;
        let mut known = self.history.known();
        if aborts {
            known.figures.transactions.1 += 1;
        } else {
            known.figures.transactions.0 += 1;
            drop(known);
            places.into_iter().for_each(|(id, place)| self.history.acknowledged(id, place));
        }
        Ok(())
    }

    async fn write(&mut self, by_partition: &BTreeMap<i32, Vec<Event>>) -> Result<Vec<(Uuid, TopicOffset)>> {
        let session = self.session.as_mut().context("no session")?;
        let partitions: BTreeSet<i32> = by_partition.keys().copied().collect();
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partitions(partitions.into_iter().collect());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(ID)))
            .with_v3_and_below_producer_id(ProducerId(session.id))
            .with_v3_and_below_producer_epoch(session.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let admin = &self.admin;
        persistently("AddPartitionsToTxn", STEP, async || {
            let answer = coordinator(admin).await?.call(&request, 0..=3).await?;
            let results = answer.results_by_topic_v3_and_below.into_iter();
            for result in results.flat_map(|topic| topic.results_by_partition) {
                check("AddPartitionsToTxn", result.partition_error_code)?;
            }
            Ok(())
        })
        .await?;
        let mut places = Vec::new();
        for (partition, events) in by_partition {
            let records: Vec<_> = events.iter().map(|event| event.record.clone()).collect();
            let sequence = session.sequences.entry(*partition).or_default();
            let author = Author { id: session.id, epoch: session.epoch, sequence: *sequence };
            let batch = Batch {
                topic: TOPIC,
                partition: *partition,
                records: &records,
                transaction: Some((ID, author)),
            };
            // The sequence number makes a repetition harmless.
            let first = persistently("Produce", STEP, async || batch.write(admin).await).await?;
            *sequence += i32::try_from(records.len())?;
            places.extend((first..).zip(events).map(|(offset, event)| (event.id, (*partition, offset))));
        }
        Ok(places)
    }

    async fn end(&self, committed: bool) -> Result<()> {
        let session = self.session.as_ref().context("no session")?;
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(ID)))
            .with_producer_id(ProducerId(session.id))
            .with_producer_epoch(session.epoch)
            .with_committed(committed);
        persistently("EndTxn", STEP, async || {
            let answer = coordinator(&self.admin).await?.call(&request, 0..=3).await?;
            check("EndTxn", answer.error_code)
        })
        .await
    }

    /// An epoch of its own: whatever was open before is aborted.
    async fn session(&mut self) -> Result<()> {
        if self.session.is_some() {
            return Ok(());
        }
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(ID))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let admin = &self.admin;
        let (id, epoch) = persistently("InitProducerId", STEP, async || {
            let answer = coordinator(admin).await?.call(&request, 0..=3).await?;
            check("InitProducerId", answer.error_code)?;
            Ok((answer.producer_id.0, answer.producer_epoch))
        })
        .await?;
        self.session = Some(Session { id, epoch, sequences: BTreeMap::new() });
        Ok(())
    }
}

async fn coordinator(admin: &Admin) -> Result<Connection> {
    let (_, address) = admin.coordinator(ID, OF_TRANSACTION).await?;
    admin.open(&address).await
}
