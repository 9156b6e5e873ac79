//! Puts the event log together: as a service, and as a job that ends.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::Utc;
use futures::future::BoxFuture;
use highwater_web::{
    http::{self, AdminAuth, Listeners, Traffic},
    operations::Operations,
    shutdown::Shutdown,
};
use warp::{Filter, reply::Response};

use super::{
    Api, Config, EventLog, Front, Job, Limits, PATHS, dynamodb::DynamoDbStore, routes,
    sql_server::SqlServerStore,
};

/// Runs the service until the stop is requested. The databases may come and go meanwhile.
///
/// # Errors
///
/// None once it listens.
pub fn run(
    config: Config,
    listeners: Listeners,
    shutdown: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(serve(config, listeners, shutdown))
}

async fn serve(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let (tree, traffic) = tree(&config, Front::Server, &shutdown)?;
    let requests = shutdown.component("requests");
    log::info!("listening on {}://{}", config.http.scheme(), listeners.clients.local_addr()?);
    http::serve(tree, listeners, &config.http, traffic, &shutdown).await;
    drop(requests);
    Ok(())
}

/// Does a job.
///
/// # Errors
///
/// A database cannot be reached, or refuses.
pub async fn perform(job: Job, config: Config) -> anyhow::Result<()> {
    match job {
        Job::Sweep { from } => {
            let log = log(&config, Front::Server);
            let swept = log.sweep(Utc::now(), from).await.context("the sweep came to no end")?;
            log::info!(
                seen = swept.seen, completed = swept.completed, unreadable = swept.unreadable;
                "swept"
            );
        }
        Job::Migrate => {
            let made = DynamoDbStore::migrate(&config.dynamodb).await?;
            let applied = SqlServerStore::migrate(&config.sql_server).await?;
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

/// The log with these settings, behind that front.
pub fn log(config: &Config, front: Front) -> EventLog {
    let limits = Limits { timeout: config.timeout, grace: config.http.request_timeout, front };
    let metadata = Arc::new(SqlServerStore::new(&config.sql_server));
    EventLog::new(metadata, Arc::new(DynamoDbStore::new(&config.dynamodb)), limits)
}

/// The routes behind this front, until that stop, and the counters of their requests.
///
/// # Errors
///
/// The paths cannot be counted, which a test would have found.
pub fn tree(
    config: &Config,
    front: Front,
    shutdown: &Shutdown,
) -> anyhow::Result<(
    impl Filter<Extract = (Response,), Error = std::convert::Infallible> + Clone + Send + Sync + 'static + use<>,
    Arc<Traffic>,
)> {
    let log = Arc::new(log(config, front));
    let traffic = Arc::new(Traffic::new(&PATHS)?);
    let has_admins = config.http.auth.is_on();
    let operations = Arc::new(Operations {
        warnings: config.http.warnings(),
        admin_auth: has_admins.then(|| Arc::new(AdminAuth::new(None))),
        shutdown: shutdown.clone(),
        status_source: Some(Arc::clone(&log) as _),
        ..Operations::without_kafka("highwater-eventlog", Arc::clone(&traffic))
    });
    let api = Api { log, limits: config.http.body_limits(), operations };
    Ok((routes(Arc::new(api)), traffic))
}
