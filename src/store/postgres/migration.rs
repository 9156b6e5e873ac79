//! The schema, in versions: each is applied once, by one process at a time.

use log::info;
use tokio_postgres::Client;

use super::{
    config::PostgresConfig,
    failure::Failure,
    pool::{connect, quoted},
};

/// The statements of every version, in order.
const MIGRATIONS: [&str; 5] = [
    include_str!("migrations/0001_events.sql"),
    include_str!("migrations/0002_departed.sql"),
    include_str!("migrations/0003_erasures.sql"),
    include_str!("migrations/0004_leader_epoch.sql"),
    include_str!("migrations/0005_user_type.sql"),
];
/// The version that this program works with.
const VERSION: i32 = MIGRATIONS.len() as i32;
/// The key of the lock that a migration holds: the same for all schemas.
pub(super) const LOCK: i64 = 0x6869_6768_7761_7465;

/// Brings the schema up to date. Several processes may do so at the same time.
///
/// # Errors
///
/// It is newer than this program, or cannot be changed.
pub(super) async fn migrate(config: &PostgresConfig) -> Result<(), Failure> {
    let mut client = connect(config).await?;
    let before = version(&client, config).await?;
    if before == VERSION {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    // Other processes may take a while, as may an index on a large table.
    transaction.batch_execute("SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO 0").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let before = version(transaction.client(), config).await?;
    if before == 0 {
        let schema = quoted(&config.schema);
        const FIND: &str = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        if transaction.query_opt(FIND, &[&config.schema]).await?.is_none() {
            transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        transaction
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS migrations (\
                 version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())",
            )
            .await?;
    }
    for (version, statements) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > before) {
        transaction.batch_execute(statements).await?;
        transaction.execute("INSERT INTO migrations (version) VALUES ($1)", &[&version]).await?;
    }
    transaction.commit().await?;
    info!("the schema {} of the database is brought from version {before} to {VERSION}", config.schema);
    Ok(())
}

/// Whether this program can work with the schema as it is.
pub(super) async fn check(config: &PostgresConfig) -> Result<(), Failure> {
    let client = connect(config).await?;
    match version(&client, config).await? {
        VERSION => Ok(()),
        found => Err(Failure::Schema(format!(
            "the schema {} of the database is of version {found}, and this program needs {VERSION}: run `highwater \
             migrate`, or set STORE_MIGRATE=yes",
            config.schema
        ))),
    }
}

/// The version of the schema; 0 if there is none.
async fn version(client: &Client, config: &PostgresConfig) -> Result<i32, Failure> {
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(Failure::Schema(format!("the database's encoding is {encoding}: it must be UTF8")));
    }
    let table = format!("{}.migrations", quoted(&config.schema));
    let is_there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
    if !is_there {
        return Ok(0);
    }
    let version =
        client.query_one(&format!("SELECT coalesce(max(version), 0) FROM {table}"), &[]).await?.get(0);
    if version > VERSION {
        return Err(Failure::Schema(format!(
            "the schema {} of the database is of version {version}, made by a newer highwater: this one knows versions up \
             to {VERSION}",
            config.schema
        )));
    }
    Ok(version)
}
