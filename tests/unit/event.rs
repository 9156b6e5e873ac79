//! The bytes of an event.

use chrono::{DateTime, SecondsFormat, Utc};
use highwater::store::ActivityEvent;
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF);

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

fn event(user_id: &str, event_type: &str, payload: &str) -> ActivityEvent {
    let raw = RawValue::from_string(payload.to_owned()).unwrap();
    ActivityEvent::new(ID, user_id, event_type, moment(1_714_979_289_007), Some(&raw))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn payload(event: &ActivityEvent) -> &str {
    text(event.split().1)
}

#[test]
fn its_json_is_one_line_in_the_contracts_order() {
    let event = event("ada", "LOGIN", r#"{"device":"phone"}"#);
    assert_eq!(
        text(event.json()),
        r#"{"eventId":"01234567-89ab-cdef-0123-456789abcdef","userId":"ada","eventType":"LOGIN","timestamp":"2024-05-06T07:08:09.007Z","payload":{"device":"phone"}}"#
    );
}

#[test]
fn its_fields_are_those_it_was_made_of() {
    let event = event("ada \"l\" \\ \n\u{1}\u{7f} ü🦀", "log\tin", r#"{"a":1}"#);
    assert_eq!(event.id(), ID);
    assert_eq!(event.user_id(), "ada \"l\" \\ \n\u{1}\u{7f} ü🦀");
    assert_eq!(event.event_type(), "log\tin");
    assert_eq!(event.timestamp_millis(), 1_714_979_289_007);
    assert_eq!(payload(&event), r#"{"a":1}"#);
    assert!(!text(event.json()).contains(|letter: char| letter.is_ascii_control() && letter != '\u{7f}'));
}

#[test]
fn its_two_parts_make_an_answer_with_another_name_for_the_payload() {
    let event = event("a\"b", "X", r#"{"payload":[1.0]}"#);
    let (fields, payload) = event.split();
    let renamed = format!(r#"{},"metadata":{}}}"#, text(fields), text(payload));
    assert_eq!(renamed, text(event.json()).replacen(r#""payload""#, r#""metadata""#, 1));
    assert!(serde_json::from_str::<Value>(&renamed).is_ok());
}

#[test]
fn its_payload_is_kept_but_for_white_space_between_tokens() {
    let kept = [
        ("{}", "{}"),
        (r#"{"b":1.0,"a":1e2,"A":-0}"#, r#"{"b":1.0,"a":1e2,"A":-0}"#),
        (r#"{"n":123456789012345678901234567890.10}"#, r#"{"n":123456789012345678901234567890.10}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        (r#"{"\u0061\/":"\ud83e\udd80 \\\" \n"}"#, r#"{"\u0061\/":"\ud83e\udd80 \\\" \n"}"#),
        ("{ }", "{}"),
        ("{\r\n\t\"a b\" : [ 1 , 2 ] ,\n \"c\" : \" \\\" x \\\\\" \n}", r#"{"a b":[1,2],"c":" \" x \\"}"#),
        ("{\"ü \" :\n\"🦀 \\\\\\\" \u{a0}\u{2028}\"}", "{\"ü \":\"🦀 \\\\\\\" \u{a0}\u{2028}\"}"),
    ];
    for (given, expected) in kept {
        let event = event("u", "t", given);
        assert_eq!(payload(&event), expected);
        assert!(!event.json().contains(&b'\n'));
    }
}

#[test]
fn its_timestamp_stays_within_four_digit_years() {
    for (millis, expected) in [
        (i64::MIN / 2_000, "0000-01-01T00:00:00.000Z"),
        (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
    ] {
        let timestamp = moment(millis.max(-8_000_000_000_000_000));
        let event = ActivityEvent::new(ID, "u", "t", timestamp, None);
        let whole: Value = serde_json::from_slice(event.json()).unwrap();
        assert_eq!(whole["timestamp"], expected);
        assert_eq!(moment(event.timestamp_millis()).to_rfc3339_opts(SecondsFormat::Millis, true), expected);
    }
}

/// Any JSON value, and one of the many ways to write it.
fn written() -> impl Strategy<Value = (Value, String)> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ \\\\\"\n\t{}\\[\\],:a]{0,12}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    (value, prop::collection::vec("[ \n\r\t]{0,3}", 1..9)).prop_map(|(value, spaces)| {
        let mut spaces = spaces.iter().cycle();
        let mut text = String::new();
        write_spaced(&value, &mut text, &mut || spaces.next().unwrap());
        (value, text)
    })
}

fn write_spaced<'a>(value: &Value, text: &mut String, space: &mut impl FnMut() -> &'a String) {
    text.push_str(space());
    match value {
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                write_spaced(item, text, space);
            }
            text.push_str(space());
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (place, (name, item)) in fields.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                write_spaced(&Value::from(&**name), text, space);
                text.push(':');
                write_spaced(item, text, space);
            }
            text.push_str(space());
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
    text.push_str(space());
}

proptest! {
    #[test]
    fn taking_white_space_out_leaves_the_compact_form((value, text) in written()) {
        let raw: Box<RawValue> = serde_json::from_str(&text).unwrap();
        let event = ActivityEvent::new(ID, "u", "t", moment(0), Some(&raw));
        prop_assert_eq!(payload(&event), value.to_string());
    }

    #[test]
    fn any_user_and_type_are_read_back(user in any::<String>(), kind in any::<String>(), millis in any::<i32>()) {
        let event = ActivityEvent::new(ID, &user, &kind, moment(millis.into()), Some(RawValue::TRUE));
        prop_assert_eq!(event.user_id(), user.as_str());
        prop_assert_eq!(event.event_type(), kind.as_str());
        let whole: Value = serde_json::from_slice(event.json()).unwrap();
        let timestamp = moment(millis.into()).to_rfc3339_opts(SecondsFormat::Millis, true);
        let expected = json!({
            "eventId": ID, "userId": user, "eventType": kind, "timestamp": timestamp, "payload": true,
        });
        prop_assert_eq!(whole, expected);
    }
}
