//! The health of the databases, by the outcome of the last call to each.

use std::{
    mem::discriminant,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use highwater_web::operations::{Metric, StatusSource};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{DatabaseError, DatabaseResult, EventLog, deadline::Deadline};

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Metadata,
    Details,
}

impl Database {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Metadata => "SQL Server",
            Self::Details => "DynamoDB",
        }
    }
}

/// A database's failure, as clients may see it.
pub(super) fn reason(database: Database, error: &DatabaseError) -> String {
    let name = database.name();
    match error {
        DatabaseError::Throttled(_) => format!("{name} has too much to do"),
        DatabaseError::Late => format!("{name} did not answer in time"),
        DatabaseError::Away(_)
        | DatabaseError::Refused(_)
        | DatabaseError::Invalid(_)
        | DatabaseError::TooLarge => {
            format!("{name} cannot be used")
        }
    }
}

/// Both databases, in the body of `/health`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Databases {
    /// The database of metadata.
    pub(super) sql_server: DatabaseState,
    /// The table of details.
    pub(super) dynamo_db: DatabaseState,
}

/// The state of a database.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DatabaseState {
    /// Whether the last call to it went well.
    pub(super) connected: bool,
    /// The last error, while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The last error of each; none at the start.
#[derive(Debug, Default)]
pub struct DatabaseHealth([Mutex<Option<DatabaseError>>; 2]);

impl DatabaseHealth {
    /// Notes the outcome of a call, and logs it if it is new.
    pub(super) fn note<T>(&self, database: Database, outcome: &DatabaseResult<T>) {
        let error = outcome.as_ref().err().filter(|error| !error.is_of_one());
        let before = std::mem::replace(&mut *self.lock(database), error.cloned());
        let database = database.name();
        match (before, error) {
            // An error of the same kind is not new: only its words differ, by the connection for instance.
            (Some(before), Some(error)) if discriminant(&before) == discriminant(error) => {}
            (_, Some(error)) => log::warn!(database; "a database fails: {error}"),
            (Some(_), None) => log::info!(database; "the database answers again"),
            (None, None) => {}
        }
    }

    /// Members of the body of `/health`. The databases' own words are for the log: they name hosts and logins.
    pub fn health(&self) -> Map<String, Value> {
        let state = |database| {
            let error = self.lock(database).as_ref().map(|error| reason(database, error));
            DatabaseState { connected: error.is_none(), error }
        };
        let databases =
            Databases { sql_server: state(Database::Metadata), dynamo_db: state(Database::Details) };
        let databases = serde_json::to_value(databases).ok();
        databases.into_iter().map(|databases| ("databases".to_owned(), databases)).collect()
    }

    /// The reason why the service is not ready.
    pub fn obstacle(&self) -> Option<String> {
        [Database::Metadata, Database::Details].into_iter().find_map(|database| {
            let error = self.lock(database).clone()?;
            Some(reason(database, &error))
        })
    }

    fn lock(&self, database: Database) -> std::sync::MutexGuard<'_, Option<DatabaseError>> {
        // Each change is a single assignment: a panic cannot have left half of one.
        self.0[database as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog {
    /// Asks both databases for their health.
    pub async fn probe(&self, patience: Duration) {
        let deadline = Deadline::after(patience);
        let metadata = async {
            let outcome = deadline.within(self.metadata.probe()).await;
            self.databases.note(Database::Metadata, &outcome);
        };
        let details = async {
            let outcome = deadline.within(self.details.probe()).await;
            self.databases.note(Database::Details, &outcome);
        };
        tokio::join!(metadata, details);
    }
}

impl StatusSource for EventLog {
    fn health(&self) -> Map<String, Value> {
        self.databases.health()
    }

    fn obstacle(&self) -> Option<String> {
        self.databases.obstacle()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.counts.metrics()
    }
}
