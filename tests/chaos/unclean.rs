//! One forced unclean election. It loses acknowledged events, as Kafka documents, and the report names them
//! all.
//!
//! A partition gets two replicas and `min.insync.replicas=1`. One replica dies; records acknowledged then are on
//! the other alone, which dies, too. The first one comes back without them and is made the leader.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    admin::{PREFERRED, UNCLEAN, persistently},
    commits::Commit,
    history::{Known, Millis, TopicOffset, WriteState, now},
    instance::TOPIC,
    logs,
    stage::Stage,
    transactions::{FIRST_USER, USERS},
};

const PARTITION: i32 = 0;
/// How long each step is waited for: sessions of brokers end, and JVMs start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long events are written that only one broker has.
const ALONE: Duration = Duration::from_secs(3);

/// A transaction's end is answered when it is decided; its markers are written after that, and later where brokers come
/// and go.
const MARKED_WITHIN: Millis = 10_000;

/// The effect of an unclean election.
#[derive(Debug, Clone)]
pub(crate) struct Election {
    pub(crate) partition: i32,
    /// When it was forced; once it is known, when readers learned of it.
    pub(crate) at: Millis,
    /// The offsets that the new leader did not have.
    pub(crate) lost: Range<i64>,
    /// The acknowledged events that stood there, and whether every copy of each did.
    pub(crate) events: HashMap<Uuid, bool>,
    /// Events of transactions that ended when the new leader was away already: it lacks the marker that ends them,
    /// and with it maybe what it marks.
    pub(crate) unmarked: HashSet<Uuid>,
    /// The malformed records that stood there, by their key.
    pub(crate) malformed: BTreeSet<String>,
}

impl Election {
    /// The records that were known to be at those offsets. There were no writes since.
    fn of(partition: i32, alone: Millis, at: Millis, lost: Range<i64>, known: &Known) -> Self {
        let is_lost = |place: &TopicOffset| place.0 == partition && lost.contains(&place.1);
        let acknowledged = known.posted.iter().filter(|(_, posted)| posted.state == WriteState::Acknowledged);
        let unmarked = acknowledged.clone().filter(|(_, posted)| {
            let is_transactional =
                posted.user.checked_sub(FIRST_USER).is_some_and(|user| user < USERS as u32);
            let is_near =
                posted.acknowledged.iter().any(|place| place.0 == partition && place.1 < lost.start);
            is_transactional && is_near && posted.acknowledged_at >= alone - MARKED_WITHIN
        });
        let unmarked = unmarked.map(|(id, _)| *id).collect();
        let stood_there = acknowledged.filter(|(_, posted)| posted.acknowledged.iter().any(is_lost));
        let events = stood_there.map(|(id, posted)| (*id, posted.acknowledged.iter().all(is_lost)));
        let malformed = known.malformed.iter().filter(|(_, place)| is_lost(place));
        Self {
            partition,
            at,
            events: events.collect(),
            unmarked,
            malformed: malformed.map(|(key, _)| key.clone()).collect(),
            lost,
        }
    }

    /// Readers learn of it a moment later: their first commit that is lower than the one before tells when. The
    /// commits until then are about the log as it was.
    pub(crate) fn dated_by(mut self, commits: &[Commit]) -> Self {
        let of_partition = commits.iter().filter(|commit| commit.partition == self.partition);
        let offsets: Vec<_> = of_partition.filter_map(|found| Some((found.at, found.offset?))).collect();
        let lower = offsets.windows(2).find(|pair| pair[1].0 >= self.at && pair[1].1 < pair[0].1);
        self.at = lower.map_or(self.at, |pair| pair[1].0);
        self
    }
}

