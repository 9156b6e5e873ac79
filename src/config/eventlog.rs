//! The settings of the event log.

use std::fs::File;

use highwater_eventlog::{AwsKeys, Config, DynamoDb, SqlServer, Trust};
use highwater_kafka::security::Secret;
use highwater_web::http;

use super::{
    reader::SettingsReader,
    secret,
    table::{
        AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL_DYNAMODB, AWS_REGION, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
        DYNAMODB_TABLE, EVENTLOG_TIMEOUT, REQUEST_TIMEOUT, SQLSERVER_CA, SQLSERVER_CONNECT_TIMEOUT,
        SQLSERVER_CONNECTIONS, SQLSERVER_DATABASE, SQLSERVER_HOST, SQLSERVER_PASSWORD,
        SQLSERVER_PASSWORD_FILE, SQLSERVER_PORT, SQLSERVER_TRUST_CERTIFICATE, SQLSERVER_USERNAME, Setting,
    },
};

/// Reads the settings of the event log.
pub(super) fn read(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    http: http::Config,
) -> Config {
    let timeout = reader.value(&EVENTLOG_TIMEOUT);
    let request_timeout = reader.value(&REQUEST_TIMEOUT);
    let pair = [
        (EVENTLOG_TIMEOUT.variable, reader.text(&EVENTLOG_TIMEOUT)),
        (REQUEST_TIMEOUT.variable, reader.text(&REQUEST_TIMEOUT)),
    ];
    reader.require(
        timeout < request_timeout,
        &pair,
        "the time-out of a request must be longer than that of the event log",
    );
    Config { timeout, http, sql_server: sql_server(reader), dynamodb: dynamodb(reader) }
}

fn sql_server(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> SqlServer {
    let username = needed(reader, &SQLSERVER_USERNAME);
    let password = secret::of(reader, &SQLSERVER_PASSWORD, &SQLSERVER_PASSWORD_FILE);
    reader.require(
        password.is_some(),
        &[(SQLSERVER_PASSWORD.variable, String::new())],
        "must be set for the event log",
    );
    let ca = reader.value(&SQLSERVER_CA);
    let trusts_anyone = reader.value(&SQLSERVER_TRUST_CERTIFICATE);
    let both = [
        (SQLSERVER_CA.variable, reader.text(&SQLSERVER_CA)),
        (SQLSERVER_TRUST_CERTIFICATE.variable, reader.text(&SQLSERVER_TRUST_CERTIFICATE)),
    ];
    reader.require(ca.is_none() || !trusts_anyone, &both, "set one of them");
    if let Some(Err(error)) = ca.as_ref().map(File::open) {
        reader.require(false, &both[..1], &format!("cannot be read: {error}"));
    }
    SqlServer {
        host: reader.value(&SQLSERVER_HOST),
        port: reader.value(&SQLSERVER_PORT),
        database: reader.value(&SQLSERVER_DATABASE),
        username,
        password: password.unwrap_or_else(|| Secret::new("")),
        trust: match (ca, trusts_anyone) {
            (_, true) => Trust::Anyone,
            (Some(path), false) => Trust::Authority(path),
            (None, false) => Trust::System,
        },
        connections: reader.value(&SQLSERVER_CONNECTIONS),
        connect_timeout: reader.value(&SQLSERVER_CONNECT_TIMEOUT),
    }
}

fn dynamodb(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> DynamoDb {
    let secret_access_key = reader.value(&AWS_SECRET_ACCESS_KEY);
    reader.require(
        secret_access_key.is_some(),
        &[(AWS_SECRET_ACCESS_KEY.variable, String::new())],
        "must be set for the event log",
    );
    DynamoDb {
        table: reader.value(&DYNAMODB_TABLE),
        region: reader.value(&AWS_REGION),
        endpoint: reader.value(&AWS_ENDPOINT_URL_DYNAMODB),
        keys: AwsKeys {
            access_key_id: needed(reader, &AWS_ACCESS_KEY_ID),
            secret_access_key: secret_access_key.unwrap_or_else(|| Secret::new("")),
            session_token: reader.value(&AWS_SESSION_TOKEN),
        },
    }
}

/// A text that the event log needs at its start.
fn needed(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    setting: &Setting<super::values::Or<super::values::Text>>,
) -> String {
    let value = reader.value(setting);
    reader.require(value.is_some(), &[(setting.variable, String::new())], "must be set for the event log");
    value.unwrap_or_default()
}
