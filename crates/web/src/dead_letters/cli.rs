//! Dead letters from a shell: with the service's settings, straight on Kafka, whether the service runs or not.

use std::{convert::Infallible, io::Write, sync::Arc, time::Duration};

use anyhow::anyhow;
use futures::future::BoxFuture;
use highwater_kafka::{
    Cluster, ClusterConfig, ConsumerConfig, Producer, ProducerConfig, StatusRegistry, Topic, TopicConfig,
    dead_letter::{DlqFilter, RedriveReport, RedriveSelection},
    exists,
};
use tokio::time::Instant;

use super::{Topics, body};
use crate::shutdown::Shutdown;

/// The number of dead letters that one request reads.
const AT_ONCE: usize = 200;
/// The longest time of a redrive. The next one continues.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A task of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DlqCommand {
    /// Lists dead letters, a line of JSON each, the newest first.
    List {
        /// The selection.
        filter: DlqFilter,
        /// The most dead letters.
        limit: Option<usize>,
    },
    /// Sends dead letters back.
    Redrive(RedriveSelection),
}

/// The place of the dead letters, and the settings for reading and redriving them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Kafka.
    pub kafka: ClusterConfig,
    /// The topic of the original records.
    pub topic: TopicConfig,
    /// The dead letter topic.
    pub dead_letter_topic: TopicConfig,
    /// The producer of a redrive.
    pub producer: ProducerConfig,
    /// The consumer; the dead letters are those of its group.
    pub consumer: ConsumerConfig,
    /// The most redrives of a record.
    pub redrive_max: u32,
}

/// Refuses a missing topic: only its service knows how to create it.
async fn check_topics(cluster: &Cluster, names: [&str; 2]) -> anyhow::Result<()> {
    // The next request reports that Kafka does not answer.
    let Ok(mut connection) = cluster.connect().await else { return Ok(()) };
    for name in names {
        if matches!(exists(&mut connection, name).await, Ok(false)) {
            anyhow::bail!("topic {name} does not exist");
        }
    }
    Ok(())
}

/// Runs the command and prints the result. Returns whether all was done. A stop ends it early, after a commit of its
/// progress.
///
/// # Errors
///
/// A topic does not exist, Kafka does not answer, another redrive is at work, or the output is closed.
pub fn run<'a>(
    task: DlqCommand,
    settings: Settings,
    shutdown: &'a Shutdown,
    out: &'a mut (dyn Write + Send),
) -> BoxFuture<'a, anyhow::Result<bool>> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(perform(task, settings, shutdown, out))
}

async fn perform(
    task: DlqCommand,
    settings: Settings,
    shutdown: &Shutdown,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let cluster = Arc::new(Cluster::new(settings.kafka)?);
    check_topics(&cluster, [&settings.dead_letter_topic.name, &settings.topic.name]).await?;
    let registry = Arc::new(StatusRegistry::new());
    let max_age = settings.consumer.metadata_max_age;
    let follow = |topic| Topic::follow(Arc::clone(&cluster), topic, max_age, Arc::clone(&registry));
    let (source, dead_letters) = (follow(settings.topic), follow(settings.dead_letter_topic));
    let producer =
        Producer::new(Arc::clone(&cluster), source.clone(), settings.producer, Arc::clone(&registry));
    let producer = Arc::new(producer);
    let topics = Topics {
        cluster,
        dead_letters,
        source: Arc::clone(source.name()),
        publisher: Arc::clone(&producer) as _,
    };
    let (reader, redriver) = topics.open(&settings.consumer, settings.redrive_max);
    let because = || {
        registry.watch().borrow().kafka.error.clone().map(|error| format!(" ({error})")).unwrap_or_default()
    };

    match task {
        DlqCommand::List { filter, limit } => {
            let mut left = limit.unwrap_or(usize::MAX);
            let mut cursor = None;
            // `None` where the progress is not known; the lines are then without it.
            let mut progress = None;
            while left > 0 && !shutdown.is_requested() {
                let page = reader.newest(&filter, cursor.as_ref(), left.min(AT_ONCE)).await;
                let page = page.map_err(|error| anyhow!("{error}{}", because()))?;
                if progress.is_none() {
                    progress = Some(redriver.progress().await.ok());
                }
                for dead_letter in &page.dead_letters {
                    let mut line = Vec::new();
                    body::push(&mut line, dead_letter, progress.as_ref().and_then(Option::as_ref));
                    line.push(b'\n');
                    out.write_all(&line)?;
                }
                left -= page.dead_letters.len().min(left);
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            Ok(true)
        }
        DlqCommand::Redrive(selection) => {
            let work = redriver.redrive(&selection, Instant::now() + LONGEST);
            let stopping = async {
                shutdown.requested().await;
                redriver.stop();
                std::future::pending::<Infallible>().await
            };
            let report: RedriveReport = tokio::select! {
                report = work => report.map_err(|error| anyhow!("{error}{}", because()))?,
                never = stopping => match never {},
            };
            producer.close().await;
            serde_json::to_writer(&mut *out, &report)?;
            out.write_all(b"\n")?;
            Ok(report.complete)
        }
    }
}