impl Stage {
    /// Forces it, under load, and returns when all brokers run again.
    pub(crate) async fn elect_uncleanly(&self) -> Result<()> {
        let admin = &self.admin;
        let found = async || {
            let topic = admin.topic(TOPIC).await?;
            let mut partitions = topic.partitions.into_iter();
            partitions.find(|found| found.partition_index == PARTITION).context("no such partition")
        };
        let before = persistently("the partition", PATIENCE, found).await?;
        let replicas: Vec<i32> = before.replica_nodes.iter().map(|node| node.0).collect();
        let [leader, follower, _] = replicas.as_slice() else {
            anyhow::bail!("the partition has replicas {replicas:?}");
        };
        let two = BTreeMap::from([(PARTITION, vec![*leader, *follower])]);
        persistently("two replicas", PATIENCE, async || {
            if found().await?.replica_nodes.len() != 2 {
                admin.reassign(TOPIC, &two).await?;
                anyhow::bail!("it is being reassigned");
            }
            admin.elect(TOPIC, vec![PARTITION], PREFERRED).await?;
            let found = found().await?;
            ensure!(found.leader_id.0 == *leader && found.isr_nodes.len() == 2, "{found:?}");
            admin.configure_topic(TOPIC, "min.insync.replicas", "1").await
        })
        .await?;
        self.history.tell(format_args!(
            "  partition {PARTITION} is on brokers {leader} and {follower} alone; kill -9 broker {follower}"
        ));
        let alone = now();
        self.brokers.kill(usize::try_from(*follower)?).await?;
        persistently("one replica in sync", PATIENCE, async || {
            let found = found().await?;
            ensure!(found.isr_nodes.len() == 1, "in sync: {:?}", found.isr_nodes);
            Ok(())
        })
        .await?;
        sleep(ALONE).await;
        self.rest().await?;
        let end = persistently("the log's end", PATIENCE, async || admin.ends(TOPIC).await).await?;
        let end = *end.get(&PARTITION).context("no end")?;
        self.history
            .tell(format_args!("  kill -9 broker {leader}; broker {follower} comes back without the rest"));
        self.brokers.kill(usize::try_from(*leader)?).await?;
        self.brokers.revive(usize::try_from(*follower)?).await?;
        let at = now();
        let begins = persistently("an unclean election", PATIENCE, async || {
            admin.elect(TOPIC, vec![PARTITION], UNCLEAN).await?;
            Ok(*admin.ends(TOPIC).await?.get(&PARTITION).context("no end")?)
        })
        .await?;
        ensure!(begins < end, "the new leader had everything: {begins} of {end}");
        let election = Election::of(PARTITION, alone, at, begins..end, &self.history.known());
        *self.unclean.lock().await = Some(election);
        // At once: the log is to grow past where readers were, who learn of the election by its epoch alone (KIP-320).
        self.write();
        self.brokers.revive(usize::try_from(*leader)?).await?;
        let all = BTreeMap::from([(PARTITION, replicas.clone())]);
        persistently("three replicas", PATIENCE, async || {
            admin.reassign(TOPIC, &all).await?;
            admin.configure_topic(TOPIC, "min.insync.replicas", "2").await
        })
        .await?;
        Ok(())
    }

    /// The acknowledged events that went with it, and how many of them had been processed.
    pub(crate) async fn loss(&self) -> Result<Option<Loss>> {
        let Some(election) = self.unclean.lock().await.clone() else { return Ok(None) };
        let written = logs::read(&self.brokers.addresses().join(","), TOPIC).await?;
        let there: HashSet<Uuid> = written.into_iter().filter_map(|written| written.id).collect();
        let known = self.history.known();
        let whole = election.events.iter().filter(|(_, every_copy)| **every_copy);
        let lost = whole.map(|(id, _)| *id).chain(election.unmarked.iter().copied());
        let lost: HashSet<_> = lost.filter(|id| !there.contains(id)).collect();
        let processed: HashSet<_> = known.processed.iter().map(|line| line.id).collect();
        let processed = lost.iter().filter(|id| processed.contains(id)).count();
        for id in &lost {
            self.history.write(format_args!("lost by the unclean election: {id}"));
        }
        Ok(Some(Loss { events: lost.len(), processed, election }))
    }
}

/// The lost records.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) election: Election,
    pub(crate) events: usize,
    /// The lost records that an instance had processed and may still store.
    pub(crate) processed: usize,
}
