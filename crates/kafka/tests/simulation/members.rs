//! What runs on the hosts: members of a group with their handler, and a producer's client. All of it is the library's
//! public API.

use std::{borrow::Cow, ops::Range, time::Duration};

use async_trait::async_trait;
use highwater_kafka::{
    Batch, BatchHandler, BatchOutcome, ClusterConfig, ConsumerConfig, ConsumerHandle, Event, Kafka, LogState,
    Poison, ProducerConfig, RetryFrom, StartFrom, TopicConfig, TransientError, TypedTopic,
    group::{Assignor, GroupProtocol},
};
use highwater_kafka_broker::Options;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    checks::Checks,
    conditions::Conditions,
    network::{HostId, Network, address_of},
    random::Random,
    world::{BROKERS, Millis},
};

pub(crate) const TOPIC: &str = "events";
pub(crate) const DEAD_LETTERS: &str = "events.dlq";
pub(crate) const GROUP: &str = "readers";
const KEYS: usize = 8;
/// One event of so many is one that no handler can process.
const POISON: u64 = 29;

/// An event: the next one of its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) number: u64,
}

impl Item {
    fn is_poison(&self) -> bool {
        self.number % POISON == POISON - 1
    }
}

impl Event for Item {
    const SELF_DESCRIBING: bool = true;

    fn key(&self) -> Cow<'_, str> {
        self.key.as_str().into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        "Item".into()
    }
}

/// The protocol of a run's group.
pub(crate) fn protocol(seed: u64) -> GroupProtocol {
    match Random::named(seed, "protocol").percent(40) {
        true => GroupProtocol::Consumer,
        false => GroupProtocol::Classic,
    }
}

/// The settings of a run, drawn from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    partitions: i32,
    consumer: ConsumerConfig,
    is_static: bool,
    producer_timeout: Millis,
    /// The longest pause between two events of a key.
    pause: Millis,
    /// So many heartbeats are in a session of the consumer protocol; Kafka has nine.
    heartbeats: u32,
}

impl Settings {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::named(seed, "settings");
        let assignors = match random.below(4) {
            0 => vec![Assignor::Range],
            1 => vec![Assignor::CooperativeSticky, Assignor::Range],
            _ => vec![Assignor::CooperativeSticky],
        };
        let session = random.between(6_000..=12_000);
        let consumer = ConsumerConfig::new(GROUP)
            .with_protocol(protocol(seed))
            .with_assignors(assignors)
            .with_session_timeout(Duration::from_millis(session))
            .with_heartbeat_interval(Duration::from_millis(session / random.between(3..=5)))
            .with_rebalance_timeout(Duration::from_millis(random.between(5_000..=40_000)))
            .with_max_processing(Duration::from_millis(random.between(15_000..=60_000)))
            .with_commit_interval(Duration::from_millis(random.between(200..=2_000)))
            .with_metadata_max_age(Duration::from_millis(random.between(3_000..=30_000)))
            .with_leave_on_stop(random.percent(50));
        Self {
            partitions: random.between(1..=5) as i32,
            consumer,
            is_static: random.percent(25),
            producer_timeout: random.between(2_000..=30_000),
            pause: random.between(500..=6_000),
            heartbeats: random.between(4..=9) as u32,
        }
    }

    /// How the broker behaves: it sets the session where it assigns.
    pub(crate) fn broker(&self) -> Options {
        let session = self.consumer.session_timeout;
        Options {
            consumer_session_timeout: session,
            consumer_heartbeat_interval: session / self.heartbeats,
            ..Options::default()
        }
    }

    fn topic(&self, network: &Network, host: HostId) -> TypedTopic<Item> {
        let config = ClusterConfig::new(BROKERS.map(address_of).collect())
            .with_client_id(format!("m{host}"))
            .with_connector(Some(network.connector(host)));
        let kafka = Kafka::new(config).expect("there is an address");
        let kafka = kafka.with_metadata_max_age(self.consumer.metadata_max_age);
        kafka.topic(TopicConfig::new(TOPIC).with_partitions(self.partitions))
    }

    /// Begins a member of the group. Called in its host's runtime.
    pub(crate) fn member(
        &self,
        network: &Network,
        host: HostId,
        checks: &Checks,
        conditions: &Conditions,
    ) -> ConsumerHandle {
        let mut config = self.consumer.clone();
        if self.is_static {
            config = config.with_instance_id(Some(format!("m{host}")));
        }
        let handler = Handler { host, checks: checks.clone(), conditions: conditions.clone() };
        self.topic(network, host).consumer(config).start(handler)
    }

    /// Begins to send: each key's events one after the other, until there is no need for more. Called in its host's runtime.
    pub(crate) fn produce(&self, seed: u64, network: &Network, host: HostId, checks: &Checks) {
        let timeout = Duration::from_millis(self.producer_timeout);
        let producer = self.topic(network, host).producer(ProducerConfig::default().with_timeout(timeout));
        for key in keys() {
            let (producer, checks, pause) = (producer.clone(), checks.clone(), self.pause);
            let mut random = Random::named(seed, &key);
            tokio::spawn(async move {
                for number in 0.. {
                    sleep(Duration::from_millis(random.between(0..=pause))).await;
                    if checks.all_sent_since() {
                        break;
                    }
                    let item = Item { key: key.clone(), number };
                    checks.sends(&item);
                    let result = producer.send(item.clone()).await;
                    checks.sent(&item, &result);
                }
            });
        }
    }
}

/// All keys.
pub(crate) fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|number| format!("key-{number}"))
}

struct Handler {
    host: HostId,
    checks: Checks,
    conditions: Conditions,
}

/// A handler's call, which ends when it is dropped.
struct Call<'a>(&'a Handler, i32);

impl<'a> Call<'a> {
    fn begin(handler: &'a Handler, partition: i32) -> Self {
        handler.checks.batch_begins(handler.host, partition);
        Self(handler, partition)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Self(handler, partition) = self;
        handler.checks.batch_ends(handler.host, *partition);
    }
}

#[async_trait]
impl BatchHandler<Item> for Handler {
    async fn handle(&self, batch: Batch<'_, Item>) -> BatchOutcome {
        let partition = batch.partition();
        let _call = Call::begin(self, partition);
        let mut outcome = BatchOutcome::default();
        for (index, item) in batch.events.iter().enumerate() {
            self.checks.called(self.host, partition, batch.record(index).offset, item);
            let each = self.conditions.handler_takes(self.host);
            if each > 0 {
                sleep(Duration::from_millis(each)).await;
            }
            if self.conditions.handler_fails(self.host) {
                let error = TransientError::new("not now");
                outcome.retry_from = Some(RetryFrom::new(index, error));
                break;
            }
            if item.is_poison() {
                outcome.poison.push(Poison::new(index, "poison"));
            } else {
                self.checks.done(self.host, partition, item);
            }
        }
        outcome
    }

    async fn start_from(&self, partition: i32, log: &LogState) -> Result<StartFrom, TransientError> {
        self.checks.reads(self.host, partition, log);
        Ok(StartFrom::Committed)
    }

    async fn truncated(&self, partition: i32, offsets: Range<i64>) {
        self.checks.truncated(self.host, partition, offsets);
    }
}
