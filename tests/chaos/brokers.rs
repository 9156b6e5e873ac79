//! The three brokers of `scripts/kafka.sh`, which kills, pauses and restarts them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// How many there are.
pub(crate) const BROKERS: u16 = 3;
/// More than `zookeeper.session.timeout.ms`, as `scripts/chaos.sh` sets it.
const SESSION: Duration = Duration::from_secs(8);

/// From a broker's first port to the one that it has after it moved.
const ELSEWHERE: u16 = 100;

/// The ports that a broker, which counts from 1, may have.
pub(crate) fn ports_of(first_port: u16, node: u16) -> [u16; 2] {
    let first = first_port + node - 1;
    [first, first + ELSEWHERE]
}

/// The cluster's processes.
#[derive(Debug)]
pub(crate) struct Brokers {
    first_port: u16,
    /// Which nodes are not at their first port.
    moved: Mutex<BTreeSet<usize>>,
    /// When which node was killed.
    killed: Mutex<BTreeMap<usize, Instant>>,
}

impl Brokers {
    pub(crate) fn new(first_port: u16) -> Self {
        Self { first_port, moved: Mutex::default(), killed: Mutex::default() }
    }

    /// The addresses that they may have, past all proxies.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let ports = (1..=BROKERS).flat_map(|node| ports_of(self.first_port, node));
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// kill -9; its data stay.
    pub(crate) async fn kill(&self, node: usize) -> Result<()> {
        self.script("kill", node, None).await?;
        self.killed.lock().await.insert(node, Instant::now());
        Ok(())
    }

    /// Starts it again on its data, and returns when it answers.
    pub(crate) async fn revive(&self, node: usize) -> Result<()> {
        self.revive_at(node, None).await
    }

    /// As [`Brokers::revive`], at the other of its ports.
    pub(crate) async fn revive_elsewhere(&self, node: usize) -> Result<()> {
        let mut moved = self.moved.lock().await;
        let ports = ports_of(self.first_port, u16::try_from(node)?);
        let at = if moved.contains(&node) { ports[0] } else { ports[1] };
        self.revive_at(node, Some(at)).await?;
        if !moved.remove(&node) {
            moved.insert(node);
        }
        Ok(())
    }

    /// Not before its session with ZooKeeper is over: Kafka 3.4 finds its own name there until then, takes it for
    /// another's, and ends.
    async fn revive_at(&self, node: usize, at: Option<u16>) -> Result<()> {
        let killed = self.killed.lock().await.remove(&node);
        if let Some(killed) = killed {
            sleep_until(killed + SESSION).await;
        }
        self.script("revive", node, at).await
    }

    /// It hangs without closing a connection.
    pub(crate) async fn pause(&self, node: usize) -> Result<()> {
        self.script("pause", node, None).await
    }

    pub(crate) async fn resume(&self, node: usize) -> Result<()> {
        self.script("resume", node, None).await
    }

    async fn script(&self, what: &'static str, node: usize, at: Option<u16>) -> Result<()> {
        let mut arguments = vec![what.to_owned(), self.first_port.to_string(), node.to_string()];
        arguments.extend(at.map(|at| at.to_string()));
        run("scripts/kafka.sh", arguments).await
    }
}

/// Runs one of the repository's scripts.
pub(crate) async fn run(script: &'static str, arguments: Vec<String>) -> Result<()> {
    spawn_blocking(move || {
        let mut command = Command::new(path_of(script));
        command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status().context(script)?;
        ensure!(status.success(), "{script} {}: {status}", arguments.join(" "));
        Ok(())
    })
    .await?
}

pub(crate) fn path_of(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(script)
}
