//! Decoding record batches ourselves: every legal log, and none that is not.

use bytes::{BufMut, Bytes, BytesMut};
use highwater::messaging::wire::decode_batches;
use kafka_protocol::{
    indexmap::IndexMap,
    messages::{ProducerId, fetch_response::AbortedTransaction},
    protocol::StrBytes,
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

const PRODUCER: i64 = 7;

/// A record of a plain producer, of a transaction, or a marker.
fn record(offset: i64, value: &str, producer_id: i64, control: bool) -> Record {
    let transactional = producer_id >= 0;
    let key =
        if control { Bytes::copy_from_slice(&[0, 0, 0, u8::from(value == "commit")]) } else { "k".into() };
    Record {
        transactional,
        control,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_700_000_000_000 + offset,
        key: Some(key),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: IndexMap::new(),
    }
}

fn encode(records: &[Record], compression: Compression) -> Bytes {
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, records, &options).unwrap();
    bytes.freeze()
}

fn log(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

fn aborted(first_offset: i64) -> AbortedTransaction {
    AbortedTransaction::default().with_producer_id(ProducerId(PRODUCER)).with_first_offset(first_offset)
}

fn values(log: Bytes, from: i64, aborted: Vec<AbortedTransaction>) -> (Vec<(i64, String)>, i64) {
    let (records, next) = decode_batches(0, log, from, aborted).unwrap();
    let value = |value: Option<Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    (records.into_iter().map(|record| (record.offset, value(record.value))).collect(), next)
}

/// Patches `lastOffsetDelta` and the CRC, as compaction leaves a batch whose last records are gone.
fn with_last_offset_delta(batch: &Bytes, delta: i32) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[23..27].copy_from_slice(&delta.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A batch that compaction emptied: its header alone.
fn empty_batch(base_offset: i64, last_offset_delta: i32) -> Bytes {
    let one = encode(&[record(base_offset, "gone", -1, false)], Compression::None);
    let mut bytes = one[..61].to_vec();
    bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    with_last_offset_delta(&bytes.into(), last_offset_delta)
}

#[test]
fn reads_every_codec() {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    for codec in [None, Gzip, Snappy, Lz4, Zstd] {
        let batch = encode(&[record(5, "a", -1, false), record(6, "b", -1, false)], codec);
        assert_eq!(values(batch, 5, vec![]), (vec![(5, "a".into()), (6, "b".into())], 7), "{codec:?}");
    }
}

#[test]
fn leaves_out_records_below_the_asked_offset_but_not_the_rest_of_their_batch() {
    let batch = encode(&[record(5, "a", -1, false), record(6, "b", -1, false)], Compression::None);
    assert_eq!(values(batch, 6, vec![]), (vec![(6, "b".into())], 7));
}

#[test]
fn keeps_committed_transactions_and_leaves_out_markers() {
    let batches = log(&[
        encode(&[record(0, "in", PRODUCER, false)], Compression::None),
        encode(&[record(1, "commit", PRODUCER, true)], Compression::None),
        encode(&[record(2, "after", -1, false)], Compression::None),
    ]);
    assert_eq!(values(batches, 0, vec![]), (vec![(0, "in".into()), (2, "after".into())], 3));
}

#[test]
fn leaves_out_aborted_transactions_but_not_what_others_wrote_between() {
    let batches = log(&[
        encode(&[record(0, "aborted", PRODUCER, false)], Compression::None),
        encode(&[record(1, "plain", -1, false)], Compression::None),
        encode(&[record(2, "abort", PRODUCER, true)], Compression::None),
        encode(&[record(3, "next", PRODUCER, false)], Compression::None),
        encode(&[record(4, "commit", PRODUCER, true)], Compression::None),
    ]);
    let (read, next) = values(batches, 0, vec![aborted(0)]);
    assert_eq!((read, next), (vec![(1, "plain".into()), (3, "next".into())], 5));
}

#[test]
fn passes_over_a_log_that_has_only_markers() {
    let batches = encode(&[record(9, "abort", PRODUCER, true)], Compression::None);
    assert_eq!(values(batches, 9, vec![]), (vec![], 10));
}

#[test]
fn goes_on_after_what_compaction_removed_from_the_end_of_a_batch() {
    let batch = encode(&[record(3, "kept", -1, false)], Compression::None);
    assert_eq!(values(with_last_offset_delta(&batch, 6), 3, vec![]), (vec![(3, "kept".into())], 10));
}

#[test]
fn passes_over_an_emptied_batch() {
    assert_eq!(values(empty_batch(20, 4), 20, vec![]), (vec![], 25));
}

#[test]
fn keeps_null_header_values() {
    let mut with_header = record(0, "v", -1, false);
    with_header.headers.insert(StrBytes::from_static_str("h"), None);
    let (records, _) = decode_batches(0, encode(&[with_header], Compression::None), 0, vec![]).unwrap();
    assert_eq!(records[0].headers, [("h".to_owned(), None)]);
}

#[test]
fn ends_before_a_batch_that_is_cut_short() {
    let whole = encode(&[record(0, "whole", -1, false)], Compression::None);
    let cut = encode(&[record(1, "cut", -1, false)], Compression::None);
    let batches = log(&[whole, cut.slice(..cut.len() - 3)]);
    assert_eq!(values(batches, 0, vec![]), (vec![(0, "whole".into())], 1));
}

#[test]
fn hands_out_what_is_good_and_then_refuses_a_corrupt_batch() {
    let good = encode(&[record(0, "good", -1, false)], Compression::None);
    let mut corrupt = encode(&[record(1, "corrupt", -1, false)], Compression::None).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let batches = log(&[good, corrupt.into()]);
    assert_eq!(values(batches.clone(), 0, vec![]), (vec![(0, "good".into())], 1));
    assert!(decode_batches(0, batches, 1, vec![]).is_err());
}

#[test]
fn refuses_impossible_lengths_and_the_formats_of_before_kafka_0_11() {
    let good = encode(&[record(0, "v", -1, false)], Compression::None);
    for length in [i32::MIN, -1, 0, 48] {
        let mut bytes = good.to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert!(decode_batches(0, bytes.into(), 0, vec![]).is_err(), "length {length}");
    }
    let mut old = good.to_vec();
    old[16] = 1;
    assert!(decode_batches(0, old.into(), 0, vec![]).is_err());
    let mut padded = BytesMut::from(&good[..]);
    padded.put_bytes(0, 61);
    assert!(decode_batches(0, padded.freeze(), 1, vec![]).is_err());
}
