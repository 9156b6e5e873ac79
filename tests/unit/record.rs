//! A record's value: an event, or the reason why it is malformed.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use highwater::{activity::record::parse, store::ActivityEvent};
use highwater_kafka::Record;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn record(value: Option<&[u8]>) -> Record {
    Record {
        partition: 1,
        offset: 42,
        leader_epoch: None,
        timestamp: DateTime::<Utc>::from_timestamp_millis(1_714_979_289_007).unwrap(),
        key: None,
        value: value.map(Bytes::copy_from_slice),
        headers: Default::default(),
    }
}

#[track_caller]
fn event(value: &str) -> ActivityEvent {
    parse(&record(Some(value.as_bytes()))).unwrap_or_else(|malformed| panic!("{malformed}: {value}"))
}

#[track_caller]
fn fault_of(value: &[u8]) -> String {
    let fault = parse(&record(Some(value))).expect_err("it is taken for an event").to_string();
    assert!(fault.chars().count() < 300, "{} characters", fault.chars().count());
    assert!(!fault.contains(|letter: char| letter.is_control()), "{fault:?}");
    fault
}

#[track_caller]
fn is_refused(value: &str, reason: &str) {
    let fault = fault_of(value.as_bytes());
    assert!(fault.contains(reason), "{fault:?} does not say {reason:?}");
}

