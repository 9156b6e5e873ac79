//! From records into the store.

mod flaky_store;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use chrono::DateTime;
pub(crate) use flaky_store::Flaky;
use highwater::{
    activity::{Conflicts, LoggedEvents, Processor, TopicRecord},
    store::{Config, EventStore, MemoryStore},
};
use highwater_kafka::{BatchOutcome, DecodingHandler, Record, RecordHandler};
use log::Level;
use uuid::Uuid;

use crate::journal;

/// A processor, and its store that is away after so many batches.
fn processor(batches: usize) -> (DecodingHandler<TopicRecord, Processor>, Arc<Flaky>) {
    let memory = MemoryStore::new(&Config { max_events: 10_000, max_bytes: u64::MAX });
    let store = Arc::new(Flaky::of(Arc::new(memory), batches));
    (DecodingHandler::new(Arc::new(Processor::new(Arc::clone(&store) as _, Arc::default()))), store)
}

fn record(offset: usize, value: &str) -> Record {
    Record {
        partition: 3,
        offset: offset as i64,
        leader_epoch: None,
        timestamp: DateTime::UNIX_EPOCH,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}

fn good(offset: usize, number: usize) -> Record {
    let id = Uuid::from_u128(number as u128);
    record(offset, &format!(r#"{{"eventId":"{id}","userId":"ada\n","eventType":"LOGIN"}}"#))
}

fn bad(offset: usize) -> Record {
    record(offset, "hello")
}

fn poisoned(outcome: &BatchOutcome) -> Vec<usize> {
    outcome.poison.iter().map(|poison| poison.index).collect()
}

fn stopped_at(outcome: &BatchOutcome) -> Option<usize> {
    outcome.retry_from.as_ref().map(|stopped| stopped.index)
}

#[tokio::test]
async fn malformed_records_are_named_and_those_around_them_stored() {
    let (processor, store) = processor(usize::MAX);
    let mut null = bad(4);
    null.value = None;
    let outcome = processor.handle(&[bad(0), good(1, 1), bad(2), good(3, 2), null, good(5, 3)]).await;
    assert_eq!((poisoned(&outcome), stopped_at(&outcome)), (vec![0, 2, 4], None));
    assert!(outcome.poison[0].reason.starts_with("not JSON"), "{outcome:?}");
    assert_eq!(outcome.poison[2].reason, "the value is null");
    assert_eq!(store.memory.stats().events, 3);
    let nothing = processor.handle(&[]).await;
    assert_eq!((poisoned(&nothing), stopped_at(&nothing)), (vec![], None));
    assert_eq!(poisoned(&processor.handle(&[bad(6)]).await), [0]);
}

#[tokio::test]
async fn an_event_is_one_line_when_it_is_new_and_none_when_it_repeats() {
    let (processor, _store) = processor(usize::MAX);
    journal::listen();
    processor.handle(&[good(7, 1), bad(8), good(9, 1)]).await;
    processor.handle(&[good(7, 1)]).await;
    let lines = journal::take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((lines[0].level, lines[0].target.as_str()), (Level::Info, "highwater::processed"));
    let fields = [
        ("eventId", "00000000-0000-0000-0000-000000000001"),
        ("userId", "ada\n"),
        ("eventType", "LOGIN"),
        ("partition", "3"),
        ("offset", "7"),
    ];
    let fields = BTreeMap::from(fields.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(lines[0].fields, fields);
}

#[tokio::test]
async fn only_the_chosen_events_are_logged_and_conflicts_always() {
    let memory = MemoryStore::new(&Config { max_events: 10_000, max_bytes: u64::MAX });
    let processor = Processor::new(Arc::new(memory), Arc::default()).with_logged_events(LoggedEvents::NONE);
    let processor = DecodingHandler::new(Arc::new(processor));
    journal::listen();
    processor.handle(&[good(0, 1), other(1, 1)]).await;
    let levels: Vec<_> = journal::take().iter().map(|line| line.level).collect();
    assert_eq!(levels, [Level::Warn]);
}

#[test]
fn a_share_of_ids_is_logged_whether_they_are_random_or_count_up() {
    let share = LoggedEvents::one_of(100);
    let counted = |ids: &mut dyn Iterator<Item = Uuid>| ids.filter(|id| share.has(*id)).count();
    assert!((700..1300).contains(&counted(&mut (0..100_000).map(Uuid::from_u128))));
    assert!((700..1300).contains(&counted(&mut (0..100_000).map(|_| Uuid::new_v4()))));
    assert!(LoggedEvents::ALL.has(Uuid::max()) && LoggedEvents::ALL.has(Uuid::nil()));
    assert!(!LoggedEvents::NONE.has(Uuid::nil()));
}

/// The same id as [`good`] makes, and other content.
fn other(offset: usize, number: usize) -> Record {
    let id = Uuid::from_u128(number as u128);
    record(offset, &format!(r#"{{"eventId":"{id}","userId":"eve","eventType":"LOGIN"}}"#))
}

#[tokio::test]
async fn a_conflict_is_logged_and_counted_once() {
    let store = Arc::new(MemoryStore::new(&Config { max_events: 10_000, max_bytes: u64::MAX }));
    let conflicts = Arc::new(Conflicts::default());
    let processor =
        DecodingHandler::new(Arc::new(Processor::new(Arc::clone(&store) as _, Arc::clone(&conflicts))));
    // Restored, an event is as good a first one as any; and restoring says and counts nothing.
    processor.restore(&[good(4, 1), other(5, 1)]).await.unwrap();
    journal::listen();
    let records = [good(7, 2), other(8, 1), other(9, 2), good(10, 1)];
    processor.handle(&records).await;
    processor.handle(&records[1..]).await; // as after a retry
    let lines: Vec<_> =
        journal::take().into_iter().filter(|line| line.target == "highwater::conflict").collect();
    let positions: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!(line.level, Level::Warn);
            ["eventId", "partition", "offset", "firstPartition", "firstOffset"]
                .map(|field| line.fields[field].clone())
        })
        .collect();
    let id = |number| Uuid::from_u128(number).to_string();
    assert_eq!(
        positions,
        [
            [id(1).as_str(), "3", "8", "3", "4"].map(str::to_owned),
            [id(2).as_str(), "3", "9", "3", "7"].map(str::to_owned)
        ]
    );
    assert_eq!(conflicts.count(), 2);
    assert_eq!(store.get(Uuid::from_u128(2)).await.unwrap().unwrap().user_id(), "ada\n");
    // Read again after the partition was elsewhere, it is another matter.
    processor.forget(3).await;
    processor.handle(&records[..3]).await;
    assert_eq!(conflicts.count(), 3);
}

#[tokio::test]
async fn an_unavailable_store_stops_the_batch_at_the_first_record_that_is_not_stored() {
    let (processor, store) = processor(0);
    journal::listen();
    let outcome = processor.handle(&[bad(0), bad(1), good(2, 1), bad(3), good(4, 2)]).await;
    assert_eq!((poisoned(&outcome), stopped_at(&outcome)), (vec![0, 1], Some(2)));
    assert!(outcome.retry_from.unwrap().error.to_string().contains("away"));
    assert_eq!(journal::take(), []);
    store.batches_left.store(usize::MAX, Ordering::Relaxed);
    let outcome = processor.handle(&[good(2, 1), bad(3), good(4, 2)]).await;
    assert_eq!((poisoned(&outcome), stopped_at(&outcome)), (vec![1], None));
    assert_eq!(journal::take().len(), 2);
}

#[tokio::test]
async fn indices_in_a_long_batch_count_from_its_beginning() {
    let every_tenth_is_bad: Vec<Record> =
        (0..5_000).map(|place| if place % 10 == 0 { bad(place) } else { good(place, place) }).collect();
    let (whole, store) = processor(usize::MAX);
    let outcome = whole.handle(&every_tenth_is_bad).await;
    assert_eq!(poisoned(&outcome), (0..5_000).step_by(10).collect::<Vec<_>>());
    assert_eq!((stopped_at(&outcome), store.memory.stats().events), (None, 4_500));

    let (stopping, store) = processor(2);
    journal::listen();
    let outcome = stopping.handle(&every_tenth_is_bad).await;
    let stored = store.memory.stats().events as usize;
    let stopped = stopped_at(&outcome).unwrap();
    assert!(stopped > 0 && stopped < 5_000);
    assert_eq!(poisoned(&outcome), (0..stopped).step_by(10).collect::<Vec<_>>());
    assert_eq!(stored, (0..stopped).filter(|place| place % 10 != 0).count());
    assert_eq!(journal::take().len(), stored);
}

#[tokio::test]
async fn restoring_stores_without_log_lines_and_skips_malformed_records() {
    let (processor, store) = processor(usize::MAX);
    journal::listen();
    processor.restore(&[good(0, 1), bad(1), good(2, 2), good(3, 1)]).await.unwrap();
    processor.restore(&[]).await.unwrap();
    assert_eq!(store.memory.stats().events, 2);
    processor.handle(&[good(2, 2)]).await;
    assert_eq!(journal::take(), []);
    store.batches_left.store(0, Ordering::Relaxed);
    let error = processor.restore(&[good(4, 4)]).await.unwrap_err();
    assert!(error.to_string().contains("away"));
}

#[tokio::test]
async fn it_restores_as_far_back_as_a_partitions_bound_reaches() {
    let (processor, store) = processor(usize::MAX);
    processor.partition_count_changed(5_000).await;
    assert_eq!(processor.restore_window(), 2);
    assert!(processor.wants_older(3).await);
    processor.restore(&[good(0, 1), good(1, 2)]).await.unwrap();
    assert!(!processor.wants_older(3).await);
    processor.forget(3).await;
    assert_eq!(store.memory.stats().events, 0);
    assert!(processor.wants_older(3).await);
}

/// The marker of an erasure.
fn marker(offset: usize, user_id: &str) -> Record {
    let header = ("highwater-erasure".to_owned(), Some(Bytes::from_static(b"some id")));
    let key = Some(Bytes::copy_from_slice(user_id.as_bytes()));
    Record { key, value: None, headers: [header].into_iter().collect(), ..bad(offset) }
}

/// The same record, sent back from the dead letters, and where it was first.
fn redriven(record: Record, origin: &str) -> Record {
    let header = ("dead-letter-origin".to_owned(), Some(Bytes::copy_from_slice(origin.as_bytes())));
    Record {
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.into_owned(), value))
            .chain([header])
            .collect(),
        ..record
    }
}

async fn stored(store: &Flaky) -> Vec<u128> {
    let mut stored = Vec::new();
    for number in 0..20 {
        stored.extend(store.get(Uuid::from_u128(number)).await.unwrap().map(|_| number));
    }
    stored
}

#[tokio::test]
async fn an_erasure_takes_effect_where_it_stands_whether_it_is_processed_or_restored() {
    let records = [good(0, 1), other(1, 2), bad(2), good(3, 3), marker(4, "ada\n"), good(5, 4), good(6, 1)];
    let (processor, store) = processor(usize::MAX);
    journal::listen();
    let outcome = processor.handle(&records).await;
    assert_eq!((poisoned(&outcome), stopped_at(&outcome)), (vec![2], None));
    assert_eq!(stored(&store).await, [2, 4]);
    let targets: Vec<_> = journal::take().into_iter().map(|line| line.target).collect();
    assert_eq!(targets.iter().filter(|target| *target == "highwater::erasure").count(), 1);

    processor.forget(3).await;
    assert_eq!(stored(&store).await, [0; 0]);
    for batch in [&records[..3], &records[3..5], &records[5..]] {
        processor.restore(batch).await.unwrap();
    }
    assert_eq!(stored(&store).await, [2, 4]);
    // As far back as the erased event, so that its copies stay known.
    assert_eq!(store.memory.held_from(3), Some(0));
    assert_eq!(journal::take(), []);
}

#[tokio::test]
async fn a_redriven_record_is_as_old_as_it_was_before() {
    let (processor, store) = processor(usize::MAX);
    processor.handle(&[good(0, 1), marker(5, "ada\n")]).await;
    let records = [
        redriven(good(6, 2), "3/4"),
        redriven(good(7, 3), "3/6"),
        redriven(good(8, 4), "2/4"),
        redriven(other(9, 5), "3/4"),
        redriven(good(10, 6), "none"),
    ];
    let outcome = processor.handle(&records).await;
    assert_eq!((poisoned(&outcome), stopped_at(&outcome)), (vec![], None));
    assert_eq!(stored(&store).await, [3, 4, 5, 6]);
    // So is a marker that an older version of the program set aside.
    let late = redriven(marker(11, "ada\n"), "3/8");
    processor.handle(&[late]).await;
    assert_eq!(stored(&store).await, [4, 5, 6]);
}

#[tokio::test]
async fn a_record_without_a_value_is_an_erasure_by_its_header_and_with_a_user() {
    let (processor, store) = processor(usize::MAX);
    let null = Record { headers: Default::default(), ..marker(1, "ada\n") };
    let nobody = Record { key: None, ..marker(2, "") };
    let event = Record { headers: marker(3, "").headers, ..good(3, 2) };
    let outcome = processor.handle(&[good(0, 1), null, nobody, event]).await;
    assert_eq!(poisoned(&outcome), [1, 2]);
    assert_eq!(outcome.poison[1].reason, "an erasure without a user");
    assert_eq!(stored(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_store_that_is_away_at_an_erasure_stops_the_batch_there() {
    let (processor, store) = processor(1);
    let records = [bad(0), good(1, 1), marker(2, "ada\n"), good(3, 2)];
    let outcome = processor.handle(&records).await;
    assert_eq!((poisoned(&outcome), stopped_at(&outcome)), (vec![0], Some(2)));
    store.batches_left.store(usize::MAX, Ordering::Relaxed);
    processor.handle(&records[2..]).await;
    assert_eq!(stored(&store).await, [2]);
}
