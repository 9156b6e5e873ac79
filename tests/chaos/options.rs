//! The options of a run, from variables that `scripts/chaos.sh` explains.

use std::{env, fmt::Display, fs, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{database::Database, schedule::Kind};

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    /// Where `scripts/kafka.sh` started the cluster: its first broker's port.
    pub(crate) kafka_port: u16,
    pub(crate) kafka_version: String,
    pub(crate) protocol: Protocol,
    /// The database that all instances share; without one each has its memory.
    pub(crate) database: Option<Database>,
    pub(crate) assignor: String,
    pub(crate) instances: usize,
    /// The clients that post one event after the other.
    pub(crate) clients: usize,
    /// Posts a second, all of them together.
    pub(crate) rate: u32,
    /// The clients that post streams.
    pub(crate) streams: usize,
    /// Lines a second, all streams together.
    pub(crate) lines: u32,
    pub(crate) partitions: i32,
    /// The kinds of faults that may be drawn.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) unclean_election: bool,
    /// The deliberate fault that the instances were built with.
    pub(crate) sabotage: Option<Sabotage>,
    /// The program that instances run.
    pub(crate) program: PathBuf,
    /// Where logs and the history are written.
    pub(crate) directory: PathBuf,
}

/// The group protocol that instances end up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Classic,
    Consumer,
}

impl Protocol {
    /// As GROUP_PROTOCOL has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// A deliberate fault: a patch of tests/chaos/sabotage that the instances were built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    CommitBeforeProcessing,
    NoAdmission,
    NoFencing,
    WatermarkOffByOne,
    AckBeforeKafka,
    ReceiptBeforeKafka,
    PositionBeforeEvents,
    NoUniqueId,
    RetryWithNewNumbers,
    SwapWithoutCatchingUp,
}

impl Sabotage {
    const ALL: [Self; 10] = [
        Self::CommitBeforeProcessing,
        Self::NoAdmission,
        Self::NoFencing,
        Self::WatermarkOffByOne,
        Self::AckBeforeKafka,
        Self::ReceiptBeforeKafka,
        Self::PositionBeforeEvents,
        Self::NoUniqueId,
        Self::RetryWithNewNumbers,
        Self::SwapWithoutCatchingUp,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CommitBeforeProcessing => "commit-before-processing",
            Self::NoAdmission => "no-admission",
            Self::NoFencing => "no-fencing",
            Self::WatermarkOffByOne => "watermark-off-by-one",
            Self::AckBeforeKafka => "ack-before-kafka",
            Self::ReceiptBeforeKafka => "receipt-before-kafka",
            Self::PositionBeforeEvents => "position-before-events",
            Self::NoUniqueId => "no-unique-id",
            Self::RetryWithNewNumbers => "retry-with-new-numbers",
            Self::SwapWithoutCatchingUp => "swap-without-catching-up",
        }
    }

    /// Whether it is in the store that is a database.
    fn needs_database(self) -> bool {
        matches!(self, Self::PositionBeforeEvents | Self::NoUniqueId | Self::SwapWithoutCatchingUp)
    }

    /// The faults that bring it to light; FAULTS says otherwise.
    fn kinds(self) -> Vec<Kind> {
        match self {
            Self::NoFencing => vec![Kind::CutFromCoordinator],
            Self::RetryWithNewNumbers => vec![Kind::Cut, Kind::KillBroker],
            Self::PositionBeforeEvents => vec![Kind::KillDatabase],
            Self::SwapWithoutCatchingUp => vec![Kind::Rebuild],
            // An instance that is killed between the two also leaves a dead letter unwritten, and one that starts beyond
            // the log's end goes back to its beginning: the report would name other guarantees, too.
            Self::CommitBeforeProcessing | Self::WatermarkOffByOne => vec![Kind::Delay, Kind::Elect],
            _ => vec![Kind::KillInstance, Kind::Churn],
        }
    }
}

impl Options {
    /// Where events are kept.
    pub(crate) fn store(&self) -> &'static str {
        if self.database.is_some() { "PostgreSQL" } else { "memory" }
    }

    /// Reads the variables.
    pub(crate) fn read() -> Result<Self> {
        let sabotage = match variable("SABOTAGE") {
            None => None,
            Some(name) => {
                let known = Sabotage::ALL.into_iter().find(|known| known.name() == name);
                Some(known.with_context(|| format!("SABOTAGE={name}: not one of {:?}", Sabotage::ALL))?)
            }
        };
        let seed = match variable("SEED") {
            Some(seed) => parsed("SEED", &seed)?,
            None => from_the_system()?,
        };
        let kafka_version = variable("KAFKA_VERSION").unwrap_or_else(|| "4.1.0".to_owned());
        let protocol = match variable("PROTOCOL").as_deref() {
            None | Some("classic") => Protocol::Classic,
            Some("consumer") if kafka_version.starts_with('3') => {
                bail!("PROTOCOL=consumer needs Kafka 4");
            }
            Some("consumer") => Protocol::Consumer,
            Some(other) => bail!("PROTOCOL={other}: classic or consumer"),
        };
        let database = match variable("STORE").as_deref() {
            None | Some("memory") => None,
            Some("postgres") => {
                let url = variable("STORE_URL").context("STORE=postgres needs STORE_URL")?;
                Some(Database::new(number("POSTGRES_PORT", 5433)?, url))
            }
            Some(other) => bail!("STORE={other}: memory or postgres"),
        };
        let mut kinds = match variable("FAULTS") {
            Some(names) => names.split(',').map(Kind::named).collect::<Result<_>>()?,
            None => sabotage.map_or_else(|| Kind::ALL.to_vec(), Sabotage::kinds),
        };
        kinds.retain(|kind| database.is_some() || !kind.needs_database());
        let misplaced = sabotage.is_some_and(Sabotage::needs_database) && database.is_none();
        ensure!(!kinds.is_empty() && !misplaced, "these faults need STORE=postgres");
        Ok(Self {
            seed,
            length: Duration::from_secs_f64(number::<f64>("MINUTES", 1.0)? * 60.0),
            kafka_port: number("KAFKA_PORT", 9092)?,
            kafka_version,
            protocol,
            database,
            assignor: variable("ASSIGNOR").unwrap_or_else(|| "cooperative-sticky".to_owned()),
            instances: number("INSTANCES", 3)?,
            clients: number("CLIENTS", 48)?,
            rate: number("RATE", 400)?,
            streams: number("STREAMS", 16)?,
            lines: number("LINES", 400)?,
            partitions: number("PARTITIONS", 6)?,
            kinds,
            unclean_election: sabotage.is_none() && variable("UNCLEAN").as_deref() != Some("no"),
            sabotage,
            program: variable("HIGHWATER")
                .map_or_else(|| env!("CARGO_BIN_EXE_highwater").into(), PathBuf::from),
            directory: variable("DIRECTORY")
                .map_or_else(|| env::temp_dir().join(format!("highwater-chaos-{seed}")), PathBuf::from),
        })
    }
}

fn number<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T> {
    variable(name).map_or(Ok(default), |value| parsed(name, &value))
}

fn parsed<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|error| anyhow::anyhow!("{name}={value}: {error}"))
}

/// A variable; an empty one counts as none.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's own switches, which no setting of the service reads"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A short one, as it will be typed again.
fn from_the_system() -> Result<u64> {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no seed")?;
    Ok(u64::from(u16::from_str_radix(&id[..4], 16)?))
}
