//! A partition's log: appends, reads, deletion, truncation and compaction.

use bytes::{Bytes, BytesMut};
use highwater_kafka_broker::log::{Aborted, LogError, PartitionLog, Rules};
use kafka_protocol::records::{Compression, Record, RecordBatchDecoder, TimestampType};

use super::{batch, batch_of};

const RULES: Rules = Rules { most_bytes: 1_000_000, append_time: None, oldest: None };

fn records(log: &PartitionLog) -> Vec<Record> {
    let mut bytes = log.read(log.start(), log.end(), usize::MAX, true).bytes.freeze();
    let sets = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
    sets.into_iter().flat_map(|set| set.records).filter(|record| !record.control).collect()
}

fn offsets_and_keys(log: &PartitionLog) -> Vec<(i64, String)> {
    let key = |record: &Record| String::from_utf8(record.key.as_ref().unwrap().to_vec()).unwrap();
    records(log).iter().map(|record| (record.offset, key(record))).collect()
}

fn damaged(batch: &Bytes, at: usize) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[at] ^= 1;
    bytes.freeze()
}

#[test]
fn batches_get_the_next_offsets_and_stay_readable() {
    let mut log = PartitionLog::default();
    assert_eq!(log.append(batch(&["a", "b"]), RULES), Ok(0));
    assert_eq!(log.append(batch(&["c"]), RULES), Ok(2));
    assert_eq!(log.end(), 3);
    let expected = [(0, "a"), (1, "b"), (2, "c")].map(|(offset, key)| (offset, key.to_owned()));
    assert_eq!(offsets_and_keys(&log), expected);
}

#[test]
fn what_is_damaged_cut_short_doubled_or_too_large_is_refused_and_leaves_nothing() {
    let good = batch(&["a"]);
    let mut log = PartitionLog::default();
    assert_eq!(log.append(damaged(&good, good.len() - 1), RULES), Err(LogError::Corrupt));
    assert_eq!(log.append(good.slice(..good.len() - 1), RULES), Err(LogError::Corrupt));
    assert_eq!(log.append(good.slice(..20), RULES), Err(LogError::Corrupt));
    assert_eq!(log.append(Bytes::from([&good[..], &good[..]].concat()), RULES), Err(LogError::Invalid));
    assert_eq!(log.append(damaged(&good, 16), RULES), Err(LogError::Invalid), "another magic");
    let small = Rules { most_bytes: good.len() - 1, ..RULES };
    assert_eq!(log.append(good, small), Err(LogError::TooLarge));
    assert_eq!(log.end(), 0);
}

#[test]
fn a_topic_with_append_time_stamps_its_batches_and_they_stay_whole() {
    let mut log = PartitionLog::default();
    log.append(batch(&["a"]), Rules { append_time: Some(7_777), ..RULES }).unwrap();
    assert_eq!(records(&log)[0].timestamp_type, TimestampType::LogAppend);
    assert_eq!(log.at_timestamp(7_000), Some((0, 7_777)));
}

#[test]
fn a_read_gives_the_first_batch_whole_and_cuts_the_last_where_the_room_ends() {
    let mut log = PartitionLog::default();
    let size = batch(&["a"]).len();
    (0..3).for_each(|_| assert!(log.append(batch(&["a"]), RULES).is_ok()));
    assert_eq!(log.read(0, 3, 1, true).bytes.len(), size);
    assert_eq!(log.read(0, 3, 1, false).bytes.len(), 0);
    assert_eq!(log.read(0, 3, size + 10, true).bytes.len(), size + 10);
    assert_eq!(log.read(1, 3, usize::MAX, true).bytes.len(), 2 * size);
    assert_eq!(log.read(0, 2, usize::MAX, true).bytes.len(), 2 * size);
    assert_eq!(log.read(3, 3, usize::MAX, true).bytes.len(), 0);
}

#[test]
fn a_repeated_batch_keeps_its_first_offset_and_a_gap_or_an_old_epoch_is_refused() {
    let mut log = PartitionLog::default();
    let counted = |epoch, sequence| batch_of(&["a", "b"], Compression::None, (9, epoch, sequence));
    assert_eq!(log.append(counted(0, 0), RULES), Ok(0));
    assert_eq!(log.append(counted(0, 2), RULES), Ok(2));
    assert_eq!(log.append(counted(0, 0), RULES), Ok(0), "a repeat");
    assert_eq!(log.append(counted(0, 6), RULES), Err(LogError::OutOfSequence));
    assert_eq!(log.append(counted(1, 4), RULES), Err(LogError::OutOfSequence), "a new epoch starts at 0");
    assert_eq!(log.append(counted(1, 0), RULES), Ok(4));
    assert_eq!(log.append(counted(0, 4), RULES), Err(LogError::FencedProducer));
    assert_eq!(log.end(), 6);
}

#[test]
fn five_batches_are_remembered_and_no_more() {
    let mut log = PartitionLog::default();
    let counted = |sequence| batch_of(&["a"], Compression::None, (9, 0, sequence));
    (0..6).for_each(|sequence| assert_eq!(log.append(counted(sequence), RULES), Ok(i64::from(sequence))));
    assert_eq!(log.append(counted(1), RULES), Ok(1));
    assert_eq!(log.append(counted(0), RULES), Err(LogError::OutOfSequence));
}

