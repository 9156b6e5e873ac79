//! The failures of the database.

use std::{io, time::Duration};

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// The failures of the store. None of them shows a password.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// No connection could be made.
    #[error("PostgreSQL cannot be reached: {0}")]
    Unreachable(String),
    /// The database refused, or the connection broke.
    #[error("{}", in_words(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The database did not answer.
    #[error("PostgreSQL gives no answer within {0:?} (STORE_TIMEOUT)")]
    Silent(Duration),
    /// All connections were in use.
    #[error("no connection to PostgreSQL became free within {0:?}")]
    Busy(Duration),
    /// The schema is not one that this program can use.
    #[error("{0}")]
    Schema(String),
    /// Another process has claimed the partition since, or moved its position.
    #[error("partition {0} was claimed anew in the database, or its position there moved")]
    Fenced(i32),
    /// A row is not as it was written.
    #[error("the row of partition {partition}, position {position} is not as it was written")]
    Altered {
        /// Its partition.
        partition: i32,
        /// Its position.
        position: i64,
    },
}

impl Failure {
    /// Whether a unique index has such a key already.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.to_string())
    }
}

/// The server's message with its code. An error without a code is described down to its cause.
pub(super) fn in_words(error: &tokio_postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        let detail = told.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("PostgreSQL: {}{detail} [{}]", told.message(), told.code().code());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
            "the connection is refused: does PostgreSQL run there?".to_owned()
        }
        _ if error.is_closed() => "the connection to PostgreSQL is closed".to_owned(),
        _ => cause.to_string(),
    }
}
