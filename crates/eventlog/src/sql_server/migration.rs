//! Migrations: numbered files, each applied once, in order, by one process at a time.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tiberius::Row;
use tokio::time::{Instant, sleep};

use super::{
    column,
    pool::{Connection, SqlFault, connect},
};
use crate::SqlServer;

/// All migrations, each with its number, which is also its place. A migration that was applied somewhere is never changed. A
/// change gets a file of its own.
pub(super) const MIGRATIONS: [(i32, &str, &str); 2] = [
    (1, "events", include_str!("../../migrations/sqlserver/0001_events.sql")),
    (2, "sweeps", include_str!("../../migrations/sqlserver/0002_sweeps.sql")),
];

/// The longest wait for another process that makes the database.
const MAKING: Duration = Duration::from_secs(60);
/// The interval between two looks at the database.
const BETWEEN: Duration = Duration::from_millis(250);

/// The lock of a migration. It is released when the connection ends.
const LOCK: &str = "DECLARE @outcome INT; \
    EXEC @outcome = sp_getapplock @Resource = 'highwater eventlog migrations', @LockMode = 'Exclusive', \
    @LockOwner = 'Session', @LockTimeout = 30000; SELECT @outcome AS outcome;";

const HISTORY: &str = "IF OBJECT_ID('dbo.eventlog_migrations') IS NULL \
    CREATE TABLE dbo.eventlog_migrations (version INT NOT NULL PRIMARY KEY, name NVARCHAR(100) NOT NULL, \
    applied_at DATETIME2(3) NOT NULL);";

/// Applies the migrations that are not applied yet, and makes a missing database. Returns the number of applied migrations.
///
/// # Errors
///
/// SQL Server cannot be reached, or refuses one: that one is undone, those before it stay.
pub(super) async fn migrate(config: &SqlServer) -> anyhow::Result<usize> {
    let mut connection = connected(config).await?;

    let lock = batch(&mut connection, LOCK).await.map_err(told).context("no lock can be had")?;
    let outcome = lock.first().map(|row| column::<i32>(row, 0)).transpose().map_err(told)?;
    if outcome.is_none_or(|outcome| outcome < 0) {
        bail!("another migration is under way, and has been for half a minute");
    }
    batch(&mut connection, HISTORY).await.map_err(told)?;
    let applied =
        batch(&mut connection, "SELECT version FROM dbo.eventlog_migrations").await.map_err(told)?;
    let applied =
        applied.iter().map(|row| column::<i32>(row, 0)).collect::<Result<Vec<_>, _>>().map_err(told)?;
    let mut count = 0;
    for (version, name, text) in MIGRATIONS.iter().filter(|(version, ..)| !applied.contains(version)) {
        let applying = apply(&mut connection, *version, name, text).await;
        applying.map_err(told).with_context(|| format!("migration {version} ({name}) failed"))?;
        log::info!(version, name; "applied a migration of SQL Server");
        count += 1;
    }
    Ok(count)
}

/// A connection to the database, which is made if it is missing.
async fn connected(config: &SqlServer) -> anyhow::Result<Connection> {
    let deadline = Instant::now() + MAKING;
    loop {
        let unknown = match connect(config, &config.database).await {
            Err(fault) if fault.is_unknown_database() => fault,
            connected => return connected.map_err(told).context("SQL Server cannot be reached"),
        };
        match create(config).await {
            Ok(()) => log::info!(database = config.database.as_str(); "created the database"),
            // The database exists once the other process is done. If it exists and stays closed to this login, that is the
            // fault.
            Err(fault) if fault.is_made_by_somebody() && Instant::now() < deadline => sleep(BETWEEN).await,
            Err(fault) if fault.is_made_by_somebody() => {
                return Err(told(unknown)).context("the database is there, and cannot be used");
            }
            Err(fault) => return Err(told(fault)).context("the database cannot be created"),
        }
    }
}

/// Applies a migration whole or not at all.
async fn apply(connection: &mut Connection, version: i32, name: &str, text: &str) -> Result<(), SqlFault> {
    batch(connection, "SET XACT_ABORT ON; BEGIN TRANSACTION;").await?;
    let done = format!(
        "INSERT INTO dbo.eventlog_migrations (version, name, applied_at) \
         VALUES ({version}, '{name}', SYSUTCDATETIME());"
    );
    for part in batches(text).chain([done.as_str(), "COMMIT TRANSACTION;"]) {
        if let Err(fault) = batch(connection, part).await {
            // If even this fails, the end of the connection undoes it.
            let _ = batch(connection, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;").await;
            return Err(fault);
        }
    }
    Ok(())
}

/// The parts of a file between lines with GO, as in SQL Server's own tools.
fn batches(text: &str) -> impl Iterator<Item = &str> {
    text.split("\nGO\n").map(str::trim).filter(|batch| !batch.is_empty())
}

async fn create(config: &SqlServer) -> Result<(), SqlFault> {
    let mut connection = connect(config, "master").await?;
    // A name cannot be a parameter. In brackets, with doubled brackets inside, it is a name and nothing else.
    let name = config.database.replace(']', "]]");
    batch(&mut connection, &format!("CREATE DATABASE [{name}]")).await.map(drop)
}

async fn batch(connection: &mut Connection, text: &str) -> Result<Vec<Row>, SqlFault> {
    Ok(connection.simple_query(text).await?.into_first_result().await?)
}

fn told(fault: SqlFault) -> anyhow::Error {
    match fault {
        SqlFault::Server { code, message, .. } => anyhow::anyhow!("{message} ({code})"),
        SqlFault::Other(message) => anyhow::anyhow!(message),
    }
}
