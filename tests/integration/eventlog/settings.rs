//! The settings of the test databases.

use std::collections::HashMap;

use futures::FutureExt as _;
use highwater::config;
use highwater_eventlog::{Config, DynamoDbStore, SqlServerStore};
use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;
use uuid::Uuid;

type Settings = HashMap<&'static str, String>;

/// Where nothing listens.
const NO_DYNAMODB: &str = "http://127.0.0.1:1";
/// So for SQL Server.
const NO_SQL_SERVER: u16 = 1;

/// Settings of databases that are there: each test has a table of DynamoDB to itself.
pub(crate) fn config(settings: Settings) -> Config {
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let parsed = config::parse(["highwater", "eventlog"].map(Into::into), &settings, "");
    parsed.unwrap_or_else(|exit| panic!("{}", exit.message)).config.eventlog.unwrap()
}

/// DynamoDB alone: SQL Server is nowhere.
pub(crate) fn dynamodb() -> Option<Settings> {
    let url = named("TEST_DYNAMODB_URL")?;
    Some(HashMap::from([
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("DYNAMODB_TABLE", format!("test-{}", Uuid::new_v4())),
        ("SQLSERVER_HOST", "127.0.0.1".to_owned()),
        ("SQLSERVER_PORT", NO_SQL_SERVER.to_string()),
        ("SQLSERVER_USERNAME", "nobody".to_owned()),
        ("SQLSERVER_PASSWORD", "nothing".to_owned()),
    ]))
}

/// SQL Server alone, from `sqlserver://user:password@host:port/database`; DynamoDB is nowhere.
pub(crate) fn sql_server() -> Option<Settings> {
    let url = named("TEST_SQLSERVER_URL")?;
    let parts = || {
        let (login, place) = url.strip_prefix("sqlserver://")?.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let (address, database) = place.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        Some(
            [user, password, host, port, database]
                .map(|part| percent_decode_str(part).decode_utf8().unwrap().into_owned()),
        )
    };
    let [user, password, host, port, database] = parts()
        .unwrap_or_else(|| panic!("TEST_SQLSERVER_URL is sqlserver://user:password@host:port/database"));
    Some(HashMap::from([
        ("SQLSERVER_USERNAME", user),
        ("SQLSERVER_PASSWORD", password),
        ("SQLSERVER_HOST", host),
        ("SQLSERVER_PORT", port),
        ("SQLSERVER_DATABASE", database),
        ("SQLSERVER_TRUST_CERTIFICATE", "yes".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", NO_DYNAMODB.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ]))
}

/// Both.
pub(crate) fn both() -> Option<Settings> {
    let (mut settings, dynamodb) = (sql_server()?, dynamodb()?);
    settings.extend(dynamodb.into_iter().filter(|(name, _)| !name.starts_with("SQLSERVER")));
    Some(settings)
}

/// Makes the databases what they must be. Those that are nowhere stay there.
pub(crate) async fn migrated(settings: Settings) -> Config {
    static SQL_SERVER: OnceCell<usize> = OnceCell::const_new();
    let config = config(settings);
    if config.dynamodb.endpoint.as_deref() != Some(NO_DYNAMODB) {
        DynamoDbStore::migrate(&config.dynamodb).await.unwrap();
    }
    if config.sql_server.port != NO_SQL_SERVER {
        SQL_SERVER.get_or_init(|| SqlServerStore::migrate(&config.sql_server).map(Result::unwrap)).await;
    }
    config
}

fn named(variable: &'static str) -> Option<String> {
    static TOLD: OnceCell<()> = OnceCell::const_new();
    #[expect(clippy::disallowed_methods, reason = "where the tests' databases are is no setting")]
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() && TOLD.set(()).is_ok() {
        eprintln!("{variable} is not set: the tests of the event log that need it are left out");
    }
    value
}
