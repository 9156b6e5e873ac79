//! The decoder of record batches: every well-formed log, and errors for others.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use highwater_kafka::internals::{Decoded, decode_batches};
use kafka_protocol::{
    indexmap::IndexMap,
    messages::{ProducerId, fetch_response::AbortedTransaction},
    protocol::StrBytes,
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

const PRODUCER: i64 = 7;
/// The bound of a decompressed answer.
pub(super) const MOST: usize = 1024 * 1024;

/// A record of a plain producer, of a transaction, or a marker.
pub(super) fn record(offset: i64, value: &str, producer_id: i64, control: bool) -> Record {
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

pub(super) fn encode(records: &[Record], compression: Compression) -> Bytes {
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, records, &options).unwrap();
    bytes.freeze()
}

pub(super) fn log(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

fn aborted(first_offset: i64) -> AbortedTransaction {
    AbortedTransaction::default().with_producer_id(ProducerId(PRODUCER)).with_first_offset(first_offset)
}

pub(super) fn values(log: Bytes, from: i64, aborted: Vec<AbortedTransaction>) -> (Vec<(i64, String)>, i64) {
    let Decoded { records, next, .. } = decode_batches(0, log, from, aborted, MOST).unwrap();
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

/// Its records are replaced by other bytes, packed by a codec of that number, and it says how many they are.
fn with_records(batch: &Bytes, codec: u8, count: i32, records: &[u8]) -> Bytes {
    let mut bytes = [&batch[..61], records].concat();
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec;
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    with_last_offset_delta(&bytes.into(), (count - 1).max(0))
}

/// Flips bits of one byte and leaves the checksum as it was.
pub(super) fn flipped(batch: &Bytes, at: usize, bits: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at] ^= bits;
    bytes.into()
}

/// The error of a log that begins with these bytes. With a valid batch before them, that batch is returned first.
pub(super) fn refusal(log: Bytes) -> String {
    let good = encode(&[record(0, "good", -1, false)], Compression::None);
    let behind_good = [good, log.clone()].concat().into();
    assert_eq!(values(behind_good, 0, vec![]), (vec![(0, "good".into())], 1));
    decode_batches(0, log, 1, vec![], MOST).unwrap_err().to_string()
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
    let log = encode(&[with_header], Compression::None);
    let records = decode_batches(0, log, 0, vec![], MOST).unwrap().records;
    assert_eq!(records[0].headers.iter().collect::<Vec<_>>(), [("h".into(), None)]);
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
    assert!(decode_batches(0, batches, 1, vec![], MOST).is_err());
}

#[test]
fn refuses_impossible_lengths() {
    let good = encode(&[record(0, "v", -1, false)], Compression::None);
    for length in [i32::MIN, -1, 0, 48] {
        let mut bytes = good.to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert!(decode_batches(0, bytes.into(), 0, vec![], MOST).is_err(), "length {length}");
    }
    let mut padded = BytesMut::from(&good[..]);
    padded.put_bytes(0, 61);
    assert!(decode_batches(0, padded.freeze(), 1, vec![], MOST).is_err());
}

#[test]
fn a_first_batch_that_is_cut_short_is_an_error_and_an_empty_answer_is_none() {
    let batch = encode(&[record(1, "cut", -1, false)], Compression::None);
    for length in [1, 16, 17, 60, 61, batch.len() - 1] {
        assert!(refusal(batch.slice(..length)).contains("no whole batch"), "cut to {length} bytes");
    }
    assert_eq!(values(Bytes::new(), 1, vec![]), (vec![], 1));
    // Nor does one move on that ends before what was asked for.
    let before = encode(&[record(0, "before", -1, false)], Compression::None);
    assert!(decode_batches(0, before, 1, vec![], MOST).is_err());
}

#[test]
fn nothing_that_the_checksum_covers_is_believed_before_it_is_tested() {
    let data = encode(&[record(1, "data", PRODUCER, false)], Compression::None);
    // A marker, a negative number of records, another producer.
    for (at, bits) in [(22, 0x20), (57, 0x80), (43, 1)] {
        assert!(refusal(flipped(&data, at, bits)).contains("checksum"), "byte {at}");
    }
    // Also of what is left out anyway.
    let log = flipped(&data, data.len() - 1, 1);
    assert!(decode_batches(0, log, 1, vec![aborted(1)], MOST).is_err());
}

#[test]
fn a_marker_that_cannot_be_read_is_an_error_and_takes_no_record_with_it() {
    let marker = encode(&[record(1, "abort", PRODUCER, true)], Compression::None);
    for nonsense in [&[0x7f; 9][..], &[14, 0, 0, 0, 2, 0, 1, 0]] {
        let mut broken = with_records(&marker, 0, 1, nonsense).to_vec();
        broken[22] |= 0x30;
        assert!(refusal(with_last_offset_delta(&broken.into(), 0)).contains("offset 1"));
    }
}

#[test]
fn counts_and_offsets_that_cannot_be_are_refused() {
    let batch = encode(&[record(1, "a", -1, false), record(2, "b", -1, false)], Compression::None);
    for count in [i32::MIN, -1, 3, i32::MAX] {
        let mut bytes = batch.to_vec();
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        refusal(with_last_offset_delta(&bytes.into(), 1));
    }
    let one = |offset_delta: u8| [14, 0, 0, offset_delta << 1, 1, 1, 0, 0];
    for deltas in [[0, 2], [1, 1], [1, 0]] {
        let records = deltas.map(one).concat();
        assert!(
            refusal(with_records(&batch, 0, 2, &records)).contains("not in the order of their offsets"),
            "{deltas:?}"
        );
    }
}

/// One record whose value is so many zeros.
pub(super) fn zeros(size: usize) -> Vec<u8> {
    let varint = |number: usize| {
        let mut rest = number << 1;
        let mut bytes = Vec::new();
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let body = [&[0, 0, 0, 1], &varint(size)[..], &vec![0; size], &[0]].concat();
    [varint(body.len()), body].concat()
}

pub(super) fn packed(codec: u8, bytes: &[u8]) -> Vec<u8> {
    match codec {
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        3 => {
            let mut lz4 = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
            lz4.write_all(bytes).unwrap();
            lz4.finish().0
        }
        _ => zstd::encode_all(bytes, 1).unwrap(),
    }
}

#[test]
fn what_unpacks_into_more_than_there_is_room_for_is_refused_in_every_codec() {
    let batch = encode(&[record(1, "a", -1, false)], Compression::None);
    for codec in 1..=4 {
        let bomb = with_records(&batch, codec, 1, &packed(codec, &zeros(MOST)));
        assert!(bomb.len() < MOST / 16, "codec {codec} packs it into {} bytes", bomb.len());
        assert!(refusal(bomb).contains("more than 1048576 bytes"), "codec {codec}");
        let fits = with_records(&batch, codec, 1, &packed(codec, &zeros(MOST - 1000)));
        assert_eq!(decode_batches(0, fits, 1, vec![], MOST).unwrap().next, 2, "codec {codec}");
    }
}

#[test]
fn what_has_no_room_beside_what_came_before_is_left_for_the_next_fetch() {
    let half = |offset| {
        let batch = encode(&[record(offset, "a", -1, false)], Compression::None);
        with_records(&batch, 4, 1, &packed(4, &zeros(MOST * 2 / 3)))
    };
    let both = log(&[half(0), half(1)]);
    let Decoded { records, next, .. } = decode_batches(0, both.clone(), 0, vec![], MOST).unwrap();
    assert_eq!((records.len(), next), (1, 1));
    let Decoded { records, next, .. } = decode_batches(0, both, 1, vec![], MOST).unwrap();
    assert_eq!((records.len(), next), (1, 2));
}

#[test]
fn records_and_headers_count_by_what_they_take_and_not_by_their_bytes() {
    let batch = encode(&[record(1, "a", -1, false)], Compression::None);
    // Two bytes a header, and eight a record.
    let headers = [&[0, 0, 0, 1, 1, 0xc0, 0xa9, 0x07][..], &[0; 2 * 61_536]].concat();
    let length = headers.len() << 1;
    let prefix = [length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8];
    let of_headers = with_records(&batch, 0, 1, &[&prefix[..], &headers].concat());
    assert!(refusal(of_headers).contains("more than"));
    let of_records = with_records(&batch, 4, 50_000, &packed(4, &[14, 0, 0, 0, 1, 1, 0, 0].repeat(50_000)));
    assert!(refusal(of_records).contains("more than"));
}

#[test]
fn a_snappy_block_that_promises_what_it_cannot_have_is_refused() {
    let batch = encode(&[record(1, "a", -1, false)], Compression::None);
    let liar = [&[0xff, 0xff, 0x3f][..], &[0; 100]].concat(); // a megabyte in a hundred bytes
    assert!(refusal(with_records(&batch, 2, 1, &liar)).contains("snappy"));
    let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &u32::MAX.to_be_bytes(), &[0; 9]].concat();
    assert!(refusal(with_records(&batch, 2, 1, &framed)).contains("snappy"));
}
