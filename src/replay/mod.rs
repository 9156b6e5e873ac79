//! The command `replay`: it has the topic processed again, or fills another schema from it that takes the place of the
//! one that serves.
//!
//! ```text
//! replay --from … --to …    plan: a stretch a partition ─▶ positions (database, then group) back
//! replay --into SCHEMA      read the topic up to where the serving schema stands ─▶ --swap: exchange both names
//! ```
//!
//! Neither stores an event twice: the ids decide.

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

/// The settings of a replay: those of the service whose topic it is.
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
    /// The database of events; `None` where the store is in memory.
    #[cfg(feature = "postgres")]
    pub postgres: Option<PostgresConfig>,
}

/// The records to process again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayCommand {
    /// A stretch of the topic, into the store that serves.
    Rewind {
        /// Its first record of each partition.
        from: Bound,
        /// The record after its last; without one, the last that was processed.
        to: Option<Bound>,
        /// Whether it is only told what would be done.
        dry_run: bool,
    },
    /// All of the topic, into another schema.
    Fill {
        /// Where that is.
        into: Target,
        /// Whether it then takes the place of the one that serves: `Some` with whether events that the topic no longer has
        /// may go.
        swap: Option<bool>,
        /// Whether it is only told what would be done.
        dry_run: bool,
    },
}

/// The store to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A schema of that name in the database that serves.
    Schema(String),
    /// The schema STORE_SCHEMA of the database at that URL, which may have a password.
    Url(highwater_kafka::security::Secret),
}

/// Runs the command and reports its progress. Returns whether all was done. A stop ends it early, and keeps the work that
/// is done.
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
    // In a box it is compiled here, and not once more in each program that runs it.
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