/// An event's fields, one of them replaced; nothing leaves it out.
fn with(name: &str, value: &str) -> String {
    let fields = [
        ("eventId", format!("{ID:?}")),
        ("userId", r#""ada""#.to_owned()),
        ("eventType", r#""LOGIN""#.to_owned()),
        ("timestamp", r#""2024-01-02T03:04:05.678Z""#.to_owned()),
        ("payload", r#"{"n":1.0}"#.to_owned()),
    ];
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(field, usual)| (field, if field == name { value.to_owned() } else { usual }))
        .filter(|(_, value)| !value.is_empty())
        .map(|(field, value)| format!("{field:?}:{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn payload_of(event: &ActivityEvent) -> &str {
    std::str::from_utf8(event.split().1).unwrap()
}

fn timestamp_of(event: &ActivityEvent) -> String {
    let whole: Value = serde_json::from_slice(event.json()).unwrap();
    whole["timestamp"].as_str().unwrap().to_owned()
}

#[test]
fn an_event_is_read_back_byte_by_byte() {
    let value = with("", "");
    assert_eq!(std::str::from_utf8(event(&value).json()).unwrap(), value);
}

#[test]
fn what_is_nearly_as_this_service_writes_it_is_read_as_what_others_write() {
    let own = with("", "");
    let (upper, plain, nil) = (ID.to_uppercase(), ID.replace('-', ""), Uuid::nil().to_string());
    let payload = r#"{"n":1.0}"#;
    for (part, other) in [
        (ID, upper.as_str()),
        (ID, plain.as_str()),
        (ID, nil.as_str()),
        ("ada", " \u{200b}"),
        ("ada", "\\u0061da"),
        ("ada", "a\tda"),
        ("LOGIN", ""),
        (":05.678Z", ":60.678Z"),
        ("T03:04:05.678Z", "T24:00:00.000Z"),
        ("T03:04:05.678Z", " 03:04:05.678Z"),
        ("-01-02", "-02-30"),
        (payload, r#"{"n": 1.0}"#),
        (payload, r#"{"n":"a b"}"#),
        (payload, r#"{"n":1.}"#),
        (payload, "[]"),
        (payload, "null"),
        (payload, r#"{},"payload":{}"#),
        (payload, r#"{},"other":{}"#),
        (payload, "{}}"),
    ] {
        let value = own.replace(part, other);
        assert_ne!(value, own);
        let read = |value: &str| parse(&record(Some(value.as_bytes()))).ok();
        assert_eq!(read(&value), read(&format!(" {value}")), "{value}");
    }
}

#[test]
fn fields_come_in_any_order_with_blanks_and_escapes() {
    let value = format!(
        " {{ \"payload\" : {{ }} , \"event\\u0054ype\" : \"view\\u00e9\" ,\n \"user\\u0049d\" : \"a\\\"b\" ,\t\"eventId\" : \"{ID}\" }} \r\n"
    );
    let event = event(&value);
    assert_eq!((event.user_id().as_ref(), event.event_type().as_ref()), ("a\"b", "viewé"));
    assert_eq!(payload_of(&event), "{}");
}

#[test]
fn an_event_id_is_a_uuid_in_any_case_with_or_without_hyphens() {
    let id = Uuid::parse_str(ID).unwrap();
    for text in [ID.to_owned(), ID.to_uppercase(), ID.replace('-', "")] {
        assert_eq!(event(&with("eventId", &format!("{text:?}"))).id(), id);
    }
    for text in ["", "7", "0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b-d9cb-469f-a165-70867728950g"] {
        is_refused(&with("eventId", &format!("{text:?}")), "eventId must be a UUID");
    }
    is_refused(&with("eventId", &format!("\"{{{ID}}}\"")), "without braces");
    is_refused(&with("eventId", &format!("\"urn:uuid:{ID}\"")), "without braces or urn:uuid:");
}

#[test]
fn the_nil_and_max_uuids_are_no_event_ids() {
    for id in [Uuid::nil(), Uuid::max()] {
        for text in [id.to_string(), id.simple().to_string()] {
            is_refused(&with("eventId", &format!("{text:?}")), "eventId must not be the nil or the max UUID");
        }
    }
}

#[test]
fn a_byte_order_mark_is_named() {
    let marked = [b"\xef\xbb\xbf", with("", "").as_bytes()].concat();
    assert!(fault_of(&marked).contains("a byte order mark (U+FEFF)"));
    assert!(fault_of(b"\xff\xfe{\0}\0").contains("UTF-16"));
}

#[test]
fn json_with_a_schema_registrys_prefix_is_read_and_what_is_none_is_named() {
    let prefixed = |payload: &[u8]| [&[0, 0, 0, 1, 44], payload].concat();
    let read = parse(&record(Some(&prefixed(with("", "").as_bytes())))).unwrap();
    assert_eq!(read.user_id(), "ada");
    let avro = fault_of(&prefixed(b"\x48 0f8fad5b\x06ada"));
    assert!(avro.contains("schema registry's prefix (schema 300): Avro or Protobuf"), "{avro}");
    let json = fault_of(&prefixed(with("userId", "7").as_bytes()));
    assert!(json.contains("schema 300") && json.contains("userId must be a string"), "{json}");
    assert!(fault_of(&[0, 0, 0]).contains("not JSON"));
    assert!(fault_of(b"Obj\x01\x04\x14avro.codec").contains("Avro object container"));
}

#[test]
fn a_missing_or_null_timestamp_is_the_records() {
    for value in ["", "null"] {
        assert_eq!(timestamp_of(&event(&with("timestamp", value))), "2024-05-06T07:08:09.007Z");
    }
    let without_offset = event(&with("timestamp", r#""2024-01-02T03:04:05""#));
    assert_eq!(timestamp_of(&without_offset), "2024-01-02T03:04:05.000Z");
}

#[test]
fn a_missing_or_null_payload_is_empty() {
    for value in ["", "null"] {
        assert_eq!(payload_of(&event(&with("payload", value))), "{}");
    }
}

#[test]
fn a_payload_has_two_names_but_only_one_of_them_at_once() {
    let renamed = |value: &str| with("payload", value).replacen("\"payload\"", "\"metadata\"", 1);
    assert_eq!(payload_of(&event(&renamed(r#"{"n":1.0}"#))), r#"{"n":1.0}"#);
    is_refused(&renamed("7"), "metadata must be an object");
    let with_both = |metadata: &str| with("", "").replacen('{', &format!(r#"{{"metadata":{metadata},"#), 1);
    assert_eq!(payload_of(&event(&with_both("null"))), r#"{"n":1.0}"#);
    is_refused(&with_both("{}"), "metadata is another name of payload");
    is_refused(&renamed("null").replacen('{', r#"{"metadata":{},"#, 1), "metadata is given more than once");
}

#[test]
fn a_payload_is_kept_as_it_came() {
    let payload = r#"{"b":1.0,"a":123456789012345678901234567890,"a":"\ud83e \u00e9","c":[1e999]}"#;
    assert_eq!(payload_of(&event(&with("payload", payload))), payload);
}

#[test]
fn an_event_type_is_anything_that_is_not_blank() {
    let event = event(&with("eventType", r#""no such type""#));
    assert_eq!(event.event_type(), "no such type");
}

#[test]
fn unknown_fields_of_a_record_are_ignored() {
    let long = "x".repeat(1_000_000);
    for unknown in ["null", "7", r#"{"userId":7}"#, r#"["\ud800"]"#, &format!("{long:?}")] {
        let value = with("", "").replacen('{', &format!(r#"{{"schema":{unknown},"schema":2,"":3,"#), 1);
        assert_eq!(event(&value).user_id(), "ada");
    }
}

#[test]
fn a_field_of_the_wrong_kind_is_named() {
    for name in ["eventId", "userId", "eventType"] {
        for absent in ["", "null"] {
            is_refused(&with(name, absent), &format!("{name} is required"));
        }
        for value in ["7", "true", "[]", "{}"] {
            is_refused(&with(name, value), &format!("{name} must be a string"));
        }
    }
    for value in ["false", "{}"] {
        is_refused(&with("timestamp", value), "timestamp must be a string");
    }
    for value in ["1714979289", "1714979289.007000000", "1714979289007", "-1", "[2026,11,29,10,0,0,7000000]"]
    {
        is_refused(&with("timestamp", value), "disable WRITE_DATES_AS_TIMESTAMPS");
    }
    for value in ["7", "true", "[]", r#""{}""#] {
        is_refused(&with("payload", value), "payload must be an object");
    }
}

#[test]
fn blank_names_are_refused() {
    for name in ["userId", "eventType"] {
        for blank in
            [r#""""#, r#"" ""#, r#""\t\n\u00a0\u2003""#, r#""\u200b\ufeff \u0000""#, "\"\u{2060}\u{e0020}\""]
        {
            is_refused(&with(name, blank), &format!("{name} must not be blank"));
        }
    }
}

#[test]
fn a_malformed_timestamp_is_refused() {
    for text in ["", "yesterday", "2024-01-02", "2024-02-30T00:00:00Z"] {
        is_refused(&with("timestamp", &format!("{text:?}")), "timestamp must be an ISO 8601 date and time");
    }
}

#[test]
fn a_repeated_field_is_refused() {
    let value = with("", "").replacen('{', r#"{"user\u0049d":"eve","#, 1);
    is_refused(&value, "userId is given more than once");
    let value = with("", "").replacen('{', r#"{"payload":null,"#, 1);
    is_refused(&value, "payload is given more than once");
}

#[test]
fn half_a_surrogate_pair_is_no_name() {
    is_refused(&with("userId", r#""\ud800""#), "userId has an escape that is no character");
}

#[test]
fn malformed_json_is_refused() {
    for value in [
        "",
        "   ",
        "hello",
        "{",
        "{]",
        r#"{"eventId""#,
        r#"{"a":1,}"#,
        r#"{'a':1}"#,
        "{\"a\":\"\n\"}",
        "\u{0}",
        "[1",
    ] {
        is_refused(value, "not JSON");
    }
    is_refused(&format!("{} {{}}", with("", "")), "not JSON: trailing characters");
}

#[test]
fn json_that_is_no_object_is_refused() {
    let array = format!(r#"["{ID}","ada","LOGIN",null,{{}}]"#);
    for value in ["null", "7", "true", r#""text""#, "[]", &array] {
        is_refused(value, "not a JSON object");
    }
    is_refused("{}", "eventId is required");
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let mut value = with("payload", r#"{"a":"?"}"#).into_bytes();
    let at = value.iter().rposition(|byte| *byte == b'?').unwrap();
    value[at] = 0xff;
    assert!(fault_of(&value).contains("not UTF-8"));
    assert!(fault_of(&[0xc3, 0x28]).contains("not UTF-8"));
}

#[test]
fn a_null_value_is_refused() {
    let fault = parse(&record(None)).unwrap_err().to_string();
    assert_eq!(fault, "the value is null");
}

#[test]
fn nesting_of_any_depth_is_refused_and_overflows_nothing() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        let unclosed = open.repeat(200_000);
        is_refused(&deep, "nests deeper");
        is_refused(&unclosed, "nests deeper");
        for name in ["eventId", "userId", "timestamp", "payload"] {
            is_refused(&with(name, &format!(r#"{{"a":{deep}}}"#)), "nests deeper");
        }
        is_refused(&with("", "").replacen('{', &format!(r#"{{"new":{deep},"#), 1), "nests deeper");
    }
}

#[test]
fn every_accepted_payload_can_be_parsed_within_an_answer() {
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let deepest = event(&with("payload", &nested(98)));
    is_refused(&with("payload", &nested(99)), "nests deeper");
    let answer = format!(r#"{{"count":1,"events":[{}]}}"#, std::str::from_utf8(deepest.json()).unwrap());
    assert!(serde_json::from_str::<Value>(&answer).is_ok());
    let brackets = format!(r#"{{"a":"{}","b":[{}1]}}"#, "[{\\\"".repeat(5_000), "[],".repeat(5_000));
    assert_eq!(payload_of(&event(&with("payload", &brackets))), brackets);
}

#[test]
fn a_megabyte_of_one_string_is_refused_alone_and_taken_within_a_payload() {
    let long = "é\u{7f}x".repeat(300_000);
    is_refused(&serde_json::to_string(&long).unwrap(), "not a JSON object");
    for name in ["eventId", "timestamp"] {
        is_refused(&with(name, &serde_json::to_string(&long).unwrap()), &format!("{name} must be"));
    }
    is_refused(&with("userId", &format!("\"{}\\ud800\"", "x".repeat(1_000_000))), "userId has an escape");
    let payload = format!(r#"{{"a":{}}}"#, serde_json::to_string(&long).unwrap());
    assert_eq!(payload_of(&event(&with("payload", &payload))), payload);
    assert_eq!(event(&with("userId", &format!("\"{}\"", "x".repeat(1_000_000)))).user_id().len(), 1_000_000);
}

#[test]
fn a_fault_quotes_little_and_no_control_characters() {
    let fault = fault_of(with("eventId", r#""\u001b[31m\neventId=forged""#).as_bytes());
    assert!(fault.contains(r"\u{1b}[31m\neventId=forged"), "{fault}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&record(Some(&value)));
    }

    #[test]
    fn no_damage_to_an_event_makes_it_panic(at in 0_usize..150, byte in any::<u8>()) {
        let mut value = with("", "").into_bytes();
        let at = at % value.len();
        value[at] = byte;
        if let Ok(event) = parse(&record(Some(&value))) {
            prop_assert!(serde_json::from_slice::<Value>(event.json()).is_ok());
        }
    }

    /// No value of this service begins with a blank: such a one is always taken apart.
    #[test]
    fn what_looks_like_this_services_own_is_read_as_what_others_write(
        at in 0_usize..150,
        old in 0_usize..3,
        new in prop::sample::select(&["", " ", "\t", "\"", "\\", "{", "}", ",", ":", "0", "9", "A", "60", "24", "\u{200b}"][..]),
    ) {
        let mut value = with("", "").replace("ada", "åda");
        let at = at % value.len();
        let (at, end) = (value.floor_char_boundary(at), value.ceil_char_boundary((at + old).min(value.len())));
        value.replace_range(at..end, new);
        let of_others = format!(" {value}");
        let read = |value: &str| parse(&record(Some(value.as_bytes()))).ok();
        prop_assert_eq!(read(&value), read(&of_others), "{}", value);
    }
}
