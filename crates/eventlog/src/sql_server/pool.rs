//! Connections to SQL Server, kept between requests.
//!
//! A process may be frozen between two requests, for hours, as under Lambda. Connections die meanwhile, and it does not
//! learn of that. So a connection that was not used just now is tried first. A statement whose connection dies is sent once
//! more, on a new one. Every statement of the log may be run twice.
//!
//! A connection leaves the pool while it is used, and returns when its answer was read to the end: a cancelled request takes
//! its connection along.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tiberius::{AuthMethod, Client, Config, EncryptionLevel, Row, error::Error};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

use super::statement::Statement;
use crate::{DatabaseError, SqlServer, Trust};

/// A connection.
pub(super) type Connection = Client<Compat<TcpStream>>;

/// The age of the last use up to which a connection is used without a trial.
const FRESH: Duration = Duration::from_secs(1);
/// The longest time of a trial, which is a round trip.
const TRIAL: Duration = Duration::from_millis(500);

/// The reason why a statement has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SqlFault {
    /// An error of SQL Server; class is the severity.
    Server { code: u32, class: u8, message: String },
    /// Any other error, after which the connection is of no use.
    Other(String),
}

impl SqlFault {
    /// A row with that unique key exists: 2627 by a constraint, 2601 by an index.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Server { code: 2627 | 2601, .. })
    }

    /// The database does not exist, or is closed to this login.
    pub(super) fn is_unknown_database(&self) -> bool {
        matches!(self, Self::Server { code: 4060 | 911, .. })
    }

    /// Another process is making a database: it exists already (1801), or the model of all is in use (1807).
    pub(super) fn is_made_by_somebody(&self) -> bool {
        // Babelfish reports the former by codes of its own, or as a duplicate in its catalogue.
        self.is_duplicate()
            || matches!(self, Self::Server { code: 1801 | 1807, .. })
            || matches!(self, Self::Server { message, .. } if message.contains("already exists"))
    }

    /// Severities from 20 on end the connection.
    fn ends_the_connection(&self) -> bool {
        !matches!(self, Self::Server { class: ..20, .. })
    }
}

impl From<Error> for SqlFault {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(token) => {
                Self::Server { code: token.code(), class: token.class(), message: token.message().to_owned() }
            }
            Error::Tls(said) => Self::Other(format!("no TLS: {}{TRUST}", without_advice(&said))),
            error => Self::Other(error.to_string()),
        }
    }
}

/// The remedy for a certificate that is not trusted.
const TRUST: &str = " (trust the authority of its certificate, or any certificate)";

/// Cuts off tiberius' advice about its functions.
fn without_advice(said: &str) -> &str {
    said.split_once("To connect anyway").map_or(said, |(fault, _)| fault).trim_end_matches([' ', '.'])
}

impl From<SqlFault> for DatabaseError {
    fn from(fault: SqlFault) -> Self {
        match fault {
            // The victim of a deadlock, and the answer of a busy Azure.
            SqlFault::Server {
                code: 1205 | 10928 | 10929 | 40501 | 40613 | 49918 | 49919 | 49920,
                message,
                ..
            } => Self::Throttled(message),
            // The value is too long, or not of the column's type: the row is at fault. A NULL (515) or a check (547) is
            // different: those are the table's, and every row would be refused.
            SqlFault::Server { code: 241 | 242 | 2628 | 8114 | 8115 | 8152, message, .. } => {
                Self::Invalid(message)
            }
            SqlFault::Server { code: 208, message, .. } => {
                Self::Refused(format!("{message} (highwater eventlog migrate makes what is missing)"))
            }
            SqlFault::Server { class: ..20, code, message } => Self::Refused(format!("{message} ({code})")),
            SqlFault::Server { code, message, .. } => Self::Away(format!("{message} ({code})")),
            SqlFault::Other(message) => Self::Away(message),
        }
    }
}

/// The idle connections, and a bound for all.
pub(super) struct Pool {
    config: SqlServer,
    idle: Mutex<Vec<Idle>>,
    slots: Semaphore,
}

