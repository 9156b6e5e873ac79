//! A place in each partition of a topic, as the command line names it.

use std::{collections::BTreeMap, ops::Range, str::FromStr};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use highwater_kafka::Reader;
use highwater_web::timestamp;

/// A place in each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The oldest record.
    Earliest,
    /// The first record of this time or later.
    Time(DateTime<Utc>),
    /// These offsets by partition; other partitions are left out.
    Offsets(BTreeMap<i32, i64>),
}

impl Bound {
    /// The offset in one partition, whose log has that range; `None` if the partition is left out. A time that no record has
    /// reached yet is the log's end.
    ///
    /// # Errors
    ///
    /// The log does not have that offset, or Kafka does not answer.
    pub(super) async fn offset(
        &self,
        partition: i32,
        log: &mut Reader,
        range: &Range<i64>,
    ) -> anyhow::Result<Option<i64>> {
        match self {
            Self::Earliest => Ok(Some(range.start)),
            Self::Time(time) => Ok(Some(log.offset_at(*time).await?.unwrap_or(range.end))),
            Self::Offsets(offsets) => {
                let Some(offset) = offsets.get(&partition).copied() else { return Ok(None) };
                ensure!(
                    (range.start..=range.end).contains(&offset),
                    "partition {partition} has the offsets from {} to {}, and {offset} is none of them",
                    range.start,
                    range.end
                );
                Ok(Some(offset))
            }
        }
    }

    /// The partitions that the bound names.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        let named = if let Self::Offsets(offsets) = self { Some(offsets) } else { None };
        named.into_iter().flat_map(|offsets| offsets.keys().copied())
    }
}

impl FromStr for Bound {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "must be earliest, a time such as 2026-05-01T10:00:00Z, or PARTITION/OFFSET with commas between several";

        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        if let Ok(time) = timestamp::parse(text) {
            return Ok(Self::Time(time));
        }
        let mut offsets = BTreeMap::new();
        for named in text.split(',') {
            let (partition, offset) = named.trim().split_once('/').ok_or(FORMS)?;
            let partition = partition.parse().ok().filter(|partition: &i32| *partition >= 0).ok_or(FORMS)?;
            let offset = offset.parse().ok().filter(|offset: &i64| *offset >= 0).ok_or(FORMS)?;
            if offsets.insert(partition, offset).is_some() {
                return Err("names a partition twice");
            }
        }
        Ok(Self::Offsets(offsets))
    }
}
