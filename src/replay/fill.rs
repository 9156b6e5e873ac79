//! Fills another schema from the topic while one serves, and then may put it in its place.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use highwater_kafka::{
    Backoff, DecodingHandler, FetchPosition, LogState, ReadError, RecordHandler, StartFrom,
};
use highwater_web::shutdown::Shutdown;

use super::{Config, Target, TopicLog};
use crate::{
    activity::{Conflicts, Processor, TopicRecord},
    store::{PostgresConfig, PostgresStore, PostgresUrl, Rebuild, StoreError, Swapped},
};

/// The longest time for which errors are retried without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most records that may be left for a swap, which holds writers up until they are read.
const FEW: u64 = 2_000;
/// The most attempts at a swap whose last records take too long.
const ATTEMPTS: usize = 5;

type Offsets = BTreeMap<i32, i64>;

/// Fills the target up to the position of the serving schema, and exchanges both if asked for.
pub(super) async fn run(
    topic: &TopicLog,
    config: &Config,
    into: Target,
    swap: Option<bool>,
    dry_run: bool,
    shutdown: &Shutdown,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let serving =
        config.postgres.clone().context("the store is in memory, and filled at each start: set STORE_URL")?;
    let target = target(&serving, into, swap.is_some())?;
    if dry_run {
        let store = PostgresStore::open(serving).await?;
        return tell(topic, &store.offsets().await?, out).await;
    }
    let rebuild = Rebuild::begin(serving, target.clone()).await?;
    let store = Arc::new(PostgresStore::open(target.clone()).await?);
    let (_, writing) = (&store, target.connections.0);
    let processor = Processor::new(Arc::clone(&store) as _, Arc::new(Conflicts::default()));
    let handler = DecodingHandler::<TopicRecord, _>::new(Arc::new(processor));
    let filler = Filler { topic, handler: &handler, at_once: writing, records: AtomicU64::new(0) };
    loop {
        let before = filler.read();
        let goals = rebuild.serving_offsets().await?;
        tokio::select! {
            filled = filler.fill(&goals) => filled?,
            () = shutdown.requested() => {
                writeln!(out, "stopped after {} records: the same command goes on from there", filler.read())?;
                return Ok(false);
            }
        }
        let read = filler.read() - before;
        writeln!(out, "{read} records are read into the schema {}", target.schema)?;
        if read <= FEW {
            break;
        }
    }
    let Some(allows_loss) = swap else { return Ok(true) };
    for attempt in 1.. {
        // An error here says nothing about the database alone.
        let catch_up = async |goals: Offsets| {
            filler.fill(&goals).await.map_err(|error| StoreError::new(format!("{error:#}")))
        };
        match rebuild.swap(allows_loss, catch_up).await {
            Ok(Swapped::Done) => break,
            Ok(Swapped::Lacks(events)) => bail!(
                "nothing is changed: {events} events of the store that serves are not in the schema {}, as the topic no longer \
                 has them. With --allow-loss they stay behind",
                target.schema
            ),
            Err(error) if attempt < ATTEMPTS => {
                writeln!(out, "not yet: {error}")?;
                filler.fill(&rebuild.serving_offsets().await?).await?;
            }
            Err(error) => return Err(anyhow!(error).context("nothing is changed")),
        }
    }
    let served = config.postgres.as_ref().map_or("", |serving| serving.schema.as_str());
    writeln!(
        out,
        "the schema {served} has what was filled, and the schema {} has what was served before: drop it once it is not needed",
        target.schema
    )?;
    Ok(true)
}

/// The database and schema of the target.
fn target(serving: &PostgresConfig, into: Target, swaps: bool) -> anyhow::Result<PostgresConfig> {
    let filled = PostgresConfig { retention: None, migrate: true, ..serving.clone() };
    match into {
        Target::Schema(schema) => Ok(PostgresConfig { schema, ..filled }),
        Target::Url(url) => {
            ensure!(
                !swaps,
                "--swap is for a schema of the same database. Once another database is filled, set STORE_URL to it and \
                 restart the instances"
            );
            let url = PostgresUrl::parse(url.reveal())
                .map_err(|fault| anyhow!("--into is no URL of a database: it {fault}"))?;
            Ok(PostgresConfig { url, ..filled })
        }
    }
}

/// Reports the records that would be read into an empty schema.
async fn tell(topic: &TopicLog, goals: &Offsets, out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
    let plan = super::plan::Plan::draw(topic, goals, &super::Bound::Earliest, None).await?;
    write!(out, "{plan}")?;
    Ok(true)
}

/// Reads the topic into a store.
struct Filler<'a> {
    topic: &'a TopicLog,
    handler: &'a dyn RecordHandler,
    at_once: usize,
    records: AtomicU64,
}

impl Filler<'_> {
    /// The number of records that were read so far.
    fn read(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Reads each partition up to that offset. Existing records are not read again.
    async fn fill(&self, goals: &Offsets) -> anyhow::Result<()> {
        let partitions = stream::iter(goals).map(|(partition, goal)| self.fill_patiently(*partition, *goal));
        partitions.buffer_unordered(self.at_once).try_collect().await
    }

    async fn fill_patiently(&self, partition: i32, goal: i64) -> anyhow::Result<()> {
        let mut backoff = Backoff::new();
        let mut last = (self.read(), Instant::now());
        while let Err(error) = self.fill_partition(partition, goal).await {
            if matches!(error.downcast_ref(), Some(ReadError::Truncated(_))) {
                return Err(
                    error.context(format!("partition {partition}: drop the schema, and fill it anew"))
                );
            }
            if self.read() > last.0 {
                (backoff, last) = (Backoff::new(), (self.read(), Instant::now()));
            } else if last.1.elapsed() > PATIENCE {
                return Err(error.context(format!("partition {partition}")));
            }
            backoff.wait().await;
        }
        Ok(())
    }

    async fn fill_partition(&self, partition: i32, goal: i64) -> anyhow::Result<()> {
        let mut reader = self.topic.reader(partition);
        let range = reader.range().await?;
        let log = LogState { topic_id: reader.topic_id(), offsets: range.clone() };
        let mut position: FetchPosition = match self.handler.start_from(partition, &log).await? {
            StartFrom::Position(position) if position.offset >= range.start => position,
            _ => {
                self.handler.reset_to(partition, range.start.into()).await?;
                range.start.into()
            }
        };
        while position.offset < goal {
            let mut fetched = reader.read(position).await?;
            if fetched.next == position.offset && fetched.end <= position.offset {
                break; // the log has become shorter
            }
            fetched.records.retain(|record| record.offset < goal);
            let next = match fetched.records.last() {
                _ if fetched.next <= goal => fetched.next_position(position),
                last => FetchPosition {
                    offset: goal,
                    leader_epoch: last
                        .filter(|last| last.offset + 1 == goal)
                        .and_then(|last| last.leader_epoch),
                },
            };
            // Malformed records went to the dead letters when they were processed.
            self.handler.restore(&fetched.records).await?;
            self.handler.completed(partition, next).await?;
            self.records.fetch_add(fetched.records.len() as u64, Ordering::Relaxed);
            position = next;
        }
        Ok(())
    }
}