struct Idle {
    connection: Connection,
    /// The time of the wall clock: other clocks stand still while a machine is frozen.
    since: SystemTime,
}

impl Pool {
    pub(super) fn new(config: &SqlServer) -> Self {
        Self { slots: Semaphore::new(config.connections), config: config.clone(), idle: Mutex::default() }
    }

    /// Runs a statement, and returns its rows.
    pub(super) async fn query(&self, statement: &Statement) -> Result<Vec<Row>, SqlFault> {
        let closed = |_| SqlFault::Other("the pool is closed".to_owned());
        let _slot = self.slots.acquire().await.map_err(closed)?;
        if let Some(connection) = self.kept().await {
            match self.run(connection, statement).await {
                Err(fault) if fault.ends_the_connection() => {
                    log::debug!("a connection to SQL Server died; asking again on another: {fault:?}");
                }
                outcome => return outcome,
            }
        }
        self.run(connect(&self.config, &self.config.database).await?, statement).await
    }

    /// Runs the statement, and keeps the connection if it can be used again.
    async fn run(&self, mut connection: Connection, statement: &Statement) -> Result<Vec<Row>, SqlFault> {
        let outcome = rows(&mut connection, statement).await;
        if !outcome.as_ref().is_err_and(SqlFault::ends_the_connection) {
            self.idle().push(Idle { connection, since: SystemTime::now() });
        }
        outcome
    }

    /// A connection that answers. If one does not, those that were idle for longer do not either.
    async fn kept(&self) -> Option<Connection> {
        let Idle { mut connection, since } = self.idle().pop()?;
        if since.elapsed().is_ok_and(|idle| idle < FRESH) {
            return Some(connection);
        }
        let trial = timeout(TRIAL, rows(&mut connection, &Statement::new("SELECT 1"))).await;
        if let Ok(Ok(_)) = trial {
            return Some(connection);
        }
        log::debug!("connections to SQL Server died while they were idle");
        self.idle().retain(|other| other.since > since);
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Nothing under the lock panics.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn rows(connection: &mut Connection, statement: &Statement) -> Result<Vec<Row>, SqlFault> {
    Ok(statement.query().query(connection).await?.into_first_result().await?)
}

/// A new connection to that database.
pub(super) async fn connect(config: &SqlServer, database: &str) -> Result<Connection, SqlFault> {
    let patience = config.connect_timeout;
    let late = |_| Err(SqlFault::Other(format!("no connection within {patience:?}")));
    timeout(patience, login(config, database)).await.unwrap_or_else(late)
}

async fn login(config: &SqlServer, database: &str) -> Result<Connection, SqlFault> {
    let mut login = Config::new();
    login.host(&config.host);
    login.port(config.port);
    login.database(database);
    // Neither of tiberius' own time-outs is used: connecting is within `connect_timeout`, and a statement of a request or a
    // sweep within its deadline. A migration of a large table has no time-out.
    login.handshake_timeout(None);
    login.command_timeout(None);
    login.application_name("highwater-eventlog");
    login.authentication(AuthMethod::sql_server(&config.username, config.password.reveal()));
    login.encryption(EncryptionLevel::Required);
    match &config.trust {
        Trust::System => {}
        Trust::Authority(path) => login.trust_cert_ca(path.display()),
        Trust::Anyone => login.trust_cert(),
    }
    match Client::connect(login.clone(), stream(&config.host, config.port).await?).await {
        // Azure redirects a client to the database.
        Err(Error::Routing { host, port }) => {
            login.host(&host);
            login.port(port);
            Ok(Client::connect(login, stream(&host, port).await?).await?)
        }
        outcome => Ok(outcome?),
    }
}

async fn stream(host: &str, port: u16) -> Result<Compat<TcpStream>, SqlFault> {
    let connected = async {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        io::Result::Ok(stream.compat_write())
    };
    connected.await.map_err(|error| SqlFault::Other(format!("{host}:{port}: {error}")))
}
