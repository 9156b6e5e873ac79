//! The command `replay`: it processes the topic again, or fills another schema from it, which takes the place of the serving
//! one.
//!
//! ```text
//! replay --from … --to …    plan: a stretch a partition ─▶ positions (database, then group) back
//! replay --into SCHEMA      read the topic up to where the serving schema stands ─▶ --swap: exchange both names
//! ```
//!
//! Neither stores an event twice, since the ids decide.

mod bound;
#[cfg(feature = "postgres")]
mod fill;
mod plan;
mod rewind;
mod topic_log;

use std::io::Write;

use anyhow::ensure;
use futures::future::LocalBoxFuture;
use highwater_kafka::ClusterConfig;
use highwater_web::shutdown::Shutdown;

pub use bound::Bound;

#[cfg(feature = "postgres")]
use crate::store::PostgresConfig;
use topic_log::TopicLog;

/// The settings of a replay, which are those of the service of the topic.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster. Without brokers a replay is refused.
    pub kafka: ClusterConfig,
    /// The topic of the events.
    pub topic: String,
    /// The consumer group of the service.
    pub group_id: String,
    /// The most bytes of one fetch.
    pub fetch_max_bytes: i32,
    /// The database of events; `None` if the store is in memory.
    #[cfg(feature = "postgres")]
    pub postgres: Option<PostgresConfig>,
}

/// The records to process again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayCommand {
    /// A stretch of the topic, into the serving store.
    Rewind {
        /// The first record of the stretch in each partition.
        from: Bound,
        /// The record after the stretch; without it, the stretch ends at the last processed record.
        to: Option<Bound>,
        /// Whether the plan is only shown.
        dry_run: bool,
    },
    /// All of the topic, into another schema.
    Fill {
        /// The store to fill.
        into: Target,
        /// `Some` if the filled schema then takes the place of the serving one; its value says whether events that the topic
        /// no longer has may be lost.
        swap: Option<bool>,
        /// Whether the plan is only shown.
        dry_run: bool,
    },
}

/// The store to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A schema with that name in the serving database.
    Schema(String),
    /// The schema STORE_SCHEMA of the database at that URL, which may contain a password.
    Url(highwater_kafka::security::Secret),
}

/// Runs the command and reports its progress. Returns whether all was done. A stop ends it early, and keeps the finished
/// work.
///
/// # Errors
///
/// It cannot be done safely, or Kafka or the database does not answer. The error says which changes were made.
pub fn run<'a>(
    command: ReplayCommand,
    config: Config,
    shutdown: &'a Shutdown,
    out: &'a mut (dyn Write + Send),
) -> LocalBoxFuture<'a, anyhow::Result<bool>> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(replay(command, config, shutdown, out))
}

async fn replay(
    command: ReplayCommand,
    config: Config,
    shutdown: &Shutdown,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    ensure!(
        !config.kafka.brokers.is_empty(),
        "set KAFKA_BROKERS (a service with an embedded broker logs its address at its start)"
    );
    let log = TopicLog::open(&config).await?;
    match command {
        ReplayCommand::Rewind { from, to, dry_run } => {
            rewind::run(&log, &config, (&from, to.as_ref()), dry_run, shutdown, out).await
        }
        #[cfg(feature = "postgres")]
        ReplayCommand::Fill { into, swap, dry_run } => {
            fill::run(&log, &config, into, swap, dry_run, shutdown, out).await
        }
        #[cfg(not(feature = "postgres"))]
        ReplayCommand::Fill { .. } => {
            anyhow::bail!("this build has no PostgreSQL: build it with --features postgres")
        }
    }
}
