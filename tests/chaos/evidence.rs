//! The evidence of a quiet point, read from Kafka directly and from each instance.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures::{future::try_join_all, try_join};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    commits::Commit,
    database::Stored,
    history::{Millis, TopicOffset},
    instance::{DEAD_LETTERS, Instance, TOPIC},
    logs::{self, Written},
    stage::Stage,
    unclean::Election,
};

/// An instance lists some million events.
const LISTED_WITHIN: Duration = Duration::from_secs(120);
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Everything that the checks are about.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The topic.
    pub(crate) written: Vec<Written>,
    /// The dead letters: when each key was first set aside.
    pub(crate) letters: HashMap<String, Millis>,
    pub(crate) ends: BTreeMap<i32, i64>,
    pub(crate) committed: BTreeMap<i32, i64>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) instances: Vec<InstanceContents>,
    /// Which instances list an event.
    pub(crate) holders: HashMap<Uuid, Vec<usize>>,
    /// The contents of the database, where all instances share one.
    pub(crate) stored: Option<Stored>,
    /// The forced unclean election, once it was.
    pub(crate) unclean: Option<Election>,
}

/// How many of an event's copies are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    Some,
    All,
}

/// The contents of an instance.
#[derive(Debug, Clone)]
pub(crate) struct InstanceContents {
    pub(crate) number: usize,
    /// The partitions that it says are its own.
    pub(crate) partitions: BTreeSet<i32>,
    pub(crate) events: Vec<Listed>,
}

impl InstanceContents {
    async fn read(stage: &Stage, instance: &Instance) -> Result<Self> {
        let partitions = owned(stage, &instance.base).await?;
        Ok(Self { number: instance.number, partitions, events: list(stage, &instance.base).await? })
    }
}

/// An event as `GET /events/processed` shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) id: Uuid,
    pub(crate) user: u32,
    pub(crate) number: u32,
}

impl Evidence {
    /// Gathers it. The topic has to be at rest.
    pub(crate) async fn gather(
        stage: &Stage,
        ends: BTreeMap<i32, i64>,
        committed: BTreeMap<i32, i64>,
    ) -> Result<Self> {
        let brokers = stage.brokers.addresses().join(",");
        let instances = stage.regulars().iter().map(|instance| InstanceContents::read(stage, instance));
        let (written, dead, instances) = try_join!(
            logs::read(&brokers, TOPIC),
            logs::read(&brokers, DEAD_LETTERS),
            try_join_all(instances)
        )?;
        let mut letters = HashMap::new();
        for letter in dead {
            let first = letters.entry(letter.key).or_insert(letter.at);
            *first = letter.at.min(*first);
        }
        let commits = stage.commits.lock().await.read(&stage.admin).await?.to_vec();
        let mut holders: HashMap<Uuid, Vec<usize>> = HashMap::new();
        for instance in &instances {
            for event in &instance.events {
                holders.entry(event.id).or_default().push(instance.number);
            }
        }
        let stored = match &stage.options.database {
            Some(database) => Some(database.read().await?),
            None => None,
        };
        let unclean = stage.unclean.lock().await.clone().map(|election| election.dated_by(&commits));
        Ok(Self { written, letters, ends, committed, commits, instances, holders, stored, unclean })
    }

    /// Whether the forced unclean election took a copy of that event, or all.
    pub(crate) fn lost(&self, id: &Uuid) -> Option<Copies> {
        let election = self.unclean.as_ref()?;
        let every_copy = election.events.get(id).copied();
        let every_copy = every_copy.or_else(|| election.unmarked.contains(id).then_some(true))?;
        Some(if every_copy { Copies::All } else { Copies::Some })
    }

    /// Whether it took that malformed record.
    pub(crate) fn lost_malformed(&self, key: &str) -> bool {
        self.unclean.as_ref().is_some_and(|election| election.malformed.contains(key))
    }

    /// Whether the log of that partition became another between two moments.
    pub(crate) fn elected_between(&self, partition: i32, from: Millis, to: Millis) -> bool {
        self.unclean.as_ref().is_some_and(|election| {
            election.partition == partition && from < election.at && election.at <= to
        })
    }

    /// Whether a commit at that moment was about what stood at that place before an unclean election.
    pub(crate) fn is_of_the_log_before(&self, (partition, offset): TopicOffset, at: Millis) -> bool {
        self.unclean.as_ref().is_some_and(|election| {
            election.partition == partition && offset >= election.lost.start && at < election.at
        })
    }
}

/// The partitions that an instance says are its own and restored; an error while it is not at work.
pub(crate) async fn owned(stage: &Stage, base: &str) -> Result<BTreeSet<i32>> {
    let health = stage.http.get(format!("{base}/health")).timeout(ANSWERED_WITHIN).send().await?;
    let health: Value = health.json().await?;
    let group = &health["group"];
    anyhow::ensure!(group["phase"] == "assigned", "{base} is {}", group["phase"]);
    let partitions = group["partitions"].as_array().context("no partitions")?;
    partitions
        .iter()
        .map(|found| {
            anyhow::ensure!(found["restored"] == true, "{base} restores partition {}", found["partition"]);
            let partition = found["partition"].as_i64().context("a partition without a number")?;
            Ok(i32::try_from(partition)?)
        })
        .collect()
}

async fn list(stage: &Stage, base: &str) -> Result<Vec<Listed>> {
    /// The fields of an event that the checks compare.
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "eventId")]
        id: Uuid,
        #[serde(rename = "userId")]
        user: &'a str,
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        number: u32,
    }
    let request = stage.http.get(format!("{base}/events/processed")).timeout(LISTED_WITHIN);
    let answer = request.header("accept", "application/x-ndjson").send().await?.error_for_status()?;
    let lines = answer.bytes().await?;
    let events = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let event: Event<'_> = serde_json::from_slice(line)?;
        let user = event.user.strip_prefix("user-").context("a user of nobody's")?.parse()?;
        Ok(Listed { id: event.id, user, number: event.payload.number })
    });
    events.collect()
}
