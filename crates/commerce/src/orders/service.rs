//! The order service put together, and the order in which it stops.

use std::sync::Arc;

use highwater_kafka::{BatchHandler, ConsumerConfig, ConsumerHandle, Kafka, OffsetReset};
use highwater_table::{Fold, Ledger};
use highwater_web::{
    http::{self, Door, Listeners, Traffic},
    operations::{Membership, Operations},
    shutdown::Shutdown,
};
use tokio::time::timeout;

use super::{
    CancelOrders, Orders,
    ordering::Books,
    routes::{Api, PATHS, routes},
};
use crate::{Config, state::Room, users::Users};

/// Runs the service until the stop is requested. Kafka may come and go meanwhile.
///
/// # Errors
///
/// A topic cannot keep state.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let kafka = Kafka::new(config.kafka)
        .with_source("/orders")
        .with_metadata_max_age(config.consumer.metadata_max_age);
    let users = Arc::new(Ledger::<Users>::start(&kafka, config.state.users, config.producer.clone()));
    let orders = Arc::new(Ledger::<Orders>::start(&kafka, config.state.orders, config.producer));
    let room = Room::new(config.state.max_bytes);
    let books = Arc::new(Books { users: Arc::clone(&users), orders: Arc::clone(&orders), room });
    let cancel = CancelOrders::new(Arc::clone(&books));
    let (of_users, users_member) = consume(&users, config.consumer.clone(), cancel.clone());
    let (of_orders, orders_member) = consume(&orders, config.consumer, cancel);

    let traffic = Arc::new(Traffic::new(&PATHS)?);
    let writers =
        [orders.producer().producer(), Some(of_users.dlq_producer()), Some(of_orders.dlq_producer())];
    let operations = Arc::new(Operations {
        embedded: config.embedded,
        shutdown: shutdown.clone(),
        door: config.admin.map(|bearer| Arc::new(Door::new(bearer))),
        memberships: vec![users_member, orders_member],
        ledgers: vec![Arc::clone(&users) as _, Arc::clone(&orders) as _],
        producers: writers.into_iter().flatten().cloned().collect(),
        ..Operations::new("highwater-orders", kafka.status(), Arc::clone(&traffic))
    });
    let api = Api { books, limits: config.http.body_limits(), operations };

    let requests = shutdown.part("requests");
    let consuming = shutdown.part("the consumer");
    log::info!("listening on http://{}", listeners.clients.local_addr()?);
    let serving = http::serve(routes(Arc::new(api)), listeners, &config.http, traffic, &shutdown);
    let served = async {
        serving.await;
        drop(requests);
    };
    // Beside the requests: no client can keep the consumers from leaving in good order.
    let consumed = async {
        shutdown.requested().await;
        tokio::join!(of_users.stop(), of_orders.stop());
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(served, consumed) } => {}
        unfit = users.unfit() => return Err(unfit.into()),
        unfit = orders.unfit() => return Err(unfit.into()),
    }
    let stopped = async { tokio::join!(users.stop(), orders.stop()) };
    if timeout(config.http.stop_timeout / 2, stopped).await.is_err() {
        log::warn!("events that nobody was promised are not written: no answer in time");
    }
    drop(consuming);
    Ok(())
}

/// Reads the topic of a ledger in the group too, for what is to follow from its events. A process is a member once
/// for each topic, by a name of its own where it has one.
fn consume<F: Fold>(
    ledger: &Ledger<F>,
    mut config: ConsumerConfig,
    handler: impl BatchHandler<F::Event>,
) -> (ConsumerHandle, Membership) {
    let topic = ledger.topic().with_own_status();
    // What follows from an event follows from each, whatever else is read from the end.
    config.offset_reset = OffsetReset::Earliest;
    config.instance_id = config.instance_id.map(|name| format!("{name}-{}", topic.handle().name()));
    let consuming = topic.consumer(config).start(handler);
    let membership = Membership::of(&consuming, topic.kafka().status());
    (consuming, membership)
}
