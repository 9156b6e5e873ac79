//! The schedule of faults, which depends on the seed alone.
//!
//! A round is some faults, partly at the same time, and then a quiet point. Kinds are drawn like cards: none comes
//! again before all others have come.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    options::{Options, Protocol},
    proxy::Passage,
    random::Random,
};

/// Longer than any session, so that the group goes on without who is away.
pub(crate) const SESSION: Duration = Duration::from_secs(6);

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KillInstance,
    PauseInstance,
    Cut,
    CutFromCoordinator,
    Delay,
    Churn,
    Guest,
    KillBroker,
    MoveBroker,
    PauseBroker,
    Elect,
    Partitions,
    Quota,
    Roll,
    Recreate,
    KillDatabase,
    PauseDatabase,
    RestartDatabase,
    CutDatabase,
    Replay,
    Rebuild,
}

impl Kind {
    pub(crate) const ALL: [Self; 21] = [
        Self::KillInstance,
        Self::PauseInstance,
        Self::Cut,
        Self::CutFromCoordinator,
        Self::Delay,
        Self::Churn,
        Self::Guest,
        Self::KillBroker,
        Self::MoveBroker,
        Self::PauseBroker,
        Self::Elect,
        Self::Partitions,
        Self::Quota,
        Self::Roll,
        Self::Recreate,
        Self::KillDatabase,
        Self::PauseDatabase,
        Self::RestartDatabase,
        Self::CutDatabase,
        Self::Replay,
        Self::Rebuild,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::KillInstance => "kill-instance",
            Self::PauseInstance => "pause-instance",
            Self::Cut => "cut",
            Self::CutFromCoordinator => "cut-from-coordinator",
            Self::Delay => "delay",
            Self::Churn => "churn",
            Self::Guest => "guest",
            Self::KillBroker => "kill-broker",
            Self::MoveBroker => "move-broker",
            Self::PauseBroker => "pause-broker",
            Self::Elect => "elect",
            Self::Partitions => "partitions",
            Self::Quota => "quota",
            Self::Roll => "roll",
            Self::Recreate => "recreate",
            Self::KillDatabase => "kill-database",
            Self::PauseDatabase => "pause-database",
            Self::RestartDatabase => "restart-database",
            Self::CutDatabase => "cut-database",
            Self::Replay => "replay",
            Self::Rebuild => "rebuild",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name.trim());
        known.with_context(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("FAULTS: {name} is not one of {names}")
        })
    }

    /// Whether it is for instances that share a database.
    pub(crate) fn needs_database(self) -> bool {
        self.sort() == Sort::Database || matches!(self, Self::Replay | Self::Rebuild)
    }

    /// The target of the fault. Two faults of one target never run at the same time.
    fn sort(self) -> Sort {
        match self {
            Self::KillInstance
            | Self::PauseInstance
            | Self::Cut
            | Self::CutFromCoordinator
            | Self::Delay
            | Self::Churn => Sort::Instance,
            Self::Guest | Self::Quota => Sort::Beside,
            Self::KillBroker | Self::MoveBroker | Self::PauseBroker => Sort::Broker,
            // With a replica away there is no leadership to give it, and no copy to make there.
            Self::Elect | Self::Partitions => Sort::Broker,
            Self::KillDatabase | Self::PauseDatabase | Self::RestartDatabase | Self::CutDatabase => {
                Sort::Database
            }
            Self::Roll | Self::Replay | Self::Rebuild => Sort::Everyone,
            Self::Recreate => Sort::AtQuiet,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Instance,
    Broker,
    Beside,
    Database,
    /// Concerns every instance.
    Everyone,
    /// Has its place when nobody posts.
    AtQuiet,
}

/// A fault, with everything that was drawn for it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Kill { instance: usize, down: Duration },
    Pause { instance: usize, length: Duration },
    Cut { instance: usize, node: Cut, passage: Passage, length: Duration },
    Churn { instance: usize, down: Duration },
    Guest { length: Duration },
    KillBroker { node: usize, down: Duration },
    MoveBroker { node: usize, down: Duration },
    PauseBroker { node: usize, length: Duration },
    Elect { turn: usize },
    Partitions { more: i32 },
    Quota { bytes: u32, length: Duration },
    Roll { to: Protocol },
    KillDatabase { down: Duration },
    PauseDatabase { length: Duration },
    RestartDatabase,
    CutDatabase { instance: usize, passage: Passage, length: Duration },
    Replay(Replayed),
    Rebuild,
}

