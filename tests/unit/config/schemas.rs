//! The schemas of payloads, as settings.

use super::{faults, parse, with};

#[cfg(feature = "schemas")]
#[test]
fn a_broken_schema_is_a_fault_of_the_start_beside_the_other_faults() {
    let folder = std::env::temp_dir().join(format!("highwater-schemas-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("LOGIN.json"), "{\"type\":5}").unwrap();
    std::fs::write(folder.join("LOGOUT.json"), "{\"minLength\":-1}").unwrap();
    let path = folder.to_str().unwrap();
    let lines = faults(&[("PORT", "http"), ("EVENT_SCHEMAS", path)]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let says = format!("EVENT_SCHEMAS={path}: has faults: LOGIN.json: /type ");
    assert!(lines[1].starts_with(&says) && lines[1].contains("; LOGOUT.json: /minLength "), "{lines:?}");
    // Those of other services do not read it.
    parse(&["users"], &[("KAFKA_BROKERS", "kafka:9092"), ("EVENT_SCHEMAS", path)], "").unwrap();

    std::fs::write(folder.join("LOGIN.json"), "{}").unwrap();
    std::fs::remove_file(folder.join("LOGOUT.json")).unwrap();
    assert!(with(&[("EVENT_SCHEMAS", path)]).unwrap().activity.schemas.is_some());
    let lines = faults(&[("EVENT_SCHEMAS", path), ("EVENT_SCHEMAS_MODE", "warn")]);
    assert_eq!(lines, ["EVENT_SCHEMAS_MODE=warn: must be enforce or report"]);
    std::fs::remove_dir_all(&folder).unwrap();
    let lines = faults(&[("EVENT_SCHEMAS", path)]);
    assert!(lines[0].starts_with(&format!("EVENT_SCHEMAS={path}: cannot be read: ")), "{lines:?}");
}

#[cfg(not(feature = "schemas"))]
#[test]
fn a_build_without_schemas_says_which_feature_it_lacks() {
    let lines = faults(&[("EVENT_SCHEMAS", "/schemas")]);
    let says = "EVENT_SCHEMAS=/schemas: this build has no JSON Schemas: build it with --features schemas";
    assert_eq!(lines, [says]);
    parse(&["users"], &[("KAFKA_BROKERS", "kafka:9092"), ("EVENT_SCHEMAS", "/schemas")], "").unwrap();
    assert!(with(&[]).unwrap().activity.schemas.is_none());
}
