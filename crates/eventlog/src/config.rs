//! The settings of the event log.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use highwater_web::{Secret, http};

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The most time that a request has for both databases, retries included.
    pub timeout: Duration,
    /// The HTTP server.
    pub http: http::Config,
    /// The database of metadata.
    pub sql_server: SqlServer,
    /// The table of details.
    pub dynamodb: DynamoDb,
}

/// The connection to SQL Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The login.
    pub username: String,
    /// The login's password.
    pub password: Secret,
    /// The trust in its certificate.
    pub trust: Trust,
    /// The most connections of this instance.
    pub connections: usize,
    /// The longest time of connecting, login included.
    pub connect_timeout: Duration,
}

/// The trusted certificates. TLS is always on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A certificate of an authority that the system trusts.
    System,
    /// A certificate of the authority in this file, or of one that the system trusts.
    Authority(PathBuf),
    /// Any certificate.
    Anyone,
}

/// The connection to DynamoDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDb {
    /// The table.
    pub table: String,
    /// The region.
    pub region: String,
    /// The endpoint; `None` for that of the region.
    pub endpoint: Option<String>,
    /// The keys that sign requests.
    pub keys: AwsKeys,
}

/// The keys of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// The id of the secret key.
    pub access_key_id: String,
    /// The key that signs.
    pub secret_access_key: Secret,
    /// The token of keys that are valid for a while, as a Lambda function's are.
    pub session_token: Option<Secret>,
}

/// A task of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Answers requests.
    Serve,
    /// Does a job, and ends.
    Once(Job),
}

/// A task that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Completes events after crashes.
    Sweep {
        /// The time from which recorded events are swept; without it, the end of the last sweep.
        from: Option<DateTime<Utc>>,
    },
    /// Brings the databases up to date.
    Migrate,
}
