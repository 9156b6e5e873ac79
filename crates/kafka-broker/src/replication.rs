//! Replication: followers copy their leaders' logs (`ReplicaFetcherThread`, `DelayedFetch`, and truncation by leader epoch,
//! KIP-101, in Java).
//!
//! A follower asks its leader for the batches after its own log's end, which tells the leader of that end. The leader answers
//! when it has more, or when the follower's log diverges from its own. Nodes send nothing themselves: [`State::replicate`]
//! leaves messages in an outbox, and the owner of the nodes carries them.

use std::{collections::BTreeMap, mem, time::Duration};

use tokio::time::Instant;

use super::{
    cluster::{NodeId, PartitionId},
    log::{Batch, PartitionLog},
    partition::Partition,
    state::State,
};

/// `replica.fetch.wait.max.ms`.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// A fetch without an answer for so long is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// The batches of a partition in one answer.
const MOST_BATCHES: usize = 1000;

/// A message from one node to another.
#[derive(Debug)]
pub struct Message(MessageBody);

#[derive(Debug)]
enum MessageBody {
    Fetch(Fetch),
    Fetched { number: u64, found: Vec<(PartitionId, i32, FetchedPartition)> },
}

#[derive(Debug)]
struct Fetch {
    number: u64,
    wanted: Vec<(PartitionId, PartitionFetch)>,
}

/// A follower's fetch of a partition: the end of its log, from which on it wants batches.
#[derive(Debug)]
struct PartitionFetch {
    leader_epoch: i32,
    from: i64,
    last_epoch: Option<i32>,
    high_watermark: i64,
}

/// A leader's answer for a partition.
#[derive(Debug)]
enum FetchedPartition {
    Batches {
        batches: Vec<Batch>,
        start: i64,
        high_watermark: i64,
    },
    /// The follower's log diverges. The leader's log has this end of the largest epoch up to the follower's last one.
    Diverging {
        epoch: i32,
        end: i64,
    },
}

/// A node's fetches, and those of its followers that wait.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    last_number: u64,
    asked: BTreeMap<NodeId, (u64, Instant)>,
    waiting: BTreeMap<NodeId, (Fetch, Instant)>,
    outbox: Vec<(NodeId, Message)>,
    /// Whether a log or a leader may have changed since the last look.
    is_awake: bool,
}

impl Replication {
    /// A log or a leader may have changed.
    pub(crate) fn wake(&mut self) {
        self.is_awake = true;
    }

    /// Whether there can be something new to ask or to answer.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let is_late = |(_, since): &(Fetch, Instant)| now >= *since + MAX_WAIT;
        let is_lost = |(_, at): &(u64, Instant)| now >= *at + PATIENCE;
        self.is_awake || self.waiting.values().any(is_late) || self.asked.values().any(is_lost)
    }
}

impl PartitionFetch {
    fn of(partition: &Partition) -> Self {
        Self {
            leader_epoch: partition.leadership().epoch,
            from: partition.log().end(),
            last_epoch: partition.log().last_epoch(),
            high_watermark: partition.high_watermark(),
        }
    }

    /// The answer for a follower whose log diverges from the leader's; `None` where it does not.
    fn divergence(&self, log: &PartitionLog) -> Option<FetchedPartition> {
        let last = self.last_epoch?;
        let (epoch, end) = log.end_of_epoch(last)?;
        (epoch < last || end < self.from).then_some(FetchedPartition::Diverging { epoch, end })
    }
}

impl State {
    /// Takes the messages that are to be carried to other nodes.
    pub(super) fn take_messages(&mut self) -> Vec<(NodeId, Message)> {
        mem::take(&mut self.replication.outbox)
    }

    /// Asks the leaders for more, and answers followers.
    pub(super) fn replicate(&mut self, now: Instant) {
        self.replication.is_awake = false;
        self.ask_leaders(now);
        self.answer_followers(now);
    }

    /// Takes a message of another node.
    pub(super) fn receive(&mut self, from: NodeId, message: Message, now: Instant) {
        match message.0 {
            MessageBody::Fetch(fetch) => {
                self.replication.waiting.insert(from, (fetch, now));
            }
            MessageBody::Fetched { number, found } => {
                if self.replication.asked.get(&from).is_none_or(|(asked, _)| *asked != number) {
                    return;
                }
                self.replication.asked.remove(&from);
                for (id, epoch, found) in found {
                    self.take_over(from, id, epoch, found);
                }
            }
        }
        self.replicate(now);
    }

    fn ask_leaders(&mut self, now: Instant) {
        let mut wanted: BTreeMap<NodeId, Vec<(PartitionId, PartitionFetch)>> = BTreeMap::new();
        let asked = mem::take(&mut self.replication.asked);
        for (id, partition) in self.partitions_mut() {
            let Some(leader) = partition.followed() else { continue };
            if asked.get(&leader).is_none_or(|(_, at)| now >= *at + PATIENCE) {
                wanted.entry(leader).or_default().push((id, PartitionFetch::of(partition)));
            }
        }
        let Replication { last_number, asked: kept, outbox, .. } = &mut self.replication;
        *kept = asked;
        for (leader, wanted) in wanted {
            *last_number += 1;
            kept.insert(leader, (*last_number, now));
            outbox.push((leader, Message(MessageBody::Fetch(Fetch { number: *last_number, wanted }))));
        }
    }

    fn answer_followers(&mut self, now: Instant) {
        for (follower, (fetch, since)) in mem::take(&mut self.replication.waiting) {
            let mut found = Vec::new();
            for (id, wanted) in &fetch.wanted {
                let Some(partition) = self.partition_mut(*id) else { continue };
                let epoch = partition.leadership().epoch;
                if !partition.is_led_here() || epoch != wanted.leader_epoch {
                    continue;
                }
                if let Some(diverging) = wanted.divergence(partition.log()) {
                    found.push((*id, epoch, diverging));
                    continue;
                }
                partition.asked_by(follower, wanted.from, now);
                let (log, high_watermark) = (partition.log(), partition.high_watermark());
                if log.end() > wanted.from || high_watermark > wanted.high_watermark {
                    let (batches, start) = (log.copies(wanted.from, MOST_BATCHES), log.start());
                    found.push((*id, epoch, FetchedPartition::Batches { batches, start, high_watermark }));
                }
            }
            let Replication { waiting, outbox, .. } = &mut self.replication;
            if found.is_empty() && now < since + MAX_WAIT {
                waiting.insert(follower, (fetch, since));
            } else {
                outbox.push((follower, Message(MessageBody::Fetched { number: fetch.number, found })));
            }
        }
    }

    /// Takes over the answer of a partition's leader in that epoch.
    fn take_over(&mut self, leader: NodeId, id: PartitionId, epoch: i32, found: FetchedPartition) {
        let Some(partition) = self.partition_mut(id) else { return };
        if partition.followed() != Some(leader) || partition.leadership().epoch != epoch {
            return;
        }
        match found {
            FetchedPartition::Diverging { epoch, end } => partition.write(|log| log.part(epoch, end)),
            FetchedPartition::Batches { batches, start, high_watermark } => {
                partition.write(|log| {
                    batches.into_iter().for_each(|batch| log.copy(batch));
                    log.delete_before(start);
                });
                partition.follow_watermark(high_watermark);
            }
        }
    }
}
