//! All commits that the group's coordinator ever took, in order, read from the log that it keeps them in.
//!
//! Polling the committed offsets would miss the ones between two polls, and a coordinator that has just
//! been replaced answers with old ones.

use anyhow::{Context as _, Result};
use bytes::{Buf as _, Bytes};
use highwater_kafka::Record;

use crate::{
    admin::Admin,
    history::Millis,
    instance::{GROUP, TOPIC},
};

const OFFSETS: &str = "__consumer_offsets";

/// An offset that was committed for a partition; `None` where the coordinator forgot it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit {
    pub(crate) partition: i32,
    pub(crate) offset: Option<i64>,
    /// When the coordinator took it.
    pub(crate) at: Millis,
}

/// Reads on from where it was.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    next: i64,
    read: Vec<Commit>,
}

impl Commits {
    /// All commits until now.
    pub(crate) async fn read(&mut self, admin: &Admin) -> Result<&[Commit]> {
        let partitions = admin.partitions(OFFSETS).await?;
        let partition = java_hash(GROUP).wrapping_abs() % partitions;
        let mut connection = admin.leader(OFFSETS, partition).await?;
        loop {
            let fetched = connection.fetch(OFFSETS, partition, self.next, 4 << 20, 100).await?;
            self.read.extend(fetched.records.iter().filter_map(commit));
            self.next = fetched.next;
            if self.next >= fetched.end {
                return Ok(&self.read);
            }
        }
    }
}

/// As `String.hashCode` has it, by which Java's `GroupMetadataManager` finds a group's partition.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `OffsetCommitKey` and `OffsetCommitValue` of Kafka's group coordinator; other records are not about offsets.
fn commit(record: &Record) -> Option<Commit> {
    let mut key = record.key.clone()?;
    let version = key.try_get_i16().ok()?;
    if !(0..=1).contains(&version) || string(&mut key).ok()? != GROUP || string(&mut key).ok()? != TOPIC {
        return None;
    }
    let partition = key.try_get_i32().ok()?;
    let at = record.timestamp.timestamp_millis();
    let offset = match record.value.clone() {
        None => None,
        Some(mut value) => {
            value.try_get_i16().ok()?;
            Some(value.try_get_i64().ok()?)
        }
    };
    Some(Commit { partition, offset, at })
}

fn string(bytes: &mut Bytes) -> Result<String> {
    let length = usize::try_from(bytes.try_get_i16()?)?;
    (bytes.len() >= length).then_some(()).context("a string is cut off")?;
    Ok(String::from_utf8(bytes.split_to(length).to_vec())?)
}
