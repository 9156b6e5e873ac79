//! The handler between a consumer and its own handler: it keeps back the records of keys that wait.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::{
    Decision, KeySequences, Place, SequenceBounds, Waiting, WaitingCounts,
    entry::{Source, counted, origin},
};
use crate::{
    BatchLimits, BatchOutcome, DlqPublisher, FetchPosition, LogState, Poison, ReadError, Reader, Record,
    RecordHandler, RetryFrom, StartFrom, StatusRegistry, TransientError,
    dead_letter::{DlqReadError, DlqReader},
    group::{Lease, topic_id_text},
    topic,
    wire::WireError,
};

/// The longest wait for the creation of the dead letter topic.
const TOPIC_PATIENCE: Duration = Duration::from_secs(5);

/// A [`RecordHandler`] that keeps each key in order past its poison. The handler inside need not know of it.
///
/// It hands over batches without two records of a key, since the records after a poison one in its batch must not be
/// processed. Records without a key have no order: their dead letters are the same as without this handler. The handler
/// inside must leave its position to the group ([`StartFrom::Committed`]), and the dead letter topic needs as many
/// partitions as the source.
pub struct SequencedHandler {
    pub(super) handler: Arc<dyn RecordHandler>,
    pub(super) reader: DlqReader,
    pub(super) dead_letters: DlqPublisher,
    pub(super) registry: Arc<StatusRegistry>,
    bounds: SequenceBounds,
    counts: WaitingCounts,
    partitions: Mutex<BTreeMap<i32, Arc<tokio::sync::Mutex<SequencedPartition>>>>,
}

/// A partition of the source.
pub(super) struct SequencedPartition {
    pub(super) source: Source,
    /// `None` before its dead letters are read.
    pub(super) letters: Option<Letters>,
    /// The letters that waited at the last reading.
    before: Option<KeySequences>,
}

/// The dead letters of a partition, as far as they are read.
pub(super) struct Letters {
    pub(super) sequences: KeySequences,
    pub(super) reader: Reader,
    /// The position in the dead letter topic to read on from.
    pub(super) next: FetchPosition,
    /// The time of the next turn, if anything waits.
    pub(super) turn_at: Instant,
    /// The time of the last look for letters that the topic no longer keeps.
    pub(super) looked_at: Instant,
}

impl Letters {
    /// Reads to the end of the dead letters. Returns whether these are all: an open transaction hides those after its first
    /// record.
    pub(super) async fn follow(&mut self, source: &Source) -> Result<bool, ReadError> {
        loop {
            let fetched = self.reader.read(self.next).await?;
            fetched
                .records
                .iter()
                .filter_map(|record| source.entry(record))
                .for_each(|it| self.sequences.apply(&it));
            let is_at_end = fetched.next >= fetched.stable || fetched.next <= self.next.offset;
            if fetched.next > self.next.offset {
                self.next = fetched.next_position(self.next);
            }
            if is_at_end {
                return Ok(self.next.offset >= fetched.end);
            }
        }
    }
}

impl SequencedHandler {
    /// Passes records to `handler`. `reader` reads the topic that `dead_letters` sends to. Its errors are reported to
    /// `registry`.
    pub fn new(
        handler: Arc<dyn RecordHandler>,
        reader: DlqReader,
        dead_letters: DlqPublisher,
        bounds: SequenceBounds,
        registry: Arc<StatusRegistry>,
    ) -> Self {
        let (counts, partitions) = (WaitingCounts::default(), Mutex::default());
        Self { handler, reader, dead_letters, registry, bounds, counts, partitions }
    }

    /// Counts in `counts` from now on.
    #[must_use]
    pub fn with_counts(self, counts: WaitingCounts) -> Self {
        Self { counts, ..self }
    }

