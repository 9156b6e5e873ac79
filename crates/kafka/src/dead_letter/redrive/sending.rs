//! Sends dead letters, then commits the progress.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream};
use log::warn;
use tokio::time::Instant;

use super::{DeadLetter, RedriveProgress, report::Interruption, run::RedriveRun};
use crate::{
    LeaderEpochs, PublishError,
    backoff::Backoff,
    group::{OffsetAndMetadata, with_topic},
};

/// The most dead letters in flight: a crash can repeat that many.
const IN_FLIGHT: usize = 256;
/// The time for which a commit is retried: without it, dead letters are sent twice.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

impl RedriveRun<'_> {
    /// Sends dead letters, each with the offset up to which it is progress, and commits those that were acknowledged, with the
    /// leader epoch that `epochs` has there. A
    /// dead letter that its topic refuses stays, and the others go on: a later redrive would be refused too.
    pub(super) async fn send(
        &mut self,
        partition: i32,
        dead_letters: Vec<(DeadLetter, i64)>,
        progress: &mut RedriveProgress,
        epochs: &LeaderEpochs,
    ) -> Result<(), Interruption> {
        let mut dead_letters = dead_letters.into_iter().peekable();
        while dead_letters.peek().is_some() {
            self.lock.check()?;
            let room = progress.remaining_capacity().min(IN_FLIGHT);
            if room == 0 {
                return Err(Interruption::Early(format!(
                    "what was sent back of partition {partition} is in too many stretches to be noted, and no more can \
                     be: dead letters between them stay, from {partition}/{} on. Those that can go have to go first; those \
                     that never will block the rest until the topic no longer keeps them",
                    progress.watermark()
                )));
            }
            let publisher = &self.redriver.publisher;
            let sending = dead_letters.by_ref().take(room).map(|(dead_letter, behind)| async move {
                let mut sent = publisher.publish(dead_letter.to_send_back()).await;
                // Perhaps the topic refuses its old timestamp.
                if let Err(PublishError::Refused(_)) = sent {
                    sent = publisher.publish(dead_letter.to_send_back_as_of_now()).await;
                }
                (dead_letter.record.offset, behind, sent)
            });
            let sending: Vec<_> = sending.collect();
            let mut refusal = None;
            let mut outcomes = stream::iter(sending).buffered(IN_FLIGHT);
            while let Some((offset, behind, sent)) = outcomes.next().await {
                match sent {
                    Ok(_) => {
                        self.report.redriven += 1;
                        progress.mark_done(offset..behind);
                    }
                    Err(error @ (PublishError::TooLarge(_) | PublishError::Refused(_))) => {
                        warn!(partition, offset; "a dead letter is refused by the topic it came from: {error}");
                        self.report.refused += 1;
                    }
                    Err(error) => {
                        refusal.get_or_insert(format!("the dead letter {partition}/{offset} stays: {error}"));
                    }
                }
            }
            drop(outcomes);
            self.commit(partition, progress, epochs).await?;
            if let Some(why) = refusal {
                return Err(Interruption::Early(why));
            }
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        partition: i32,
        progress: &RedriveProgress,
        epochs: &LeaderEpochs,
    ) -> Result<(), Interruption> {
        let (coordinator, topic) = (&self.redriver.coordinator, self.redriver.reader.topic().name());
        let noted = OffsetAndMetadata {
            offset: progress.watermark(),
            leader_epoch: epochs.position_at(progress.watermark()).leader_epoch,
            metadata: with_topic(progress.encode(), self.topic),
        };
        let noted = BTreeMap::from([(partition, noted)]);
        let by = Instant::now() + COMMIT_PATIENCE;
        let mut backoff = Backoff::new();
        loop {
            let outcome = match self.lock.generation() {
                Some(generation) => {
                    coordinator.commit(&generation, topic, &noted).await.map_err(|error| error.to_string())
                }
                None => Err("out of the redrive group".to_owned()),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= by => {
                    warn!(
                        "up to {IN_FLIGHT} dead letters of partition {partition} may be sent back twice: {error}"
                    );
                    return Err(Interruption::Early(format!(
                        "what was sent back last is not committed, and the next redrive sends it again: {error}"
                    )));
                }
                Err(_) => backoff.wait().await,
            }
        }
    }
}