/// How the topic is read again from its beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Replayed {
    /// The group's offsets alone are set back, while no instance runs.
    Group,
    /// By `highwater replay`, while no instance runs.
    Offline,
    /// By `highwater replay`, while all run.
    Online,
}

/// Which of an instance's ways a fault of the network concerns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    All,
    Node(usize),
    /// The broker that keeps the group when it happens.
    Coordinator,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { instance, down } => write!(f, "kill -9 instance {instance}, back after {down:?}"),
            Self::Pause { instance, length } => write!(f, "SIGSTOP instance {instance} for {length:?}"),
            Self::Cut { instance, node, passage, length } => {
                let way = match node {
                    Cut::All => "all brokers".to_owned(),
                    Cut::Node(node) => format!("broker {node}"),
                    Cut::Coordinator => "its coordinator".to_owned(),
                };
                write!(f, "network of instance {instance} to {way}: {passage:?} for {length:?}")
            }
            Self::Churn { instance, down } => write!(f, "SIGTERM instance {instance}, back after {down:?}"),
            Self::Guest { length } => write!(f, "one more instance for {length:?}"),
            Self::KillBroker { node, down } => write!(f, "kill -9 broker {node}, back after {down:?}"),
            Self::MoveBroker { node, down } => {
                write!(f, "kill -9 broker {node}, back at another address after {down:?}")
            }
            Self::PauseBroker { node, length } => write!(f, "SIGSTOP broker {node} for {length:?}"),
            Self::Elect { turn } => {
                write!(f, "every partition's leader is the next of its replicas by {turn}")
            }
            Self::Partitions { more } => write!(f, "{more} more partition(s)"),
            Self::Quota { bytes, length } => write!(f, "producer quota of {bytes} bytes/s for {length:?}"),
            Self::Roll { to } => {
                write!(f, "rolling upgrade, one instance after the other, to GROUP_PROTOCOL={}", to.name())
            }
            Self::KillDatabase { down } => write!(f, "kill -9 PostgreSQL, back after {down:?}"),
            Self::PauseDatabase { length } => write!(f, "SIGSTOP PostgreSQL for {length:?}"),
            Self::RestartDatabase => f.write_str("PostgreSQL is restarted"),
            Self::CutDatabase { instance, passage, length } => {
                write!(f, "network of instance {instance} to PostgreSQL: {passage:?} for {length:?}")
            }
            Self::Replay(Replayed::Group) => {
                f.write_str("all instances stop, the group's offsets are 0, and all start")
            }
            Self::Replay(Replayed::Offline) => {
                f.write_str("all instances stop, highwater replay, and all start")
            }
            Self::Replay(Replayed::Online) => f.write_str("highwater replay while all instances run"),
            Self::Rebuild => f.write_str(
                "another schema is filled from the topic, and takes the place of the one that serves",
            ),
        }
    }
}

/// Faults, each with when it begins in the round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// At the quiet point after them the topic is deleted and made again.
    pub(crate) recreate: bool,
}

/// Draws rounds without end.
#[derive(Debug)]
pub(crate) struct Schedule {
    random: Random,
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
    instances: usize,
    protocol: Protocol,
    partitions: i32,
    /// Events a second.
    rate: u32,
}

/// More partitions than that are not made, however long the run.
const MOST_PARTITIONS: i32 = 12;

impl Schedule {
    pub(crate) fn draw(options: &Options) -> Self {
        Self {
            random: Random::named(options.seed, "schedule"),
            kinds: options.kinds.clone(),
            deck: Vec::new(),
            instances: options.instances,
            protocol: options.protocol,
            partitions: options.partitions,
            rate: options.rate + options.lines,
        }
    }

    /// The next round: two to four faults, of which as many as fit overlap.
    pub(crate) fn next(&mut self) -> Round {
        let mut round = Round::default();
        let wanted = 2 + self.random.below(3);
        let mut sorts: Vec<Sort> = Vec::new();
        let mut free: Vec<usize> = (0..self.instances).collect();
        self.random.shuffle(&mut free);
        let mut begins = Duration::ZERO;
        for _ in 0..wanted {
            if self.deck.is_empty() {
                self.deck = self.kinds.clone();
                self.random.shuffle(&mut self.deck);
                // Last: of a topic that was made again nothing can be rebuilt that was stored before.
                self.deck.sort_by_key(|kind| *kind != Kind::Recreate);
            }
            let Some(kind) = self.deck.last().copied() else { break };
            let sort = kind.sort();
            let taken = match sort {
                // One stays, and of brokers two of three.
                Sort::Instance => free.len() <= 1 || sorts.contains(&Sort::Everyone),
                Sort::Everyone => sorts.iter().any(|other| matches!(other, Sort::Instance | Sort::Everyone)),
                Sort::Broker | Sort::Database => sorts.contains(&sort),
                Sort::Beside => false,
                Sort::AtQuiet => {
                    self.deck.pop();
                    round.recreate = true;
                    continue;
                }
            };
            if taken {
                break; // it is the first of the next round
            }
            self.deck.pop();
            sorts.push(sort);
            let instance = if sort == Sort::Instance { free.pop().unwrap_or(0) } else { 0 };
            if let Some(fault) = self.fault(kind, instance) {
                round.faults.push((begins, fault));
                begins += self.milliseconds(500..=6_000);
            }
        }
        round
    }

