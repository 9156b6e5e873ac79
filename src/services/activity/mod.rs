//! The activity service: events in over REST, through Kafka, stored once, out over REST.

mod answers;
mod cursor;
mod processor;
pub mod record;
mod request;
mod routes;
mod selection;
pub mod timestamp;

pub use cursor::Run;
pub use processor::Processor;
pub use request::{Accepts, NewEvent};
pub use routes::{Api, routes};

use tokio::net::TcpListener;

use crate::shutdown::Shutdown;

/// The settings of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The event types that `POST /events/generate` takes, compared exactly.
    pub event_types: Vec<String>,
}

/// Runs the service until its stop is requested.
///
/// # Errors
///
/// What keeps it from starting.
pub async fn run(
    config: crate::config::Config,
    listener: TcpListener,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    log::info!(address:% = listener.local_addr()?, topic = config.topic.name.as_str(); "listening");
    shutdown.requested().await;
    Ok(())
}
