//! The faults. Each one undoes its effect, so a round is over when all of its faults are.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    admin::{OF_GROUP, PREFERRED, persistently},
    history::MADE_AGAIN,
    instance::{CLIENT_ID, GROUP, TOPIC},
    options::Protocol,
    proxy::Passage,
    schedule::{Cut, Fault, Round},
    stage::Stage,
};

/// How long an operator tries to change something while brokers come and go.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How long a rolling upgrade waits for one instance before it goes on to the next.
const NEXT_WITHIN: Duration = Duration::from_secs(30);

impl Stage {
    /// Carries out all faults of a round, each when it is due; returns when the last one has ended.
    pub(crate) async fn disturb(&self, round: &Round) {
        let faults = round.faults.iter().map(|(begins, fault)| async move {
            sleep(*begins).await;
            self.history.tell(format_args!("  begins: {fault}"));
            self.history.known().figures.faults += 1;
            match self.carry_out(*fault).await {
                Ok(()) => self.history.tell(format_args!("  ended:  {fault}")),
                Err(error) => self.history.tell(format_args!("  ended:  {fault}, which failed: {error:#}")),
            }
        });
        join_all(faults).await;
    }

    async fn carry_out(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill { instance, down } => {
                let instance = &self.regulars()[instance];
                instance.kill()?;
                sleep(down).await;
                instance.start(self.protocol())
            }
            Fault::Pause { instance, length } => {
                let instance = &self.regulars()[instance];
                instance.pause()?;
                sleep(length).await;
                instance.resume()
            }
            Fault::Cut { instance, node, passage, length } => {
                let links = &self.regulars()[instance].links;
                let node = match node {
                    Cut::All => None,
                    Cut::Node(node) => Some(node),
                    Cut::Coordinator => {
                        let find = async || self.admin.coordinator(GROUP, OF_GROUP).await;
                        let (node, _) = persistently("the coordinator", PATIENCE, find).await?;
                        Some(usize::try_from(node)?)
                    }
                };
                links.set(node, passage);
                sleep(length).await;
                links.set(node, Passage::Open);
                Ok(())
            }
            Fault::Churn { instance, down } => {
                let instance = &self.regulars()[instance];
                instance.stop().await?;
                sleep(down).await;
                instance.start(self.protocol())
            }
            Fault::Guest { length } => {
                self.guest().start(self.protocol())?;
                sleep(length).await;
                self.guest().stop().await
            }
            Fault::KillBroker { node, down } => {
                self.brokers.kill(node).await?;
                sleep(down).await;
                self.brokers.revive(node).await
            }
            Fault::MoveBroker { node, down } => {
                self.brokers.kill(node).await?;
                sleep(down).await;
                self.brokers.revive_elsewhere(node).await
            }
            Fault::PauseBroker { node, length } => {
                self.brokers.pause(node).await?;
                sleep(length).await;
                self.brokers.resume(node).await
            }
            Fault::Elect { turn } => {
                persistently("elections", PATIENCE, async || self.elect(turn).await).await
            }
            Fault::Partitions { more } => {
                self.history.layout_changes();
                let add = async || self.admin.add_partitions(TOPIC, more).await;
                let count = persistently("partitions", PATIENCE, add).await?;
                self.history.tell(format_args!("  {TOPIC} has {count} partitions"));
                Ok(())
            }
            Fault::Quota { bytes, length } => {
                let set = async |bytes| {
                    let set = async || self.admin.produce_quota(CLIENT_ID, bytes).await;
                    persistently("a quota", PATIENCE, set).await
                };
                set(Some(bytes)).await?;
                sleep(length).await;
                set(None).await
            }
            Fault::Roll { to } => self.roll(to).await,
            Fault::KillDatabase { down } => {
                let database = self.database()?;
                database.kill().await?;
                sleep(down).await;
                database.revive().await
            }
            Fault::PauseDatabase { length } => {
                let database = self.database()?;
                database.pause().await?;
                sleep(length).await;
                database.resume().await
            }
            Fault::RestartDatabase => self.database()?.restart().await,
            Fault::CutDatabase { instance, passage, length } => {
                let link = self.regulars()[instance].database_link.as_ref().context("no database")?;
                link.set(passage);
                sleep(length).await;
                link.set(Passage::Open);
                Ok(())
            }
            Fault::Replay(how) => self.replay(how).await,
            Fault::Rebuild => self.rebuild().await,
        }
    }

    /// Has the next of its replicas lead each partition.
    async fn elect(&self, turn: usize) -> Result<()> {
        let partitions = self.admin.topic(TOPIC).await?.partitions;
        let mut replicas = BTreeMap::new();
        for found in &partitions {
            let mut nodes: Vec<i32> = found.replica_nodes.iter().map(|node| node.0).collect();
            ensure!(found.isr_nodes.len() == nodes.len(), "a replica is away");
            let by = turn % nodes.len().max(1);
            nodes.rotate_left(by);
            replicas.insert(found.partition_index, nodes);
        }
        self.admin.reassign(TOPIC, &replicas).await?;
        self.admin.elect(TOPIC, replicas.into_keys().collect(), PREFERRED).await
    }

    /// One instance after the other, as an operator upgrades them.
    async fn roll(&self, to: Protocol) -> Result<()> {
        self.speak(to);
        for instance in self.regulars() {
            instance.stop().await?;
            instance.start(to)?;
            let ready = async || {
                let answer = self.http.get(format!("{}/ready", instance.base)).send().await?;
                if !answer.status().is_success() {
                    bail!("instance {}: {}", instance.number, answer.text().await?);
                }
                Ok(())
            };
            persistently("ready", NEXT_WITHIN, ready).await?;
        }
        Ok(())
    }

    /// Deletes the topic and makes it again. Nobody may be writing.
    pub(crate) async fn recreate(&self) -> Result<()> {
        let (before, partitions) = {
            let topic = persistently("the topic", PATIENCE, async || self.admin.topic(TOPIC).await).await?;
            (topic.topic_id, i32::try_from(topic.partitions.len())?)
        };
        self.history.tell(format_args!("  {TOPIC} is deleted and made again"));
        self.history.layout_changes();
        self.admin.delete_topic(TOPIC).await?;
        persistently("the topic made again", PATIENCE, async || {
            // An instance that misses it may be quicker.
            let _ = self.admin.create_topic(TOPIC, partitions).await;
            let found = self.admin.topic(TOPIC).await?;
            ensure!(found.topic_id != before, "it is still the one of before");
            ensure!(found.partitions.iter().all(|found| found.leader_id.0 > 0), "it has no leaders yet");
            Ok(())
        })
        .await?;
        self.history.begin_again();
        // The next fault must find a group that knows its topic.
        sleep(Duration::from_millis(MADE_AGAIN.unsigned_abs())).await;
        self.history.known().figures.faults += 1;
        Ok(())
    }
}
