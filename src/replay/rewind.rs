//! Moves positions back, so that the service processes a stretch of the topic again.

#[cfg(feature = "postgres")]
use std::time::Duration;
use std::{collections::BTreeMap, io::Write, sync::Arc};

use anyhow::{bail, ensure};
use highwater_kafka::group::{GroupOffsets, MoveError};
use highwater_web::shutdown::Shutdown;

#[cfg(feature = "postgres")]
use super::plan::Stretch;
use super::{Bound, Config, TopicLog, plan::Plan};
#[cfg(feature = "postgres")]
use crate::store::{EventStore as _, PostgresStore, Start};

/// The interval between two checks whether the service has reached the end of a stretch.
#[cfg(feature = "postgres")]
const LOOK: Duration = Duration::from_millis(200);

/// Moves positions back to `from`. If the stretch ends early, waits until the service has reached its end, and then moves
/// the position to where it was.
pub(super) async fn run(
    topic: &TopicLog,
    config: &Config,
    (from, to): (&Bound, Option<&Bound>),
    dry_run: bool,
    shutdown: &Shutdown,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let group = Group {
        offsets: GroupOffsets::new(Arc::clone(&topic.cluster), &config.group_id, Arc::clone(&topic.topic)),
        id: &config.group_id,
    };
    #[cfg(feature = "postgres")]
    if let Some(postgres) = &config.postgres {
        let store =
            PostgresStore::open(crate::store::PostgresConfig { retention: None, ..postgres.clone() }).await?;
        let mut plan = Plan::draw(topic, &store.offsets().await?, from, to).await?;
        write!(out, "{plan}")?;
        if dry_run || plan.0.is_empty() {
            return Ok(true);
        }
        for stretch in &mut plan.0 {
            move_back(&store, stretch).await?;
        }
        writeln!(out, "the database's positions are moved: the service processes these records again")?;
        match group.move_to(&plan).await {
            Ok(()) => writeln!(out, "the offsets of group {} are moved, too", group.id)?,
            // An instance commits for itself, after the database.
            Err(MoveError::HasMembers) => writeln!(out, "the offsets of group {} follow them", group.id)?,
            Err(error) => writeln!(
                out,
                "the offsets of group {} are not moved, and follow once the service runs: {error}",
                group.id
            )?,
        }
        let early = plan.0.into_iter().filter(Stretch::ends_early).collect();
        return go_on(&store, early, shutdown, out).await;
    }
    ensure!(
        to.is_none(),
        "--to needs a database (STORE_URL): with the store in memory all records after --from are processed again"
    );
    let partitions = topic.partitions().await?;
    let plan = Plan::draw(topic, &group.offsets.committed(partitions).await?, from, None).await?;
    write!(out, "{plan}")?;
    if dry_run || plan.0.is_empty() {
        return Ok(true);
    }
    match group.move_to(&plan).await {
        Ok(()) => {}
        Err(MoveError::HasMembers) => bail!(
            "nothing is moved: group {} has members, and Kafka moves the offsets of none that has. Stop all instances, wait \
             for KAFKA_SESSION_TIMEOUT if one did not leave, and run this again",
            group.id
        ),
        Err(error) => bail!("the offsets of group {} may not be moved: {error}. Run this again", group.id),
    }
    let _ = shutdown;
    writeln!(out, "the offsets of group {} are moved: the service processes these records again", group.id)?;
    Ok(true)
}

/// The group of the service.
struct Group<'a> {
    offsets: GroupOffsets,
    id: &'a str,
}

impl Group<'_> {
    async fn move_to(&self, plan: &Plan) -> Result<(), MoveError> {
        let topic_id = plan.0.iter().find_map(|stretch| stretch.log.topic_id);
        let starts: BTreeMap<i32, i64> = plan.starts();
        self.offsets.move_to(&starts, topic_id).await
    }
}

/// Moves the position of a partition back to the stretch's beginning. The claim of the instance that processes it becomes
/// invalid, so that instance asks for the position again.
#[cfg(feature = "postgres")]
async fn move_back(store: &PostgresStore, stretch: &mut Stretch) -> anyhow::Result<()> {
    stretch.check_topic().await?;
    // The instance that processes the partition may claim it in between, and does not do so again at once.
    for _ in 0..10 {
        let Start::At(stands) = store.take_up(stretch.partition, &stretch.log).await? else {
            bail!("partition {} has no position in the database", stretch.partition);
        };
        if store.move_to(stretch.partition, stretch.from.into()).await.is_ok() {
            stretch.stands = stands;
            return Ok(());
        }
    }
    store.move_to(stretch.partition, stretch.from.into()).await?;
    Ok(())
}

/// Waits until each partition is processed up to the stretch's end, and moves its position to where it was.
#[cfg(feature = "postgres")]
async fn go_on(
    store: &PostgresStore,
    mut early: Vec<Stretch>,
    shutdown: &Shutdown,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    while !early.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.requested() => {
                writeln!(out, "stopped: what comes after --to is processed again, too")?;
                return Ok(false);
            }
        }
        let offsets = store.offsets().await?;
        let is_done =
            |stretch: &Stretch| offsets.get(&stretch.partition).is_none_or(|offset| *offset >= stretch.to);
        let (done, rest) = early.into_iter().partition(is_done);
        early = rest;
        for mut stretch in done {
            let Stretch { partition, stands, .. } = stretch;
            stretch.check_topic().await?;
            let Start::At(reached) = store.take_up(partition, &stretch.log).await? else { continue };
            if reached.offset >= stands.offset {
                continue;
            }
            match store.move_to(partition, stands).await {
                Ok(()) => writeln!(
                    out,
                    "partition {partition} is processed up to {}, and goes on at {}",
                    reached.offset, stands.offset
                )?,
                // It was claimed in between: try once more.
                Err(_) => early.push(stretch),
            }
        }
    }
    Ok(true)
}
