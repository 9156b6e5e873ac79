//! The settings of the store in PostgreSQL.

use highwater_kafka::security::Secret;

use super::{
    reader::SettingsReader,
    secret,
    table::{
        MAX_PROCESSING, REQUEST_TIMEOUT, STORE_CONNECT_TIMEOUT, STORE_MIGRATE, STORE_READ_CONNECTIONS,
        STORE_RETENTION, STORE_SCHEMA, STORE_TIMEOUT, STORE_URL, STORE_URL_FILE, STORE_WRITE_CONNECTIONS,
    },
};
use crate::store::{PostgresConfig, PostgresUrl};

/// Reads the settings of the store; `None` if events are kept in memory.
pub(super) fn read(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    topic: &str,
) -> Option<PostgresConfig> {
    let url = secret::of(reader, &STORE_URL, &STORE_URL_FILE);
    let schema = reader.value(&STORE_SCHEMA);
    let connections = (reader.value(&STORE_WRITE_CONNECTIONS), reader.value(&STORE_READ_CONNECTIONS));
    let (connect_timeout, timeout) = (reader.value(&STORE_CONNECT_TIMEOUT), reader.value(&STORE_TIMEOUT));
    let migrate = reader.value(&STORE_MIGRATE);
    let retention = reader.value(&STORE_RETENTION);
    let url = parsed(reader, &url?)?;
    for (longer, setting) in [
        (reader.value(&MAX_PROCESSING), (MAX_PROCESSING.variable, reader.text(&MAX_PROCESSING))),
        (reader.value(&REQUEST_TIMEOUT), (REQUEST_TIMEOUT.variable, reader.text(&REQUEST_TIMEOUT))),
    ] {
        let settings = [(STORE_TIMEOUT.variable, reader.text(&STORE_TIMEOUT)), setting];
        reader.require(timeout < longer, &settings, "the time-out of a statement must be the shorter one");
    }
    let topic = topic.to_owned();
    Some(PostgresConfig { url, schema, topic, connections, connect_timeout, timeout, migrate, retention })
}

fn parsed(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>, url: &Secret) -> Option<PostgresUrl> {
    let (setting, parsed) = match reader.value(&STORE_URL_FILE) {
        Some(file) => {
            ((STORE_URL_FILE.variable, reader.text(&STORE_URL_FILE)), PostgresUrl::from_file(&file))
        }
        None => ((STORE_URL.variable, reader.shown(&STORE_URL)), PostgresUrl::parse(url.reveal())),
    };
    if let Err(fault) = &parsed {
        reader.require(false, &[setting], &format!("is no URL of a database: it {fault}"));
    }
    parsed.ok()
}
