//! Dead letters for an operator of a service: listed and sent back, over REST and from a shell.
//!
//! A dead letter is a record and a reason, in every service, so this module knows no event. The mechanism is in
//! [`highwater_kafka::dead_letter`].

mod answers;
mod body;
pub mod cli;
mod listing;
mod openapi;
mod request;
mod routes;

use std::{sync::Arc, time::Duration};

use highwater_kafka::{
    Cluster, ConsumerConfig, Publisher, Topic,
    dead_letter::{DlqReader, Redriver},
};

use crate::http::{AdminAuth, BearerToken, BodyLimits};

pub use cli::DlqCommand;
pub use openapi::{describe, secured};
pub use routes::{PATHS, routes};

/// The longest wait for Kafka, for one page of a listing or one look at the ends of the log.
const PATIENCE: Duration = Duration::from_secs(5);

/// The settings of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The token that the routes require; the routes are absent without one.
    pub admin: Option<BearerToken>,
    /// The most redrives of a record.
    pub redrive_max: u32,
}

/// The dead letters of one topic, and their authorization.
#[derive(Debug)]
pub struct DlqAdmin {
    reader: DlqReader,
    redriver: Redriver,
    admin_auth: Arc<AdminAuth>,
    limits: BodyLimits,
    /// The time after which a redrive answers with its progress.
    redrive_for: Duration,
}

/// The dead letter topic, and the topic of the original records.
pub struct Topics {
    /// The cluster of both.
    pub cluster: Arc<Cluster>,
    /// The dead letter topic.
    pub dead_letters: Topic,
    /// The name of the topic of the original records.
    pub source: Arc<str>,
    /// The publisher that writes to that topic.
    pub publisher: Arc<dyn Publisher>,
}

impl Topics {
    /// The reader of the dead letters, and their redriver.
    fn open(self, consumer: &ConsumerConfig, redrive_max: u32) -> (DlqReader, Redriver) {
        let reader = DlqReader::new(self.cluster, self.dead_letters, consumer.fetch_max_bytes, PATIENCE);
        let redriver = Redriver::new(reader.clone(), self.publisher, &self.source, consumer, redrive_max);
        (reader, redriver)
    }
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics")
            .field("letters", &self.dead_letters)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl DlqAdmin {
    /// An admin of these dead letters behind that authorization; requests are answered within `request_timeout`.
    pub fn new(
        topics: Topics,
        consumer: &ConsumerConfig,
        admin_auth: Arc<AdminAuth>,
        redrive_max: u32,
        limits: BodyLimits,
        request_timeout: Duration,
    ) -> Self {
        let (reader, redriver) = topics.open(consumer, redrive_max);
        // The second half is for the dead letters under way, their commit and the leave.
        Self { reader, redriver, admin_auth, limits, redrive_for: request_timeout / 2 }
    }

    /// The service stops: a redrive that is at work ends after the dead letters that are on their way.
    pub fn close(&self) {
        self.redriver.stop();
    }
}
