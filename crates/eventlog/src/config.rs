//! Settings of the event log.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use highwater_web::{Secret, http};

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// All that a request asks of both databases, retries included.
    pub timeout: Duration,
    /// How the service is reached.
    pub http: http::Config,
    /// Where metadata is kept.
    pub sql_server: SqlServer,
    /// Where details are kept.
    pub dynamodb: DynamoDb,
}

/// How SQL Server is reached.
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
    /// Whom it must be certified by.
    pub trust: Trust,
    /// The most connections of this instance.
    pub connections: usize,
    /// How long a connection may take to be made, login included.
    pub connect_timeout: Duration,
}

/// The certificates that are trusted. TLS is always on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// An authority's that the system trusts.
    System,
    /// That of the authority in this file, or of one that the system trusts.
    Authority(PathBuf),
    /// Anybody's.
    Anyone,
}

/// How DynamoDB is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDb {
    /// The table.
    pub table: String,
    /// The region.
    pub region: String,
    /// Where DynamoDB is, where it is not the region's own.
    pub endpoint: Option<String>,
    /// The keys that sign requests.
    pub keys: AwsKeys,
}

/// AWS' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Names the other.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: Secret,
    /// Comes with keys that are valid for a while, as a Lambda function's are.
    pub session_token: Option<Secret>,
}

/// A task of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Answer requests.
    Serve,
    /// Something that comes to an end.
    Once(Job),
}

/// A task that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Complete what a crash left.
    Sweep {
        /// Sweep events recorded from then on; without it, from where the last sweep ended.
        from: Option<DateTime<Utc>>,
    },
    /// Make the databases what they must be.
    Migrate,
}
