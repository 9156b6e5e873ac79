//! The three brokers, as `scripts/kafka.sh` has started them: killed, paused and brought back by it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// How many there are.
pub(crate) const BROKERS: u16 = 3;
/// More than `zookeeper.session.timeout.ms`, as `scripts/chaos.sh` sets it.
const SESSION: Duration = Duration::from_secs(8);

/// The cluster's processes.
#[derive(Debug)]
pub(crate) struct Brokers {
    first_port: u16,
    /// When which node was killed.
    killed: Mutex<BTreeMap<usize, Instant>>,
}

impl Brokers {
    pub(crate) fn new(first_port: u16) -> Self {
        Self { first_port, killed: Mutex::default() }
    }

    /// Their addresses, past all proxies.
    pub(crate) fn addresses(&self) -> Vec<String> {
        (self.first_port..self.first_port + BROKERS).map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// kill -9; its data stay.
    pub(crate) async fn kill(&self, node: usize) -> Result<()> {
        self.script("kill", node).await?;
        self.killed.lock().await.insert(node, Instant::now());
        Ok(())
    }

    /// Starts it again on its data, and returns when it answers. Not before its session with ZooKeeper is over:
    /// Kafka 3.4 finds its own name there until then, takes it for another's, and ends.
    pub(crate) async fn revive(&self, node: usize) -> Result<()> {
        let killed = self.killed.lock().await.remove(&node);
        if let Some(killed) = killed {
            sleep_until(killed + SESSION).await;
        }
        self.script("revive", node).await
    }

    /// It hangs without closing a connection.
    pub(crate) async fn pause(&self, node: usize) -> Result<()> {
        self.script("pause", node).await
    }

    pub(crate) async fn resume(&self, node: usize) -> Result<()> {
        self.script("resume", node).await
    }

    async fn script(&self, what: &'static str, node: usize) -> Result<()> {
        let port = self.first_port.to_string();
        spawn_blocking(move || {
            let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka.sh");
            let mut command = Command::new(script);
            command.args([what, &port, &node.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
            let status = command.status().context("scripts/kafka.sh")?;
            if !status.success() {
                bail!("scripts/kafka.sh {what} {port} {node}: {status}");
            }
            Ok(())
        })
        .await?
    }
}
