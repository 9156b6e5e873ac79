//! The event log of users' actions: metadata in SQL, details in DynamoDB, linked by the event's id.
//!
//! DynamoDB is written first, with all of the event. The row in SQL comes second, and makes the event exist. So a reader
//! never sees half of an event. Whatever a crash left between the two can be completed: by the client that asks again, or by
//! the [sweep](EventLog::sweep).
//!
//! Neither the handler nor its tests know which databases these are: [`MetadataStore`] and [`DetailsStore`] are the seams.
//! The stores themselves, and the service, are behind the feature `stores`.

#![forbid(unsafe_code)]

mod answer;
mod config;
mod counts;
mod cursor;
mod database_health;
mod deadline;
#[cfg(feature = "stores")]
mod dynamodb;
mod event;
#[cfg(feature = "lambda")]
pub mod lambda;
mod listing;
mod openapi;
mod query;
mod recording;
mod request;
mod routes;
#[cfg(feature = "stores")]
mod service;
#[cfg(feature = "stores")]
mod sql_server;
mod stores;
mod sweep;

pub use answer::EventBody;
pub use config::{AwsKeys, Config, DynamoDb, Job, SqlServer, Task, Trust};
pub use counts::Counts;
pub use cursor::ListingPosition;
pub use database_health::DatabaseHealth;
#[cfg(feature = "stores")]
pub use dynamodb::DynamoDbStore;
pub use event::{Details, LoggedEvent, MOST_ITEM_BYTES, Metadata};
pub use listing::{MOST_BYTES, MOST_ESCAPED_BYTES};
pub use openapi::{DOCUMENT, document};
pub use query::{ListingQuery, MOST};
pub use request::{LONGEST_TYPE, LONGEST_USER, NewLoggedEvent};
pub use routes::{Api, PATHS, routes};
#[cfg(feature = "stores")]
pub use service::{log, perform, run, tree};
#[cfg(feature = "stores")]
pub use sql_server::SqlServerStore;
pub use stores::{
    Bucket, DatabaseError, DatabaseResult, DetailsPage, DetailsStore, Insertion, MetadataStore, PutOutcome,
    RecordedPage, Row,
};
pub use sweep::SweepReport;

use std::{sync::Arc, time::Duration};

/// The log: both databases, and the limits of each request and sweep.
#[derive(Debug)]
pub struct EventLog {
    metadata: Arc<dyn MetadataStore>,
    details: Arc<dyn DetailsStore>,
    limits: Limits,
    counts: Counts,
    databases: DatabaseHealth,
}

/// The limits of times and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most time that a request has for both databases, retries included.
    pub timeout: Duration,
    /// The least age of an event that a sweep completes: longer than the life of any request.
    pub grace: Duration,
    /// The front, which bounds the size of answers.
    pub front: Front,
}

/// The front that takes requests and sends answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// The HTTP server of this program.
    Server,
    /// AWS Lambda: it takes an answer as a string within JSON, of at most [this many bytes](MOST_ESCAPED_BYTES).
    Lambda,
}

impl EventLog {
    /// A log in these databases.
    pub fn new(metadata: Arc<dyn MetadataStore>, details: Arc<dyn DetailsStore>, limits: Limits) -> Self {
        Self { metadata, details, limits, counts: Counts::default(), databases: DatabaseHealth::default() }
    }

    /// The counters.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The health of the databases.
    pub fn databases(&self) -> &DatabaseHealth {
        &self.databases
    }
}
