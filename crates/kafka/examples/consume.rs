//! Reads greetings as a member of a group: `cargo run --example consume [HOST:PORT]`.
//!
//! Without an address it starts a broker inside this program and sends itself something to read: a few
//! greetings, one that does not work out at once, and a record that is none. Ctrl-C ends it; so does the last of
//! its own greetings.

use std::{
    borrow::Cow,
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use highwater_kafka::{
    ClusterConfig, ConsumerConfig, Event, EventHandler, Kafka, Outcome, ProducerConfig, Received, TopicConfig,
};
use highwater_kafka_broker::Broker;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

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

/// Prints each greeting. It shows the three outcomes.
struct Greeter {
    has_coughed: AtomicBool,
    greeted: mpsc::UnboundedSender<String>,
}

#[async_trait]
impl EventHandler<Greeting> for Greeter {
    async fn handle(&self, received: Received<'_, Greeting>) -> Outcome {
        let Greeting { to, text } = received.event;
        if to.is_empty() {
            return Outcome::Poison("nobody is greeted".to_owned());
        }
        if text.contains("cough") && !self.has_coughed.swap(true, Ordering::Relaxed) {
            return Outcome::Retry("a cough".to_owned());
        }
        let record = received.record;
        println!("{to}: {text} (partition {}, offset {})", record.partition, record.offset);
        let _nobody_counts = self.greeted.send(text);
        Outcome::Done
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

    let (greeted, mut greetings_read) = mpsc::unbounded_channel();
    let kafka = Kafka::new(ClusterConfig::new(vec![brokers]))?;
    let greetings = kafka.topic::<Greeting>(TopicConfig::new("greetings"));
    let consuming = greetings
        .consumer(ConsumerConfig::new("greeters"))
        .start(Greeter { has_coughed: AtomicBool::new(false), greeted });

    if own.is_some() {
        let producer = greetings.producer(ProducerConfig::default());
        for (to, text) in [("ann", "hello"), ("", "to the dead letters"), ("bob", "cough"), ("ann", "bye")] {
            producer.send(Greeting { to: to.to_owned(), text: text.to_owned() }).await?;
        }
        producer.close().await;
        for _ in ["hello", "cough", "bye"] {
            greetings_read.recv().await;
        }
    } else {
        tokio::signal::ctrl_c().await?;
    }
    consuming.stop().await;
    Ok(())
}
