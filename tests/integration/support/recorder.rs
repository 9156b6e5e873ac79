//! A handler that records its calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use highwater_kafka::{BatchOutcome, Poison, Record, RecordHandler, RetryFrom, TransientError};

/// Remembers every record; what it does with one depends on the value: `poison` can never be processed,
/// `trouble` cannot be processed until [`Recorder::end_trouble`], `hang` does not return until then, `slow` takes a
/// while, and each `panic` panics the first time.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    handled: Mutex<Vec<Record>>,
    restored: Mutex<Vec<Record>>,
    forgotten: Mutex<Vec<i32>>,
    truncated: Mutex<Vec<(i32, Range<i64>)>>,
    window: AtomicU64,
    over: AtomicBool,
    /// Partition and offset of those that did.
    panicked: Mutex<BTreeSet<(i32, i64)>>,
    refused: AtomicUsize,
}

impl Recorder {
    /// One that wants so many records restored.
    pub(crate) fn restoring(window: u64) -> Self {
        Self { window: AtomicU64::new(window), ..Self::default() }
    }

    /// Remembers them as handled.
    pub(crate) fn keep(&self, records: &[Record]) {
        self.handled.lock().unwrap().extend_from_slice(records);
    }

    /// The values handled so far, in order of handling.
    pub(crate) fn values(&self) -> Vec<String> {
        self.handled.lock().unwrap().iter().map(text).collect()
    }

    /// How many records were handled so far.
    pub(crate) fn count(&self) -> usize {
        self.handled.lock().unwrap().len()
    }

    /// The records handled so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.handled.lock().unwrap().clone()
    }

    /// How often each (partition, offset) was handled.
    pub(crate) fn times(&self) -> BTreeMap<(i32, i64), usize> {
        let mut times = BTreeMap::new();
        for record in self.handled.lock().unwrap().iter() {
            *times.entry((record.partition, record.offset)).or_default() += 1;
        }
        times
    }

    pub(crate) fn restored(&self) -> Vec<String> {
        self.restored.lock().unwrap().iter().map(text).collect()
    }

    pub(crate) fn forgotten(&self) -> Vec<i32> {
        self.forgotten.lock().unwrap().clone()
    }

    /// The partitions and offsets that it was told are not in the log any more.
    pub(crate) fn truncated_offsets(&self) -> Vec<(i32, Range<i64>)> {
        self.truncated.lock().unwrap().clone()
    }

    /// How often it was given `trouble` in vain.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    fn panics_at(&self, record: &Record) -> bool {
        self.panicked.lock().unwrap().insert((record.partition, record.offset))
    }

    pub(crate) fn end_trouble(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl RecordHandler for Recorder {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        for (index, record) in records.iter().enumerate() {
            match record.value.as_deref() {
                Some(b"poison") => outcome.poison.push(Poison::new(index, "it is poison")),
                Some(b"panic") if self.panics_at(record) => panic!("as the record says"),
                Some(b"hang") if !self.over.load(Ordering::SeqCst) => {
                    while !self.over.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    self.keep(std::slice::from_ref(record));
                }
                Some(b"slow") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    self.keep(std::slice::from_ref(record));
                }
                Some(b"trouble") if !self.over.load(Ordering::SeqCst) => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    outcome.retry_from = Some(RetryFrom::new(index, TransientError::new("trouble")));
                    return outcome;
                }
                _ => self.handled.lock().unwrap().push(record.clone()),
            }
        }
        outcome
    }

    fn restore_window(&self) -> u64 {
        self.window.load(Ordering::SeqCst)
    }

    async fn restore(&self, records: &[Record]) -> Result<(), TransientError> {
        self.restored.lock().unwrap().extend_from_slice(records);
        Ok(())
    }

    async fn truncated(&self, partition: i32, offsets: Range<i64>) {
        self.truncated.lock().unwrap().push((partition, offsets));
    }

    async fn forget(&self, partition: i32) {
        self.forgotten.lock().unwrap().push(partition);
    }
}

fn text(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}
