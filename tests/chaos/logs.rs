//! The logs in Kafka, read by kcat, so that none of the service's own code takes part.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::history::{Millis, TopicOffset};

/// Before every record's fields and between them: in no key and no value.
const BEFORE: char = '\u{1e}';
const BETWEEN: char = '\u{1f}';

/// A committed record.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) place: TopicOffset,
    /// When whoever wrote it says so.
    pub(crate) at: Millis,
    pub(crate) key: String,
    /// The id of its event, if it has one.
    pub(crate) id: Option<Uuid>,
}

/// Everything that is committed in a topic, by partition and offset.
pub(crate) async fn read(brokers: &str, topic: &'static str) -> Result<Vec<Written>> {
    let brokers = brokers.to_owned();
    spawn_blocking(move || {
        let format = format!("{BEFORE}%p{BETWEEN}%o{BETWEEN}%T{BETWEEN}%k{BETWEEN}%s");
        let mut command = Command::new("kcat");
        command.args(["-C", "-q", "-e", "-b", &brokers, "-t", topic, "-o", "beginning", "-f", &format]);
        command.args(["-X", "isolation.level=read_committed", "-X", "check.crcs=true"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kcat = command.spawn().context("kcat")?;
        let records = BufReader::new(kcat.stdout.take().context("no output")?).split(BEFORE as u8).skip(1);
        let mut read = records.map(|record| written(&record?)).collect::<Result<Vec<_>>>()?;
        let mut complaint = String::new();
        kcat.stderr.take().context("no errors")?.read_to_string(&mut complaint)?;
        ensure!(kcat.wait()?.success(), "kcat: {complaint}");
        read.sort_unstable_by_key(|written| written.place);
        Ok(read)
    })
    .await?
}

fn written(record: &[u8]) -> Result<Written> {
    let text = String::from_utf8_lossy(record);
    let mut fields = text.splitn(5, BETWEEN);
    let mut field = || fields.next().context("kcat: a field is missing");
    let (partition, offset, at) = (field()?.parse()?, field()?.parse()?, field()?.parse()?);
    let (key, value) = (field()?.to_owned(), field()?);
    let id = value.split_once("\"eventId\":\"").and_then(|(_, rest)| rest.get(..36)?.parse().ok());
    Ok(Written { place: (partition, offset), at, key, id })
}
