//! The plan of a replay: a stretch of each partition, as a table.

use std::{collections::BTreeMap, fmt};

use anyhow::ensure;

use super::{Bound, TopicLog};
use crate::store::Log;
#[cfg(feature = "postgres")]
use crate::store::LogPosition;

/// The stretches of all partitions that have one.
#[derive(Debug)]
pub(super) struct Plan(pub(super) Vec<Stretch>);

/// Records of one partition that were processed before.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) partition: i32,
    /// The offset of the first.
    pub(super) from: i64,
    /// The offset after the last.
    pub(super) to: i64,
    /// The current position: that of the next record to be processed.
    #[cfg(feature = "postgres")]
    pub(super) stands: LogPosition,
    pub(super) log: Log,
    #[cfg(feature = "postgres")]
    reader: highwater_kafka::Reader,
}

impl Plan {
    /// The stretches from one bound to another, of the records below each partition's position. A partition without a
    /// position is left out.
    pub(super) async fn draw(
        topic: &TopicLog,
        stands: &BTreeMap<i32, i64>,
        from: &Bound,
        to: Option<&Bound>,
    ) -> anyhow::Result<Self> {
        let partitions = topic.partitions().await?;
        for named in from.partitions().chain(to.into_iter().flat_map(Bound::partitions)) {
            ensure!(named < partitions, "topic {} has no partition {named}", topic.topic);
        }
        let mut stretches = Vec::new();
        for partition in 0..partitions {
            let Some(stands) = stands.get(&partition).copied() else { continue };
            let mut reader = topic.reader(partition);
            let range = reader.range().await?;
            let Some(from) = from.offset(partition, &mut reader, &range).await? else { continue };
            let to = match to {
                Some(to) => to.offset(partition, &mut reader, &range).await?.unwrap_or(stands).min(stands),
                None => stands,
            };
            if from < to {
                let log = Log { topic_id: reader.topic_id(), offsets: range };
                stretches.push(Stretch {
                    partition,
                    from,
                    to,
                    #[cfg(feature = "postgres")]
                    stands: stands.into(),
                    log,
                    #[cfg(feature = "postgres")]
                    reader,
                });
            }
        }
        Ok(Self(stretches))
    }

    /// The offset at which each partition is to go on.
    pub(super) fn starts(&self) -> BTreeMap<i32, i64> {
        self.0.iter().map(|stretch| (stretch.partition, stretch.from)).collect()
    }
}

#[cfg(feature = "postgres")]
impl Stretch {
    /// Whether it ends below the partition's position: then the rest is skipped afterwards.
    pub(super) fn ends_early(&self) -> bool {
        self.to < self.stands.offset
    }

    /// Fails if the topic was made again since.
    pub(super) async fn check_topic(&mut self) -> anyhow::Result<()> {
        self.reader.range().await?;
        Ok(())
    }
}

/// A table: a line for each partition, and one for all.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>9}  {:>12}  {:>12}  {:>12}", "partition", "from", "to", "records")?;
        let mut records = 0;
        for Stretch { partition, from, to, .. } in &self.0 {
            records += to - from;
            writeln!(f, "{partition:>9}  {from:>12}  {to:>12}  {:>12}", to - from)?;
        }
        writeln!(f, "{:>9}  {:>12}  {:>12}  {records:>12}", "all", "", "")
    }
}