    fn fault(&mut self, kind: Kind, instance: usize) -> Option<Fault> {
        let seconds = |seconds: u64| Duration::from_secs(seconds);
        Some(match kind {
            Kind::KillInstance => Fault::Kill { instance, down: self.milliseconds(100..=9_000) },
            Kind::PauseInstance => {
                // Two of three are longer than the session.
                let length = if self.random.percent(33) {
                    self.milliseconds(500..=4_000)
                } else {
                    SESSION + self.milliseconds(1_000..=6_000)
                };
                Fault::Pause { instance, length }
            }
            Kind::Cut => {
                let node = match self.random.below(4) {
                    0 => Cut::All,
                    node => Cut::Node(node),
                };
                let passage = self.broken_passage();
                Fault::Cut { instance, node, passage, length: self.milliseconds(2_000..=12_000) }
            }
            Kind::CutFromCoordinator => {
                let passage = self.broken_passage();
                let length = SESSION + self.milliseconds(4_000..=8_000);
                Fault::Cut { instance, node: Cut::Coordinator, passage, length }
            }
            Kind::Delay => Fault::Cut {
                instance,
                node: Cut::All,
                passage: Passage::Slow(self.milliseconds(10..=400)),
                length: self.milliseconds(4_000..=12_000),
            },
            Kind::Churn => Fault::Churn { instance, down: self.milliseconds(0..=8_000) },
            Kind::Guest => Fault::Guest { length: self.milliseconds(3_000..=12_000) },
            Kind::KillBroker => {
                Fault::KillBroker { node: 1 + self.random.below(3), down: self.milliseconds(0..=8_000) }
            }
            Kind::MoveBroker => {
                Fault::MoveBroker { node: 1 + self.random.below(3), down: self.milliseconds(0..=8_000) }
            }
            Kind::PauseBroker => Fault::PauseBroker {
                node: 1 + self.random.below(3),
                length: self.milliseconds(2_000..=14_000),
            },
            Kind::Elect => Fault::Elect { turn: 1 + self.random.below(2) },
            Kind::Partitions => {
                let more = 1 + self.random.below(2) as i32;
                if self.partitions + more > MOST_PARTITIONS {
                    return None;
                }
                self.partitions += more;
                Fault::Partitions { more }
            }
            // About what the events need. Less would outlast the quota by far: Kafka's answer to one batch too many is how
            // long to wait, which a quota that is lifted does not take back.
            Kind::Quota => Fault::Quota {
                bytes: self.rate * self.random.between(38..=100) as u32,
                length: seconds(self.random.between(4..=10)),
            },
            Kind::Roll => Fault::Roll { to: self.protocol },
            Kind::KillDatabase => Fault::KillDatabase { down: self.milliseconds(0..=8_000) },
            Kind::PauseDatabase => Fault::PauseDatabase { length: self.milliseconds(2_000..=14_000) },
            Kind::RestartDatabase => Fault::RestartDatabase,
            Kind::CutDatabase => Fault::CutDatabase {
                instance: self.random.below(self.instances),
                passage: self.broken_passage(),
                length: self.milliseconds(2_000..=12_000),
            },
            Kind::Replay => {
                let ways = [Replayed::Group, Replayed::Offline, Replayed::Online];
                Fault::Replay(ways[self.random.below(ways.len())])
            }
            Kind::Rebuild => Fault::Rebuild,
            Kind::Recreate => return None,
        })
    }

    fn broken_passage(&mut self) -> Passage {
        let ways = [Passage::Silent, Passage::AnswersLost, Passage::Refused];
        ways[self.random.below(ways.len())]
    }

    fn milliseconds(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.random.between(range))
    }
}
