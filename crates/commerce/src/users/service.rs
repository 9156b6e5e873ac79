//! Puts the user service together, and stops its parts in order.

use std::sync::Arc;

use futures::future::BoxFuture;
use highwater_table::EventSourcedTable;
use highwater_web::{
    http::{self, Listeners, Traffic},
    operations::Operations,
    shutdown::Shutdown,
};
use tokio::time::timeout;

use super::{
    Users,
    routes::{Api, PATHS, routes},
};
use crate::{Config, state::MemoryLimit};

/// Runs the service until the stop is requested. Kafka may come and go meanwhile.
///
/// # Errors
///
/// The topic of the users cannot keep state.
pub fn run(
    config: Config,
    listeners: Listeners,
    shutdown: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(serve(config, listeners, shutdown))
}

async fn serve(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let kafka = config.kafka("/users")?;
    let traffic = Arc::new(Traffic::new(&PATHS)?);
    let operations = config.operations("highwater-users", &kafka, &traffic, &shutdown);
    let users = Arc::new(EventSourcedTable::<Users>::start(&kafka, config.state.users, config.producer));
    let operations = Arc::new(Operations {
        tables: vec![Arc::clone(&users) as _],
        producers: users.producer().producer().into_iter().cloned().collect(),
        ..operations
    });
    let memory = MemoryLimit::new(config.state.max_bytes);
    let api = Api { users: Arc::clone(&users), memory, limits: config.http.body_limits(), operations };

    let requests = shutdown.component("requests");
    log::info!("listening on {}://{}", config.http.scheme(), listeners.clients.local_addr()?);
    let serving = http::serve(routes(Arc::new(api)), listeners, &config.http, traffic, &shutdown);
    tokio::select! {
        () = serving => {}
        invalid = users.invalid_topic() => return Err(invalid.into()),
    }
    if timeout(config.http.stop_timeout / 2, users.stop()).await.is_err() {
        log::warn!("events that nobody was promised are not written: no answer in time");
    }
    drop(requests);
    Ok(())
}
