//! The message formats before Kafka 0.11.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_kafka::internals::decode_batches;
use kafka_protocol::records::Compression;

use super::record_batch::{MOST, encode, flipped, log, packed, record, refusal, values, zeros};

/// A message of before Kafka 0.11: magic 0 or 1, with attributes, and a time where it is 1.
fn old_message(magic: u8, offset: i64, attributes: u8, time: i64, value: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_slice(&[magic, attributes]);
    if magic == 1 {
        body.put_i64(time);
    }
    body.put_i32(1);
    body.put_slice(b"k");
    body.put_i32(value.len() as i32);
    body.put_slice(value);
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut message = BytesMut::new();
    message.put_i64(offset);
    message.put_i32(body.len() as i32 + 4);
    message.put_u32(crc.sum());
    message.put_slice(&body);
    message.freeze()
}

#[test]
fn messages_of_before_kafka_0_11_are_read() {
    for magic in [0, 1] {
        let new = encode(&[record(6, "new", -1, false)], Compression::None);
        let old = [4, 5].map(|offset| old_message(magic, offset, 0, 1_700_000_000_000 + offset, b"old"));
        let log = log(&[old[0].clone(), old[1].clone(), new]);
        let read = values(log.clone(), 5, vec![]);
        assert_eq!(read, (vec![(5, "old".into()), (6, "new".into())], 7), "magic {magic}");
        let time = decode_batches(0, log, 4, vec![], MOST).unwrap().records[0].timestamp.timestamp_millis();
        assert_eq!(time == 1_700_000_000_004, magic == 1, "there is a time in magic 1 alone");
        assert!(refusal(flipped(&old_message(magic, 1, 0, 0, b"v"), 20, 1)).contains("checksum"));
    }
}

#[test]
fn compressed_messages_of_before_kafka_0_11_have_the_offsets_that_they_had() {
    for (magic, offsets) in [(0, [7, 8, 9]), (1, [0, 1, 2])] {
        let within = offsets.map(|offset| old_message(magic, offset, 0, 1_700_000_000_000 + offset, b"in"));
        for codec in 1..=3 {
            let around = old_message(magic, 9, codec, 0, &packed(codec, &within.concat()));
            let read = values(around.clone(), 8, vec![]);
            assert_eq!(read, (vec![(8, "in".into()), (9, "in".into())], 10), "magic {magic}, codec {codec}");
            assert!(refusal(around.slice(..around.len() - 1)).contains("no whole batch"));
        }
        let stamped = old_message(magic, 9, 0x09, 1_800_000_000_000, &packed(1, &within.concat()));
        let decoded = decode_batches(0, stamped, 7, vec![], MOST).unwrap();
        let has_brokers_time = decoded.records[2].timestamp.timestamp_millis() == 1_800_000_000_000;
        assert_eq!(has_brokers_time, magic == 1, "magic {magic}");
        let bomb = old_message(magic, 9, 1, 0, &packed(1, &zeros(2 * MOST)));
        assert!(refusal(bomb).contains("more than 1048576 bytes"));
    }
}

#[test]
fn a_format_of_the_future_is_refused() {
    let message = [&1_i64.to_be_bytes()[..], &28_i32.to_be_bytes(), &[0; 4], &[3], &[0; 23]].concat();
    assert!(refusal(message.into()).contains("offset 1 has the format 3"));
}
