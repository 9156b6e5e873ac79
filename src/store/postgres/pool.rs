//! Connections to the database: a bounded number, each with its prepared statements. A failed one is not used again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use log::info;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{config::PostgresConfig, failure::Failure};

/// Parameters of a statement.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The time for which a client waits longer than the server for the end of a statement.
const GRACE: Duration = Duration::from_secs(1);

/// A pool of a bounded number of connections.
#[derive(Debug)]
pub(super) struct Pool {
    config: PostgresConfig,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
}

/// A connection in use. Dropped, it is closed; it goes back to the others once it is [`PooledConnection::done`].
#[derive(Debug)]
pub(super) struct PooledConnection<'a> {
    pool: &'a Pool,
    connection: Connection,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(config: PostgresConfig, connections: usize) -> Self {
        Self { config, permits: Semaphore::new(connections), idle: Mutex::default() }
    }

    /// A connection, preferably an idle one.
    pub(super) async fn connection(&self) -> Result<PooledConnection<'_>, Failure> {
        let patience = self.config.timeout;
        let permit = timeout(patience, self.permits.acquire()).await.map_err(|_| Failure::Busy(patience))?;
        let Ok(permit) = permit else { return Err(Failure::Busy(patience)) };
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(connection) if connection.client.is_closed() => {}
                Some(connection) => return Ok(PooledConnection { pool: self, connection, _permit: permit }),
                None => break,
            }
        }
        let connection = Connection { client: connect(&self.config).await?, statements: HashMap::new() };
        Ok(PooledConnection { pool: self, connection, _permit: permit })
    }

    /// Runs one statement with any connection.
    pub(super) async fn query(&self, text: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, Failure> {
        let mut connection = self.connection().await?;
        let rows = connection.query(text, parameters).await?;
        connection.done();
        Ok(rows)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledConnection<'_> {
    /// The rows of a statement, which is prepared once for each connection.
    pub(super) async fn query(
        &mut self,
        text: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let Connection { client, statements } = &mut self.connection;
        let silent = self.pool.config.timeout;
        let answered = timeout(silent + GRACE, async {
            let statement = match statements.get(text) {
                Some(statement) => statement.clone(),
                None => {
                    let prepared = client.prepare(text).await?;
                    statements.insert(text.to_owned(), prepared.clone());
                    prepared
                }
            };
            client.query(&statement, parameters).await
        });
        Ok(answered.await.map_err(|_| Failure::Silent(silent))??)
    }

    /// It goes back to the others: nothing failed.
    pub(super) fn done(self) {
        self.pool.idle().push(self.connection);
    }
}

/// A connection of its own, outside any pool, with the setup of all connections.
pub(super) async fn connect(config: &PostgresConfig) -> Result<Client, Failure> {
    let seconds = |duration: Duration| duration.max(Duration::from_secs(1));
    let endpoint = config.url.current();
    let mut connection = endpoint.connection.clone();
    if connection.get_application_name().is_none() {
        connection.application_name("highwater");
    }
    connection
        .connect_timeout(config.connect_timeout)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(seconds(config.timeout) + GRACE);
    // The driver's own time-out is for each address, and for the handshake not at all.
    let connected = timeout(config.connect_timeout, connection.connect(endpoint.tls.clone())).await;
    let (client, driver) = connected
        .map_err(|_| Failure::Unreachable(format!("no connection within {:?}", config.connect_timeout)))?
        .map_err(|error| Failure::Unreachable(super::failure::in_words(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            info!("a connection to PostgreSQL ended: {}", super::failure::in_words(&error));
        }
    });
    let setup = setup(config);
    timeout(config.timeout, client.batch_execute(&setup))
        .await
        .map_err(|_| Failure::Silent(config.timeout))??;
    Ok(client)
}

fn setup(config: &PostgresConfig) -> String {
    let millis = config.timeout.as_millis();
    // A batch's arrays are unpacked in memory, and nothing here plans better for knowing its parameters.
    format!(
        "SET search_path TO {}; SET statement_timeout TO {millis}; SET lock_timeout TO {millis}; \
         SET idle_in_transaction_session_timeout TO {millis}; SET work_mem TO '32MB'; SET client_min_messages TO warning; \
         SET TimeZone TO 'UTC'; SET default_transaction_isolation TO 'read committed'",
        quoted(&config.schema)
    )
}

/// A name in SQL's quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
