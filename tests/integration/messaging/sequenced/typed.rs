//! Poison in order by the typed API.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use highwater_kafka::{
    ClusterConfig, Event, EventHandler, Kafka, Outcome, ProducerConfig, Received, TopicConfig,
    dead_letter::SequenceBounds,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Sequence, operator, position, waiting};
use crate::support::{TestCluster, eventually};

#[derive(Serialize, Deserialize)]
struct Payment {
    account: String,
    cents: i64,
}

impl Event for Payment {
    fn key(&self) -> Cow<'_, str> {
        self.account.as_str().into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        "Payment".into()
    }
}

/// Takes no payment of nothing.
#[derive(Clone, Default)]
struct Account(Arc<Mutex<Vec<i64>>>);

#[async_trait]
impl EventHandler<Payment> for Account {
    async fn handle(&self, received: Received<'_, Payment>) -> Outcome {
        match received.event.cents {
            0 => Outcome::Poison("a payment of nothing".to_owned()),
            cents => {
                self.0.lock().await.push(cents);
                Outcome::Done
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_events_of_a_key_wait_behind_poison_where_the_consumer_asks_for_that() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let kafka = Kafka::new(ClusterConfig::new(cluster.brokers.clone())).unwrap();
    let payments = kafka.topic::<Payment>(TopicConfig::new(&cluster.topic));
    let account = Account::default();
    let consumer = payments
        .consumer(client.consumer_config())
        .with_poison_in_order(SequenceBounds::default())
        .start(account.clone());
    let producer = payments.producer(ProducerConfig::default());
    for cents in [1, 0, 2, 3] {
        producer.send(Payment { account: "one".to_owned(), cents }).await.unwrap();
    }
    let operator = operator(&client, &cluster);
    let sequence: Sequence = waiting(&operator, 3).await;
    assert_eq!(sequence.head.reason, "a payment of nothing");
    assert_eq!((consumer.waiting().keys, consumer.waiting().letters), (1, 3));
    assert_eq!(*account.0.lock().await, [1]);
    operator.drop(position(&sequence)).await.unwrap();
    eventually("nothing waits", async || (consumer.waiting().keys == 0).then_some(())).await;
    assert_eq!(*account.0.lock().await, [1, 2, 3]);
    producer.close().await;
    consumer.stop().await;
}
