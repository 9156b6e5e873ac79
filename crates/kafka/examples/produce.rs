//! Sends ten greetings, and says where each went: `cargo run --example produce [HOST:PORT]`.
//!
//! Without an address it starts a broker inside this program, which then waits until Enter is pressed, so that
//! `cargo run --example consume` can read from it.

use std::{borrow::Cow, error::Error};

use highwater_kafka::{ClusterConfig, Event, Kafka, ProducerConfig, TopicConfig};
use highwater_kafka_broker::Broker;
use serde::{Deserialize, Serialize};

/// An event of the topic: JSON by serde, with a key that decides the partition.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    to: String,
    text: String,
}

impl Event for Greeting {
    fn key(&self) -> Cow<'_, str> {
        self.to.as_str().into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        "Greeting".into()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (brokers, own) = match std::env::args().nth(1) {
        Some(address) => (address, None),
        None => {
            let broker = Broker::start(Default::default()).await?;
            (broker.bootstrap(), Some(broker))
        }
    };

    let kafka = Kafka::new(ClusterConfig::new(vec![brokers.clone()]))?;
    let greetings = kafka.topic::<Greeting>(TopicConfig::new("greetings"));
    let producer = greetings.producer(ProducerConfig::default());
    for number in 0..10 {
        let greeting =
            Greeting { to: format!("user-{}", number % 3), text: format!("hello, number {number}") };
        let to = greeting.to.clone();
        let receipt = producer.send(greeting).await?;
        println!("to {to}: partition {}, offset {:?}", receipt.partition, receipt.offset);
    }
    producer.close().await;

    if own.is_some() {
        println!("read them with: cargo run --example consume {brokers}\nEnter ends the broker");
        std::io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}
