//! The composition of the activity service, and the order of its shutdown.

use std::sync::Arc;

use futures::future::BoxFuture;
use highwater_kafka::Kafka;
use highwater_web::{
    dead_letters::{self, DlqAdmin},
    http::{self, AdminAuth, Listeners, Traffic},
    operations::{GroupMembership, Operations},
    shutdown::Shutdown,
    trace::RecordTraces,
};
use tokio::time::timeout;

#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::{
    activity::{
        Api, ConcurrencyLimit, Conflicts, EventStreams, PATHS, Processor, Rejections, StoreStatus,
        TopicRecord, routes,
    },
    config::Config,
    store::{ActivityEvent, EventStore, MemoryStore},
};

/// Runs the service until a shutdown is requested. Kafka may come and go meanwhile.
///
/// At the shutdown the service takes no more requests and answers those in flight. At the same time the consumer drains,
/// commits and leaves its group, so that no client can delay it.
///
/// # Errors
///
/// The embedded broker cannot start, or the schema of the store's database cannot be used. A running service does not fail.
pub fn run(
    config: Config,
    listeners: Listeners,
    shutdown: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(serve(config, listeners, shutdown))
}

async fn serve(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    #[cfg(feature = "embedded-broker")]
    let mut config = config;
    #[cfg(feature = "embedded-broker")]
    let _broker = crate::embedded::start(&mut config.kafka).await?;

    let (store, listing_limit) = open_store(&config).await?;
    let listing_limit = Arc::new(listing_limit);
    let streams = Arc::new(EventStreams::new(config.activity.max_event_streams));
    let traces = Arc::new(RecordTraces::new(config.http.tracer.clone()));
    let kafka = Kafka::new(config.kafka.with_interceptor(Some(traces)))?
        .with_metadata_max_age(config.consumer.metadata_max_age);
    let topic = kafka.topic::<ActivityEvent>(config.topic);
    let conflicts = Arc::new(Conflicts::default());
    let processor = Processor::new(Arc::clone(&store), Arc::clone(&conflicts))
        .with_logged_events(config.activity.logged_events);
    let events = topic.producer(config.producer.clone());
    let consuming = topic
        .read_as::<TopicRecord>()
        .consumer(config.consumer.clone())
        .with_dead_letters(config.dead_letter_topic, config.producer)
        .start(processor);
    let admin = config.dead_letters.admin;
    // Without ADMIN_TOKEN, clients with the scope for it handle dead letters.
    let has_admins = admin.is_some() || config.http.auth.is_on();
    let admin_auth = has_admins.then(|| Arc::new(AdminAuth::new(admin)));
    let admin = admin_auth.clone().map(|admin_auth| {
        let topics = dead_letters::Topics {
            cluster: Arc::clone(kafka.cluster()),
            dead_letters: consuming.dlq_producer().topic().clone(),
            source: Arc::clone(topic.name()),
            publisher: Arc::clone(events.publisher()),
        };
        let (limits, within) = (config.http.body_limits(), config.http.request_timeout);
        let redrive_max = config.dead_letters.redrive_max;
        Arc::new(DlqAdmin::new(topics, &config.consumer, admin_auth, redrive_max, limits, within))
    });

    let rejections = Arc::<Rejections>::default();
    let traffic = Arc::new(Traffic::new(&PATHS)?.with_refusals(rejections.clone()));
    let operations = Arc::new(Operations {
        warnings: config.http.warnings(),
        embedded: config.embedded,
        shutdown: shutdown.clone(),
        admin_auth,
        memberships: vec![GroupMembership::new(&consuming, kafka.status())],
        producers: events.producer().into_iter().chain([consuming.dlq_producer()]).cloned().collect(),
        status_source: Some(Arc::new(StoreStatus {
            store: Arc::clone(&store),
            conflicts,
            listing_limit: Arc::clone(&listing_limit),
            streams: Arc::clone(&streams),
            schemas: config.activity.schemas.clone(),
        })),
        ..Operations::new(env!("CARGO_PKG_NAME"), kafka.status(), Arc::clone(&traffic))
    });
    let api = Api {
        events: events.clone(),
        store,
        config: config.activity,
        limits: config.http.body_limits(),
        listing_limit,
        streams,
        rejections,
        operations,
        dead_letters: admin.clone(),
        shutdown: shutdown.clone(),
    };
    let requests = shutdown.component("requests");
    let consumer = shutdown.component("the consumer");
    log::info!("listening on {}://{}", config.http.scheme(), listeners.clients.local_addr()?);
    let stopping = async {
        shutdown.requested().await;
        admin.iter().for_each(|admin| admin.close());
    };
    let serving = async {
        tokio::join!(
            http::serve(routes(Arc::new(api)), listeners, &config.http, traffic, &shutdown),
            stopping
        );
        // No request waits for the remaining events.
        if timeout(config.http.stop_timeout / 2, events.close()).await.is_err() {
            log::warn!(
                "some events of requests that were given up are not written: Kafka did not answer in time"
            );
        }
        drop(requests);
    };
    let consuming = async {
        shutdown.requested().await;
        consuming.stop().await;
        drop(consumer);
    };
    tokio::join!(serving, consuming);
    Ok(())
}

/// The configured database, else memory, and the number of listings that may read it at once: a read of memory takes a
/// processor, a read of a database one of its connections.
async fn open_store(config: &Config) -> anyhow::Result<(Arc<dyn EventStore>, ConcurrencyLimit)> {
    #[cfg(feature = "postgres")]
    if let Some(postgres) = &config.postgres {
        let (_, reading) = postgres.connections;
        let store = PostgresStore::open(postgres.clone()).await?;
        return Ok((Arc::new(store), ConcurrencyLimit::new(reading)));
    }
    let store = MemoryStore::new(&config.store);
    let store = match config.store_retention {
        Some(retention) => store.keeping(retention),
        None => Arc::new(store),
    };
    Ok((store, ConcurrencyLimit::default()))
}