    fn partition(&self, partition: i32) -> Arc<tokio::sync::Mutex<SequencedPartition>> {
        let source = || Source {
            topic: Arc::clone(&self.dead_letters.source),
            topic_id: Arc::default(),
            group: Arc::clone(&self.dead_letters.group),
            partition,
        };
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(tokio::sync::Mutex::new(SequencedPartition {
                source: source(),
                letters: None,
                before: None,
            }))
        };
        Arc::clone(partitions.entry(partition).or_insert_with(new))
    }

    /// The dead letters of a partition, read from the beginning of their topic unless they are known.
    pub(super) async fn letters<'a>(
        &self,
        partition: &'a mut SequencedPartition,
    ) -> Result<(&'a Source, &'a mut Letters), TransientError> {
        let SequencedPartition { source, letters, .. } = partition;
        let known = match letters.take() {
            Some(known) => known,
            None => self.read_letters(source).await?,
        };
        Ok((source, letters.insert(known)))
    }

    async fn read_letters(&self, source: &Source) -> Result<Letters, TransientError> {
        let mut topic = self.reader.topic().clone();
        let partitions = timeout(TOPIC_PATIENCE, topic.known_partitions()).await.unwrap_or_default();
        if partitions == 0 {
            return Err(TransientError::new(format!("topic {} is not known yet", topic.name())));
        }
        let (sequences, now) = (KeySequences::new(self.bounds), Instant::now());
        let reader = self.reader.partition_reader(source.partition).without_waiting();
        let mut letters = Letters { sequences, reader, next: 0.into(), turn_at: now, looked_at: now };
        // This process may not know of a partition that others write to. A missing partition has no dead letters.
        let asking = async {
            let mut any = self.reader.cluster().connect().await?;
            // This user may have no right to see the settings.
            let settings = topic::settings(&mut any, topic.name()).await.unwrap_or_default();
            Ok::<_, WireError>((settings, topic::describe(&mut any, topic.name()).await?.partitions))
        };
        let (settings, partitions_now) = asking.await.map_err(TransientError::new)?;
        if settings.iter().any(|(name, value)| name == "cleanup.policy" && value.contains("compact")) {
            let why = "compaction deletes dead letters of keys that wait: its cleanup.policy must be delete";
            return Err(TransientError::new(format!("topic {}: {why}", topic.name())));
        }
        let partitions = partitions_now.max(partitions);
        if usize::try_from(source.partition).is_ok_and(|partition| partition < partitions) {
            letters.next = letters.reader.range().await.map_err(unreadable)?.start.into();
            if !letters.follow(source).await.map_err(unreadable)? {
                return Err(TransientError::new("an open transaction hides dead letters"));
            }
        }
        Ok(letters)
    }

    /// Handles the records from `start` up to one that waits, or to a second one of a key. Returns the index after the last.
    async fn handle_some(
        &self,
        (source, sequences): (&Source, &mut KeySequences),
        records: &[Record],
        start: usize,
        outcome: &mut BatchOutcome,
    ) -> usize {
        let place = |behind| Some(Place { topic_id: Arc::clone(&source.topic_id), behind });
        let decide = |record| origin(record).map_or(Decision::Process, |origin| sequences.decide(origin));
        match (decide(&records[start]), origin(&records[start])) {
            (Decision::Behind(head), Some(record)) => {
                sequences.wait(record);
                let reason = format!("it waits behind {}/{head}", source.partition);
                outcome.poison.push(Poison { index: start, reason, place: place(Some(head)) });
                return start + 1;
            }
            (Decision::Known, _) => return start + 1,
            (Decision::Full(full), _) => return hold_up(outcome, start, full.to_string()),
            (Decision::Behind(_) | Decision::Process, _) => {}
        }
        let mut keys = HashSet::new();
        let run = records[start..].iter().take_while(|record| {
            let record = *record;
            let is_first = record.key.as_ref().is_none_or(|key| keys.insert(counted(key)));
            is_first && decide(record) == Decision::Process
        });
        // Each of them may be poison. If there were more of them than there is room for, some would be handled again.
        let run = run.take(sequences.room().max(1)).count();
        let records = &records[start..start + run];
        let mut handled = self.handler.handle(records).await;
        let end = handled.retry_from.as_ref().map_or(run, |retry| retry.index.min(run));
        handled.poison.retain(|poison| poison.index < end);
        handled.poison.sort_unstable_by_key(|poison| poison.index);
        for poison in handled.poison {
            let mut poison = Poison { index: start + poison.index, ..poison };
            if let Some(record) = origin(&records[poison.index - start]) {
                let partitions = self.reader.topic().partitions();
                if usize::try_from(source.partition).is_ok_and(|partition| partition >= partitions) {
                    let topic = self.reader.topic().name();
                    let why = format!("{topic} has {partitions} partitions, and needs as many as its source");
                    return hold_up(outcome, poison.index, why);
                }
                if let Err(full) = sequences.set_aside(record) {
                    return hold_up(outcome, poison.index, full.to_string());
                }
                poison.place = place(None);
            }
            outcome.poison.push(poison);
        }
        outcome.retry_from =
            handled.retry_from.map(|retry| RetryFrom { index: start + retry.index, ..retry });
        start + end
    }

    /// The registry's component for a partition.
    pub(super) fn component(&self, partition: i32) -> String {
        format!("seeing to the dead letters of {}/{partition}", self.dead_letters.source)
    }
}

/// The partition waits at the record of that index.
fn hold_up(outcome: &mut BatchOutcome, index: usize, why: String) -> usize {
    outcome.retry_from = Some(RetryFrom::new(index, TransientError::new(why)));
    index
}

fn unreadable(error: ReadError) -> TransientError {
    TransientError::new(DlqReadError::new(error))
}

