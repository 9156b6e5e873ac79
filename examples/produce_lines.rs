//! The library's producer on a file of events, without HTTP: what `POST /events/batch` is measured against
//! (`scripts/bench-batch.sh`). Prints the seconds, by the clock and of the processor, as JSON.

use std::{collections::VecDeque, env, fs, time::Instant};

use highwater::{
    activity::{AllowedTypes, NewEvent},
    store::ActivityEvent,
};
use highwater_kafka::{ClusterConfig, Context, Kafka, ProducerConfig, TopicConfig};
use rustix::time::{ClockId, clock_gettime};

/// As many as a batch has in flight.
const WINDOW: usize = 4096;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [_, brokers, topic, file] = &env::args().collect::<Vec<_>>()[..] else {
        anyhow::bail!("produce_lines BROKERS TOPIC FILE");
    };
    let text = fs::read_to_string(file)?;
    let events: Vec<ActivityEvent> = text
        .lines()
        .map(|line| match NewEvent::read(line, AllowedTypes::Any) {
            Ok(event) => Ok(event.into_event()),
            Err(problem) => Err(anyhow::anyhow!(problem.detail().to_owned())),
        })
        .collect::<Result<_, _>>()?;
    drop(text);
    let kafka = Kafka::new(ClusterConfig::new(vec![brokers.clone()]))?;
    let producer = kafka.topic::<ActivityEvent>(TopicConfig::new(topic)).producer(ProducerConfig::default());
    let (events_count, began, cpu) = (events.len(), Instant::now(), cpu_seconds());
    let (mut window, context) = (VecDeque::new(), Context::default());
    for event in events {
        if window.len() == WINDOW
            && let Some(delivery) = window.pop_front()
        {
            let delivery: highwater_kafka::Delivery = delivery;
            delivery.await?;
        }
        window.push_back(producer.enqueue_in(&context, event).await);
    }
    for delivery in window {
        delivery.await?;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{{\"events\":{events_count},\"seconds\":{seconds:.3},\"cpu\":{cpu:.3}}}");
    producer.close().await;
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
