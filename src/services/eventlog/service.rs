//! The event log put together: as a service, and as a task that ends.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::Utc;
use warp::{Filter, reply::Response};

use super::{
    Api, Chore, Front, Limits, Log, PATHS, dynamodb::DynamoDbStore, routes, sql_server::SqlServerStore,
};
use crate::{
    config::Config,
    http::{self, Listeners, Traffic},
    services::operations::Operations,
    shutdown::Shutdown,
};

/// Runs the service until the stop is requested. The databases may come and go meanwhile.
///
/// # Errors
///
/// None once it listens.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let (tree, traffic) = tree(&config, Front::Server, &shutdown)?;
    let requests = shutdown.part("requests");
    log::info!("listening on http://{}", listeners.clients.local_addr()?);
    http::serve(tree, listeners, &config.http, traffic, &shutdown).await;
    drop(requests);
    Ok(())
}

/// Does what is to be done once.
///
/// # Errors
///
/// A database cannot be reached, or refuses.
pub async fn perform(chore: Chore, config: Config) -> anyhow::Result<()> {
    let settings = settings(&config)?;
    match chore {
        Chore::Sweep { from } => {
            let log = log(&config, Front::Server)?;
            let swept = log.sweep(Utc::now(), from).await.context("the sweep came to no end")?;
            log::info!(
                seen = swept.seen, completed = swept.completed, unreadable = swept.unreadable;
                "swept"
            );
        }
        Chore::Migrate => {
            let made = DynamoDbStore::migrate(&settings.dynamodb).await?;
            let applied = SqlServerStore::migrate(&settings.sql_server).await?;
            if applied == SqlServerStore::MIGRATIONS && !made {
                // The sweep's mark is as new as its table.
                log::info!(
                    "SQL Server's tables are new, DynamoDB's is not: where that has events, highwater eventlog sweep \
                     --from TIME, from before the first of them, gives them their rows"
                );
            }
            log::info!(migrations = applied, table_made = made; "the databases are as the event log needs them");
        }
    }
    Ok(())
}

/// The log of these settings, behind that front.
///
/// # Errors
///
/// They are another service's.
pub fn log(config: &Config, front: Front) -> anyhow::Result<Log> {
    let settings = settings(config)?;
    let limits = Limits { timeout: settings.timeout, grace: config.http.request_timeout, front };
    let metadata = Arc::new(SqlServerStore::new(&settings.sql_server));
    Ok(Log::new(metadata, Arc::new(DynamoDbStore::new(&settings.dynamodb)), limits))
}

/// What answers the requests that this front hands over, until that stop; and where they are counted.
///
/// # Errors
///
/// The settings are another service's.
pub fn tree(
    config: &Config,
    front: Front,
    shutdown: &Shutdown,
) -> anyhow::Result<(
    impl Filter<Extract = (Response,), Error = std::convert::Infallible> + Clone + Send + Sync + 'static + use<>,
    Arc<Traffic>,
)> {
    let log = Arc::new(log(config, front)?);
    let traffic = Arc::new(Traffic::new(&PATHS)?);
    let operations = Arc::new(Operations {
        shutdown: shutdown.clone(),
        particular: Some(Arc::clone(&log) as _),
        ..Operations::without_kafka("highwater-eventlog", Arc::clone(&traffic))
    });
    let api = Api { log, limits: config.http.body_limits(), cors: config.http.cors.clone(), operations };
    Ok((routes(Arc::new(api)), traffic))
}

fn settings(config: &Config) -> anyhow::Result<&super::Config> {
    config.eventlog.as_ref().context("these are not the settings of the event log")
}
