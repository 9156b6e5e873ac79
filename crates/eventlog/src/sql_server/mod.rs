//! The metadata in SQL Server, by tiberius.
//!
//! Statements keep to the common part of SQL Server and Babelfish for PostgreSQL. They have no parameter that is NULL, which
//! Babelfish has no type for: a statement lacks each filter that is not given. Only a unique key ensures one row for each
//! event.

mod migration;
mod pool;
mod statement;

use std::{collections::HashSet, fmt};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use uuid::Uuid;

use super::{
    DatabaseError, DatabaseResult, Insertion, ListingPosition, ListingQuery, Metadata, MetadataStore, Row,
    SqlServer,
};
use pool::{Pool, SqlFault};
use statement::{Param, Statement};

/// The columns of a row, in the order in which [`row`] reads them.
const COLUMNS: &str = "event_id, user_id, event_type, occurred_at, details_bytes, sequence";

/// Rows in a table.
pub struct SqlServerStore(Pool);

impl SqlServerStore {
    /// Connects at the first call.
    pub fn new(config: &SqlServer) -> Self {
        Self(Pool::new(config))
    }

    /// The number of migrations.
    pub const MIGRATIONS: usize = migration::MIGRATIONS.len();

    /// Brings the database and its tables up to date; returns the number of applied migrations.
    ///
    /// # Errors
    ///
    /// SQL Server cannot be reached, or refuses one: that one is undone, those before it stay.
    pub async fn migrate(config: &SqlServer) -> anyhow::Result<usize> {
        migration::migrate(config).await
    }
}

impl fmt::Debug for SqlServerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqlServerStore")
    }
}

#[async_trait]
impl MetadataStore for SqlServerStore {
    async fn insert(&self, metadata: &Metadata) -> DatabaseResult<Insertion> {
        let Metadata { event_id, user_id, event_type, timestamp, details_bytes } = metadata;
        let bytes = i32::try_from(*details_bytes).map_err(|_| DatabaseError::TooLarge)?;
        let statement = Statement::new(
            "INSERT INTO dbo.events (event_id, user_id, event_type, occurred_at, details_bytes) VALUES (",
        )
        .param(Param::Id(*event_id))
        .text(", ")
        .param(Param::Text(user_id.clone()))
        .text(", ")
        .param(Param::Text(event_type.clone()))
        .text(", ")
        .timestamp(*timestamp)
        .text(", ")
        .param(Param::Number(bytes.into()))
        .text(")");
        match self.0.query(&statement).await {
            Ok(_) => Ok(Insertion::New),
            Err(fault) if fault.is_duplicate() => Ok(Insertion::Already),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn list(
        &self,
        query: &ListingQuery,
        after: Option<ListingPosition>,
        most: usize,
    ) -> DatabaseResult<Vec<Row>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut statement = Statement::new("SELECT TOP (")
            .param(Param::Number(most))
            .text(") ")
            .text(COLUMNS)
            .text(" FROM dbo.events WHERE user_id = ")
            .param(Param::Text(query.user_id.clone()));
        if let Some(event_type) = &query.event_type {
            statement = statement.text(" AND event_type = ").param(Param::Text(event_type.clone()));
        }
        if let Some(from) = query.from {
            statement = statement.text(" AND occurred_at >= ").timestamp(from);
        }
        if let Some(to) = query.to {
            statement = statement.text(" AND occurred_at < ").timestamp(to);
        }
        if let Some(ListingPosition { at, sequence }) = after {
            // An index can seek by the first bound; the second orders rows with the same timestamp.
            statement = statement
                .text(" AND occurred_at <= ")
                .timestamp(at)
                .text(" AND (occurred_at < ")
                .timestamp(at)
                .text(" OR sequence < ")
                .param(Param::Number(sequence))
                .text(")");
        }
        self.rows(&statement.text(" ORDER BY occurred_at DESC, sequence DESC")).await
    }

    async fn of_id(&self, event_id: Uuid) -> DatabaseResult<Option<Metadata>> {
        let statement = Statement::new("SELECT ").text(COLUMNS).text(" FROM dbo.events WHERE event_id = ");
        let rows = self.rows(&statement.param(Param::Id(event_id))).await?;
        Ok(rows.into_iter().next().map(|row| row.metadata))
    }

    async fn find(&self, user_id: &str, event_id: Uuid) -> DatabaseResult<Option<Row>> {
        let statement = Statement::new("SELECT ")
            .text(COLUMNS)
            .text(" FROM dbo.events WHERE event_id = ")
            .param(Param::Id(event_id))
            .text(" AND user_id = ")
            .param(Param::Text(user_id.to_owned()));
        Ok(self.rows(&statement).await?.pop())
    }

    async fn known(&self, ids: &[Uuid]) -> DatabaseResult<HashSet<Uuid>> {
        let mut statement = Statement::new("SELECT event_id FROM dbo.events WHERE event_id IN (");
        for (place, id) in ids.iter().enumerate() {
            statement = statement.text(if place == 0 { "" } else { ", " }).param(Param::Id(*id));
        }
        let rows = self.0.query(&statement.text(")")).await?;
        rows.iter().map(|row| Ok(column::<Uuid>(row, 0)?)).collect()
    }

    async fn swept_until(&self) -> DatabaseResult<DateTime<Utc>> {
        let rows = self.0.query(&Statement::new("SELECT swept_until FROM dbo.sweeps WHERE id = 1")).await?;
        let row = rows.first().ok_or_else(|| DatabaseError::Refused("dbo.sweeps has no row".to_owned()))?;
        Ok(column::<NaiveDateTime>(row, 0)?.and_utc())
    }

    async fn sweep_reached(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> DatabaseResult<()> {
        let statement = Statement::new("UPDATE dbo.sweeps SET swept_until = CASE WHEN ")
            .timestamp(until)
            .text(" > SYSUTCDATETIME() THEN SYSUTCDATETIME() ELSE ")
            .timestamp(until)
            .text(" END WHERE id = 1 AND swept_until >= ")
            .timestamp(from)
            .text(" AND swept_until < ")
            .timestamp(until);
        self.0.query(&statement).await?;
        Ok(())
    }

    async fn probe(&self) -> DatabaseResult<()> {
        // This checks that the database answers and that it was migrated.
        self.0.query(&Statement::new("SELECT TOP (1) sequence FROM dbo.events")).await?;
        Ok(())
    }
}

impl SqlServerStore {
    async fn rows(&self, statement: &Statement) -> DatabaseResult<Vec<Row>> {
        let rows = self.0.query(statement).await?;
        rows.iter().map(|found| Ok(row(found)?)).collect()
    }
}

fn row(found: &tiberius::Row) -> Result<Row, SqlFault> {
    let metadata = Metadata {
        event_id: column(found, 0)?,
        user_id: column::<&str>(found, 1)?.to_owned(),
        event_type: column::<&str>(found, 2)?.to_owned(),
        timestamp: column::<NaiveDateTime>(found, 3)?.and_utc(),
        details_bytes: usize::try_from(column::<i32>(found, 4)?).unwrap_or_default(),
    };
    Ok(Row { metadata, sequence: column(found, 5)? })
}

/// A column that is never NULL.
fn column<'a, T: tiberius::FromSql<'a>>(row: &'a tiberius::Row, place: usize) -> Result<T, SqlFault> {
    row.try_get(place)?.ok_or_else(|| SqlFault::Other(format!("column {place} is NULL")))
}