#[test]
fn sequences_go_on_after_the_largest_number() {
    let mut log = PartitionLog::default();
    let counted = |sequence| batch_of(&["a"], Compression::None, (9, 0, sequence));
    assert_eq!(log.append(counted(i32::MAX), RULES), Ok(0));
    assert_eq!(log.append(counted(0), RULES), Ok(1));
}

#[test]
fn what_was_truncated_can_be_appended_again() {
    let mut log = PartitionLog::default();
    let counted = |sequence| batch_of(&["a"], Compression::None, (9, 0, sequence));
    (0..3).for_each(|sequence| assert!(log.append(counted(sequence), RULES).is_ok()));
    log.truncate(1);
    assert_eq!((log.start(), log.end(), log.epoch()), (0, 1, 1));
    assert_eq!(log.append(counted(1), RULES), Ok(1));
    assert_eq!(log.end_of_epoch(0), Some((0, 1)));
    assert_eq!(log.end_of_epoch(1), Some((1, 2)));
    assert_eq!(log.end_of_epoch(2), None);
}

#[test]
fn deleting_moves_the_start_and_keeps_a_batch_that_is_still_needed() {
    let mut log = PartitionLog::default();
    (0..2).for_each(|_| assert!(log.append(batch(&["a", "b"]), RULES).is_ok()));
    log.delete_before(3);
    assert_eq!((log.start(), log.end()), (3, 4));
    assert_eq!(offsets_and_keys(&log)[0].0, 2, "the batch comes whole");
    log.delete_before(1);
    assert_eq!(log.start(), 3, "never back");
    log.delete_before(100);
    assert_eq!((log.start(), log.end()), (4, 4));
}

#[test]
fn a_time_is_found_to_the_record_in_every_codec() {
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let mut log = PartitionLog::default();
        log.append(batch_of(&["a", "b", "c"], codec, (-1, -1, -1)), RULES).unwrap();
        assert_eq!(log.at_timestamp(1_001), Some((1, 1_001)), "{codec:?}");
        assert_eq!(log.at_timestamp(0), Some((0, 1_000)), "{codec:?}");
        assert_eq!(log.at_timestamp(1_003), None, "{codec:?}");
        assert_eq!(log.youngest(), Some((2, 1_002)), "{codec:?}");
    }
}

#[test]
fn compaction_keeps_the_newest_of_each_key_with_its_offset() {
    for codec in [Compression::None, Compression::Zstd] {
        let mut log = PartitionLog::default();
        log.append(batch_of(&["a", "b"], codec, (-1, -1, -1)), RULES).unwrap();
        log.append(batch_of(&["a"], codec, (-1, -1, -1)), RULES).unwrap();
        log.append(batch_of(&["c", "a"], codec, (-1, -1, -1)), RULES).unwrap();
        log.compact();
        let expected = [(1, "b"), (3, "c"), (4, "a")].map(|(offset, key)| (offset, key.to_owned()));
        assert_eq!(offsets_and_keys(&log), expected);
        assert_eq!(log.end(), 5);
        assert_eq!(log.append(batch(&["d"]), RULES), Ok(5));
    }
}

#[test]
fn a_producers_last_batch_stays_as_a_bare_head_when_all_its_records_go() {
    let mut log = PartitionLog::default();
    log.append(batch_of(&["a"], Compression::None, (9, 0, 0)), RULES).unwrap();
    log.append(batch(&["a"]), RULES).unwrap();
    log.compact();
    let found = log.read(0, 2, usize::MAX, true).bytes;
    assert_eq!(found.len(), 61 + batch(&["a"]).len());
    assert_eq!(offsets_and_keys(&log), [(1, "a".to_owned())]);
    let repeated = batch_of(&["a"], Compression::None, (9, 0, 0));
    assert_eq!(log.append(repeated, RULES), Ok(0), "its producer is still known");
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset_and_an_aborted_one_is_told() {
    let mut log = PartitionLog::default();
    let transactional = |keys: &[&str]| {
        let mut bytes = BytesMut::from(&batch_of(keys, Compression::None, (5, 0, 0))[..]);
        bytes[22] |= 0x10;
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        bytes.freeze()
    };
    log.append(batch(&["before"]), RULES).unwrap();
    log.append(transactional(&["open"]), RULES).unwrap();
    log.append(batch(&["after"]), RULES).unwrap();
    assert_eq!((log.last_stable(), log.end()), (1, 3));
    log.end_transaction(5, 0, false, 0);
    assert_eq!((log.last_stable(), log.end()), (4, 4));
    let aborted = Aborted { producer_id: 5, first: 1, marker: 3 };
    assert_eq!(log.read(0, 4, usize::MAX, true).aborted, [aborted]);
    assert_eq!(log.read(0, 1, usize::MAX, true).aborted, [], "it begins after what was read");
}

#[test]
fn anything_with_a_head_can_be_put_in_raw() {
    let mut log = PartitionLog::default();
    let good = batch(&["a"]);
    assert_eq!(log.append_unchecked(damaged(&good, good.len() - 1)), Ok(0));
    assert_eq!(log.append_unchecked(good.slice(..60)), Err(LogError::Corrupt));
    assert_eq!(log.end(), 1);
}
