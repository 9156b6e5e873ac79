//! Events of one id with the same content or other content.

use highwater::store::{ActivityEvent, Admission, ContentHash, EventRecord, EventStore};
use proptest::prelude::*;
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use super::{moment, store};

fn event(millis: i64, user_id: &str, event_type: &str, payload: &str) -> ActivityEvent {
    let payload: &RawValue = serde_json::from_str(payload).unwrap();
    ActivityEvent::new(Uuid::from_u128(1), user_id, event_type, moment(millis), Some(payload))
}

fn of(payload: &str) -> ActivityEvent {
    event(0, "ada", "LOGIN", payload)
}

fn agree(one: &ActivityEvent, other: &ActivityEvent) -> bool {
    assert_eq!(one.has_same_content_as(other), other.has_same_content_as(one));
    assert_eq!(one.has_same_content_as(other), ContentHash::of(one) == ContentHash::of(other));
    one.has_same_content_as(other)
}

#[test]
fn blanks_the_order_of_keys_escapes_and_the_timestamp_do_not_change_the_content() {
    let first = of(r#"{"a":[1,{"x":true,"y":null}],"b":"Ä/"}"#);
    for payload in [
        r#"{"a":[1,{"x":true,"y":null}],"b":"Ä/"}"#,
        r#" { "b" : "Ä/" , "a" : [ 1, { "y" : null, "x":true } ] } "#,
        r#"{"\u0062":"\u00c4\/","a":[1,{"y":null,"x":true}]}"#,
    ] {
        assert!(agree(&first, &of(payload)), "{payload}");
    }
    assert!(agree(&first, &event(99, "ada", "LOGIN", first.payload())));
}

#[test]
fn any_other_value_is_other_content() {
    let payload = r#"{"a":[1,2,{"x":1.0}],"b":"1","c":{}}"#;
    let first = of(payload);
    assert!(!agree(&first, &event(0, "eve", "LOGIN", payload)));
    assert!(!agree(&first, &event(0, "ada", "login", payload)));
    for other in [
        "{}",
        r#"{"a":[2,1,{"x":1.0}],"b":"1","c":{}}"#, // an array has an order
        r#"{"a":[1,2,{"x":1}],"b":"1","c":{}}"#,   // numbers count as they are written
        r#"{"a":[1,2,{"x":1.0}],"b":1,"c":{}}"#,   // a number is no string
        r#"{"a":[1,2,{"x":1.0}],"b":"1","c":[]}"#, // an array is no object
        r#"{"a":[1,2,{"x":1.0}],"b":"1","c":null}"#, // null is something
        r#"{"a":[1,2,{"x":1.0}],"b":"1"}"#,        // and so is what is not there
        r#"{"a":[1,2,{"x":1.0}],"b":"1","C":{}}"#,
        r#"{"a":[1,2,{"x":1.0}],"b":"1","b":"1","c":{}}"#,
        r#"{"a":[1,2],"b":"1","c":{"x":1.0}}"#,
    ] {
        assert!(!agree(&first, &of(other)), "{other}");
    }
    // The order of a repeated key counts, since readers may take either.
    assert!(!agree(&of(r#"{"a":1,"a":2}"#), &of(r#"{"a":2,"a":1}"#)));
    assert!(agree(&of(r#"{"a":1,"a":2}"#), &of(r#"{ "a":1, "a":2 }"#)));
    // Text that a strict parser refuses is compared as it was written.
    assert!(agree(&of(r#"{"a":"\ud800","b":1}"#), &of(r#"{"b":1,"a":"\ud800"}"#)));
    assert!(!agree(&of(r#"{"a":"\ud800"}"#), &of(r#"{"a":"\udbff"}"#)));
}

#[test]
fn the_hash_is_the_same_in_every_process() {
    // Computed by an independent program, since instances and versions must agree.
    assert_eq!(ContentHash::of(&of(r#"{"a":[1,"x"]}"#)).to_string(), "d421b887c801723bb3a30bca069ec859");
}

#[tokio::test]
async fn a_conflict_names_the_first_event_and_its_position() {
    let store = store(100);
    let offered = |offset, payload| vec![EventRecord { offset, written_at: 0, event: of(payload) }];
    store.admit(2, offered(7, r#"{"a":1,"b":2}"#), 0.into()).await.unwrap();
    let same = store.admit(2, offered(8, r#"{"b":2,"a":1}"#), 0.into()).await.unwrap();
    assert!(matches!(same[..], [Admission::Duplicate]), "{same:?}");
    for (partition, offset) in [(2, 9), (0, 0)] {
        let other = store.admit(partition, offered(offset, "{}"), 0.into()).await.unwrap();
        let [Admission::Conflict(first)] = &other[..] else { panic!("{other:?}") };
        assert_eq!((first.partition, first.position), (2, 7));
    }
    let kept = store.get(Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!(kept.payload(), r#"{"a":1,"b":2}"#);
    assert_eq!((store.stats().events, store.stats().duplicates), (1, 3));
}

/// JSON of any shape, whose keys are often equal.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |number| number.is_finite()).prop_map(Value::from),
        "[a-c\"\\\\ é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same value with blanks and with its keys reversed.
fn written_otherwise(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().rev();
            let members = members
                .map(|(key, value)| format!("{} : {}", Value::from(key.as_str()), written_otherwise(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(" ,\n"))
        }
        Value::Array(elements) => {
            let elements = elements.iter().map(written_otherwise);
            format!("[ {} ]", elements.collect::<Vec<_>>().join(" ,\t"))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn values_are_the_same_content_exactly_when_they_are_equal(one in json(), other in json()) {
        let (one, other) = (serde_json::json!({ "v": one }), serde_json::json!({ "v": other }));
        prop_assert!(agree(&of(&one.to_string()), &of(&written_otherwise(&one))));
        prop_assert_eq!(agree(&of(&one.to_string()), &of(&other.to_string())), one == other);
    }
}
