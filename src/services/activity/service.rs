//! The service put together: who gets what, and the order in which it stops.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::{
    Conflicts, Metrics, Processor,
    cursor::Run,
    routes::{Api, routes},
};
use crate::{
    config::Config,
    http,
    messaging::{Board, Cluster, Consumer, DeadLetters, Producer, Topic},
    services::dead_letters::{self, Desk},
    shutdown::Shutdown,
    store::MemoryStore,
};

/// Runs the service until the stop is requested. Kafka may come and go meanwhile.
///
/// It stops in the order in which an event goes: no more requests, those in flight are answered, the
/// consumer drains, commits and leaves its group.
///
/// # Errors
///
/// None once it runs; only the embedded broker can fail to start.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    #[cfg(feature = "embedded-broker")]
    let (config, _broker) = embedded(config).await?;

    let cluster = Arc::new(Cluster::new(config.kafka));
    let board = Arc::new(Board::new());
    let follow = |topic| {
        let max_age = config.consumer.metadata_max_age;
        Topic::follow(Arc::clone(&cluster), topic, max_age, Arc::clone(&board))
    };
    let topic = follow(config.topic);
    let dead_letter_topic = follow(config.dead_letter_topic);
    let producer = |topic| {
        let settings = config.producer.clone();
        Arc::new(Producer::new(Arc::clone(&cluster), topic, settings, Arc::clone(&board)))
    };
    let events = producer(topic.clone());
    let letters = producer(dead_letter_topic.clone());

    let store = Arc::new(MemoryStore::new(&config.store));
    let dead_letters = DeadLetters::new(Arc::clone(&letters) as _, topic.name(), &config.consumer.group_id);
    let conflicts = Arc::new(Conflicts::default());
    let processor = Arc::new(Processor::new(Arc::clone(&store) as _, Arc::clone(&conflicts)));
    let dead_letter_desk = config.dead_letters.admin.map(|bearer| {
        let topics = dead_letters::Topics {
            cluster: Arc::clone(&cluster),
            letters: dead_letter_topic,
            source: Arc::clone(topic.name()),
            publisher: Arc::clone(&events) as _,
        };
        let (limits, within) = (config.http.body_limits(), config.http.request_timeout);
        let redrive_max = config.dead_letters.redrive_max;
        Arc::new(Desk::new(topics, &config.consumer, bearer, redrive_max, limits, within))
    });
    let consumer =
        Consumer::start(cluster, topic, config.consumer, processor, dead_letters, Arc::clone(&board));

    let metrics = Metrics::new(vec![Arc::clone(&events), Arc::clone(&letters)], consumer.counts())?;
    let traffic = metrics.traffic();
    let api = Api {
        publisher: Arc::clone(&events) as _,
        store,
        conflicts,
        status: board.watch(),
        config: config.activity,
        limits: config.http.body_limits(),
        embedded: config.embedded,
        run: Run::begin(),
        metrics,
        dead_letters: dead_letter_desk.clone(),
    };
    let requests = shutdown.part("requests");
    let consuming = shutdown.part("the consumer");
    log::info!("listening on http://{}", listener.local_addr()?);
    let stopping = async {
        shutdown.requested().await;
        dead_letter_desk.iter().for_each(|desk| desk.close());
    };
    http::serve(routes(Arc::new(api)), listener, &config.http, traffic, stopping).await;
    events.close().await;
    drop(requests);
    consumer.stop().await;
    letters.close().await;
    drop(consuming);
    Ok(())
}

/// Starts the broker inside this process where no other is named; it ends when what is returned is dropped.
#[cfg(feature = "embedded-broker")]
pub(super) async fn embedded(
    mut config: Config,
) -> anyhow::Result<(Config, Option<crate::embedded::Broker>)> {
    use anyhow::Context as _;

    if !config.embedded {
        return Ok((config, None));
    }
    let broker = crate::embedded::Broker::start(Default::default())
        .await
        .context("the embedded broker cannot start")?;
    let address = broker.bootstrap();
    log::warn!("no KAFKA_BROKERS: using the embedded broker at {address}; nothing survives this process");
    config.kafka.brokers = vec![address];
    Ok((config, Some(broker)))
}
