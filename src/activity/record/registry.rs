//! The prefix that the serializers of Confluent's schema registry put before a value: a zero, and the schema's id in four
//! bytes (its "wire format"). The payload after it is Avro, Protobuf or JSON. Only the registry can tell which of them.

/// The beginning of a file of Avro objects, which some producers send as a value.
pub(super) const AVRO_FILE: &[u8] = b"Obj\x01";

/// The schema's id and the payload after it, where a value begins so. JSON never begins with a zero byte.
pub(super) fn schema(value: &[u8]) -> Option<(u32, &[u8])> {
    let ([0, id @ ..], payload) = value.split_first_chunk::<5>()? else { return None };
    Some((u32::from_be_bytes(*id), payload))
}
