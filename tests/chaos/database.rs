//! The PostgreSQL of `scripts/postgres.sh`, and what psql finds in it: none of the service's own code takes part.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    brokers::{path_of, run},
    database_link::DatabaseLink,
    history::Millis,
};

const SCRIPT: &str = "scripts/postgres.sh";
/// Events, positions and the store's own count, as rows of one snapshot.
const CONTENTS: &str = "\
SELECT 'event', id::text, floor(extract(epoch FROM stored_at) * 1000)::bigint FROM highwater.events
UNION ALL SELECT 'position', partition::text, next - base FROM highwater.partitions WHERE next IS NOT NULL
UNION ALL SELECT 'sum', '', coalesce(sum(events), 0)::bigint FROM highwater.blocks";
const DROP: &str = "DROP SCHEMA IF EXISTS rebuilt CASCADE";

/// The database that all instances share.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    port: u16,
    url: String,
}

/// The contents of the database.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Each row's id, and when it was stored.
    pub(crate) events: Vec<(Uuid, Millis)>,
    /// The next offset of each partition.
    pub(crate) positions: BTreeMap<i32, i64>,
    /// The number of events by the store's own sums.
    pub(crate) sum: i64,
}

impl Database {
    pub(crate) fn new(port: u16, url: String) -> Self {
        Self { port, url }
    }

    /// A way to it.
    pub(crate) async fn link(&self) -> Result<DatabaseLink> {
        DatabaseLink::open(self.port).await
    }

    /// Its URL by such a way.
    pub(crate) fn url_by(&self, link: &DatabaseLink) -> String {
        self.url.replace(&format!(":{}/", self.port), &format!(":{}/", link.port))
    }

    /// kill -9; its data stay.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.script("kill").await
    }

    /// Starts it again on its data, and returns when it answers.
    pub(crate) async fn revive(&self) -> Result<()> {
        self.script("revive").await
    }

    /// It hangs without closing a connection.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.script("pause").await
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        self.script("resume").await
    }

    /// As an operator does it.
    pub(crate) async fn restart(&self) -> Result<()> {
        self.script("restart").await
    }

    /// Its URL, past all proxies.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Drops the schema that a rebuild has filled before.
    pub(crate) async fn drop_schema(&self) -> Result<()> {
        self.psql(DROP).await.map(drop)
    }

    pub(crate) async fn read(&self) -> Result<Stored> {
        let mut stored = Stored::default();
        for row in self.psql(CONTENTS).await?.lines() {
            let mut fields = row.split('|');
            let mut field = || fields.next().context("psql: a field is missing");
            let (kind, key, value) = (field()?, field()?, field()?.parse::<i64>()?);
            match kind {
                "event" => stored.events.push((key.parse()?, value)),
                "position" => {
                    stored.positions.insert(key.parse()?, value);
                }
                _ => stored.sum = value,
            }
        }
        Ok(stored)
    }

    async fn psql(&self, statement: &'static str) -> Result<String> {
        let port = self.port.to_string();
        spawn_blocking(move || {
            let mut command = Command::new(path_of(SCRIPT));
            command.args(["psql", &port, "-At", "-c", statement]).stdin(Stdio::null());
            let output = command.output().context(SCRIPT)?;
            ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?)
        })
        .await?
    }

    async fn script(&self, what: &str) -> Result<()> {
        run(SCRIPT, vec![what.to_owned(), self.port.to_string()]).await
    }
}
