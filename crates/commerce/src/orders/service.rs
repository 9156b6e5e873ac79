//! Puts the order service together, and stops its parts in order.

use std::sync::Arc;

use futures::future::BoxFuture;
use highwater_kafka::{BatchHandler, ConsumerConfig, ConsumerHandle, OffsetReset};
use highwater_table::{EventSourcedTable, Projection};
use highwater_web::{
    http::{self, Listeners, Traffic},
    operations::{GroupMembership, Operations},
    shutdown::Shutdown,
};
use tokio::time::timeout;

use super::{
    CancelOrders, Orders,
    order_service::OrderService,
    routes::{Api, PATHS, routes},
};
use crate::{Config, state::MemoryLimit, users::Users};

/// Runs the service until the stop is requested. Kafka may come and go meanwhile.
///
/// # Errors
///
/// A topic cannot keep state.
pub fn run(
    config: Config,
    listeners: Listeners,
    shutdown: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(serve(config, listeners, shutdown))
}

async fn serve(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let kafka = config.kafka("/orders")?;
    let traffic = Arc::new(Traffic::new(&PATHS)?);
    let operations = config.operations("highwater-orders", &kafka, &traffic, &shutdown);
    let users =
        Arc::new(EventSourcedTable::<Users>::start(&kafka, config.state.users, config.producer.clone()));
    let orders = Arc::new(EventSourcedTable::<Orders>::start(&kafka, config.state.orders, config.producer));
    let memory = MemoryLimit::new(config.state.max_bytes);
    let service = Arc::new(OrderService { users: Arc::clone(&users), orders: Arc::clone(&orders), memory });
    let cancel = CancelOrders::new(Arc::clone(&service));
    let (of_users, users_member) = consume(&users, config.consumer.clone(), cancel.clone());
    let (of_orders, orders_member) = consume(&orders, config.consumer, cancel);

    let writers =
        [orders.producer().producer(), Some(of_users.dlq_producer()), Some(of_orders.dlq_producer())];
    let operations = Arc::new(Operations {
        memberships: vec![users_member, orders_member],
        tables: vec![Arc::clone(&users) as _, Arc::clone(&orders) as _],
        producers: writers.into_iter().flatten().cloned().collect(),
        ..operations
    });
    let api = Api { service, limits: config.http.body_limits(), operations };

    let requests = shutdown.component("requests");
    let consuming = shutdown.component("the consumer");
    log::info!("listening on {}://{}", config.http.scheme(), listeners.clients.local_addr()?);
    let serving = http::serve(routes(Arc::new(api)), listeners, &config.http, traffic, &shutdown);
    let served = async {
        serving.await;
        drop(requests);
    };
    // The consumers stop beside the requests: no client can keep them from leaving in good order.
    let consumed = async {
        shutdown.requested().await;
        tokio::join!(of_users.stop(), of_orders.stop());
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(served, consumed) } => {}
        invalid = users.invalid_topic() => return Err(invalid.into()),
        invalid = orders.invalid_topic() => return Err(invalid.into()),
    }
    let stopped = async { tokio::join!(users.stop(), orders.stop()) };
    if timeout(config.http.stop_timeout / 2, stopped).await.is_err() {
        log::warn!("events that nobody was promised are not written: no answer in time");
    }
    drop(consuming);
    Ok(())
}

/// Reads the topic of a table in the group too, to act on its events. A process is a member once for each topic, by a name
/// of its own if it has an instance id.
fn consume<F: Projection>(
    table: &EventSourcedTable<F>,
    mut config: ConsumerConfig,
    handler: impl BatchHandler<F::Event>,
) -> (ConsumerHandle, GroupMembership) {
    let topic = table.topic().with_own_status();
    // Every event has its side effects, even where the offset reset is `latest`.
    config.offset_reset = OffsetReset::Earliest;
    config.instance_id = config.instance_id.map(|name| format!("{name}-{}", topic.name()));
    let consuming = topic.consumer(config).start(handler);
    let membership = GroupMembership::new(&consuming, topic.kafka().status());
    (consuming, membership)
}