#[async_trait]
impl RecordHandler for SequencedHandler {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        let Some(Record { partition, .. }) = records.first() else { return outcome };
        let shared = self.partition(*partition);
        let mut locked = shared.lock().await;
        let SequencedPartition { source, letters, .. } = &mut *locked;
        // A turn reads them, and that may take longer than the lease.
        let Some(letters) = letters else {
            return BatchOutcome::retry_from(0, TransientError::new("the dead letters are to be read again"));
        };
        let mut done = 0;
        while done < records.len() && outcome.retry_from.is_none() {
            done = self.handle_some((source, &mut letters.sequences), records, done, &mut outcome).await;
        }
        if !letters.sequences.is_empty() {
            self.counts.set(*partition, letters.sequences.waiting());
        }
        outcome
    }

    fn wants_turn(&self, partition: i32) -> bool {
        // The consumer's calls for a partition come one after the other.
        self.partition(partition).try_lock().is_ok_and(|locked| {
            let waits =
                |letters: &Letters| !letters.sequences.is_empty() && letters.turn_at <= Instant::now();
            locked.letters.as_ref().is_none_or(waits)
        })
    }

    async fn take_turn(&self, partition: i32, committed: i64, lease: &Lease) {
        let shared = self.partition(partition);
        let mut locked = shared.lock().await;
        match self.turn(&mut locked, committed, lease).await {
            Ok(waiting) => {
                self.counts.set(partition, waiting);
                self.registry.succeeded(&self.component(partition));
            }
            Err(error) => self.registry.refused(&self.component(partition), &error.to_string()),
        }
    }

    async fn start_from(&self, partition: i32, log: &LogState) -> Result<StartFrom, TransientError> {
        if self.handler.start_from(partition, log).await? != StartFrom::Committed {
            return Err(TransientError::new(
                "a handler with a position of its own cannot have poison in order",
            ));
        }
        let shared = self.partition(partition);
        let mut locked = shared.lock().await;
        locked.source.topic_id = log.topic_id.map(topic_id_text).unwrap_or_default().into();
        if let Some(letters) = locked.letters.take() {
            locked.before = Some(letters.sequences);
        }
        Ok(StartFrom::Committed)
    }

    async fn load(&self, partition: i32) -> Result<bool, TransientError> {
        let shared = self.partition(partition);
        let mut locked = shared.lock().await;
        let waiting = self.letters(&mut locked).await?.1.sequences.waiting();
        self.counts.set(partition, waiting);
        let SequencedPartition { letters: Some(letters), before, .. } = &mut *locked else { return Ok(true) };
        // Another member has processed the letters that are gone, and the kept projection lacks them.
        let is_gone = before.take().is_some_and(|before| !letters.sequences.has_all_of(&before));
        Ok(!is_gone || self.handler.restore_window() == 0)
    }

    /// Records that wait are in no projection.
    async fn restore(&self, records: &[Record]) -> Result<(), TransientError> {
        let Some(Record { partition, .. }) = records.first() else { return Ok(()) };
        let shared = self.partition(*partition);
        let mut locked = shared.lock().await;
        let sequences = &self.letters(&mut locked).await?.1.sequences;
        if sequences.is_empty() {
            return self.handler.restore(records).await;
        }
        let waits = |record: &&Record| {
            origin(record).is_some_and(|origin| sequences.decide(origin) == Decision::Known)
        };
        let restored: Vec<Record> = records.iter().filter(|record| !waits(record)).cloned().collect();
        self.handler.restore(&restored).await
    }

    async fn forget(&self, partition: i32) {
        // They are read again if the partition is still here.
        let shared = self.partition(partition);
        let mut locked = shared.lock().await;
        (locked.letters, locked.before) = (None, None);
        drop(locked);
        self.counts.set(partition, Waiting::default());
        self.registry.withdraw(&self.component(partition));
        self.handler.forget(partition).await;
    }

    async fn partition_count_changed(&self, partitions: usize) {
        self.handler.partition_count_changed(partitions).await;
    }

    fn batch_limits(&self) -> BatchLimits {
        self.handler.batch_limits()
    }

    async fn reset_to(&self, partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.handler.reset_to(partition, position).await
    }

    async fn truncated(&self, partition: i32, offsets: Range<i64>) {
        self.handler.truncated(partition, offsets).await;
    }

    async fn completed(&self, partition: i32, position: FetchPosition) -> Result<(), TransientError> {
        self.handler.completed(partition, position).await
    }

    fn restore_window(&self) -> u64 {
        self.handler.restore_window()
    }

    fn held_from(&self, partition: i32) -> Option<i64> {
        self.handler.held_from(partition)
    }

    async fn wants_older(&self, partition: i32) -> bool {
        self.handler.wants_older(partition).await
    }
}

impl std::fmt::Debug for SequencedHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedHandler").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}
