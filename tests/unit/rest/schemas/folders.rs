//! The folder of schemas: its files, its faults and its changes.

use std::{fs, time::Duration};

use highwater::activity::{SchemaMode, Schemas};
use serde_json::{Value, json};
use tokio::time::advance;

use super::{Folder, event};

#[test]
fn a_file_refers_to_others_of_the_folder_by_path_and_by_id() {
    let folder = Folder::new(&[
        ("A.json", json!({ "properties": { "by": { "$ref": "_common.json#/$defs/name" } } })),
        ("B.json", json!({ "properties": { "by": { "$ref": "./shared/more%20names.json" } } })),
        ("C.json", json!({ "properties": { "by": { "$ref": "https://example.org/name" } } })),
        ("_common.json", json!({ "$defs": { "name": { "$ref": "shared/more%20names.json" } } })),
        ("shared/more names.json", json!({ "$id": "https://example.org/name", "type": "string" })),
        ("README.md", json!("no schema")),
    ]);
    for event_type in ["A", "B", "C"] {
        assert_eq!(folder.pointers(event_type, json!({ "by": 1 })), ["/by"], "{event_type}");
        assert!(folder.pointers(event_type, json!({ "by": "ann" })).is_empty(), "{event_type}");
    }
    for event_type in ["_common", "more names", "shared/more names", "README"] {
        assert!(folder.pointers(event_type, json!(1)).is_empty(), "{event_type}");
    }
}

#[test]
fn a_types_characters_that_file_names_lack_are_percent_encoded() {
    let folder = Folder::new(&[
        ("%5Finner.json", json!(false)),
        ("shop%2Fitem%3F.json", json!(false)),
        ("50%25.json", json!({ "$ref": "#/$defs/no", "$defs": { "no": false } })),
    ]);
    for event_type in ["_inner", "shop/item?", "50%"] {
        assert_eq!(folder.pointers(event_type, json!({})), [""], "{event_type}");
    }
}

#[test]
fn every_broken_schema_is_a_fault_with_its_file_and_nothing_is_asked_for_elsewhere() {
    let folder = Folder::new(&[
        ("A.json", json!({ "type": "objekt" })),
        ("B.json", json!({ "$ref": "_gone.json" })),
        ("C.json", json!({ "$ref": "http://127.0.0.1:9/schema.json" })),
        ("D.json", json!({ "$ref": "../../etc/hostname" })),
        ("E.json", json!({ "properties": { "a": { "pattern": "(" } } })),
        ("F.json", json!({ "$ref": "#/$defs/none" })),
        ("G.json", json!({ "$schema": "https://example.org/own" })),
        ("H.json", json!({})),
    ]);
    let fault = folder.open(SchemaMode::Report).unwrap_err();
    for file in ["A", "B", "C", "D", "E", "F", "G"] {
        assert!(fault.contains(&format!("{file}.json: ")), "{file}: {fault}");
    }
    assert!(fault.starts_with("has faults: A.json: /type must be one of "), "{fault}");
    assert!(!fault.contains("H.json") && !fault.contains('\n') && !fault.contains("file:"), "{fault}");

    let folder = Folder::new(&[("a b.json", json!({})), ("a%20b.json", json!({})), ("%zz.json", json!({}))]);
    folder.write("X.json", "{");
    folder.write("_shared.json", "nonsense");
    let fault = folder.open(SchemaMode::Enforce).unwrap_err();
    for says in [
        "a%20b.json: is another schema of a b",
        "%zz.json: must be named",
        "X.json: is not JSON",
        "_shared.json: is not JSON",
    ] {
        assert!(fault.contains(says), "{says}: {fault}");
    }
    let gone = Schemas::open("/no/such/folder".into(), SchemaMode::Enforce).unwrap_err();
    assert!(gone.starts_with("cannot be read: "), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn schemas_are_read_again_when_files_change_come_and_go_and_broken_ones_leave_those_before_in_use() {
    let folder = Folder::new(&[("LOGIN.json", json!({ "required": ["a"] }))]);
    let service = folder.service(SchemaMode::Enforce);
    let faults = async |event_type: &str| {
        // The time after which files are looked at again.
        advance(Duration::from_secs(1)).await;
        let answer = service.post("/events/generate", event(event_type, json!({})).to_string()).await;
        if answer.status() == 201 { Vec::new() } else { answer.faults() }
    };
    let warnings = async || service.get("/health").await.ok(200)["warnings"].clone();
    assert_eq!(faults("LOGIN").await, ["payload"]);
    assert!(faults("LOGOUT").await.is_empty());
    folder.write("LOGIN.json", "true");
    assert!(faults("LOGIN").await.is_empty());
    folder.write("LOGOUT.json", &json!({ "$ref": "shared/never.json" }).to_string());
    folder.write("shared/never.json", "false");
    assert_eq!(faults("LOGOUT").await, ["payload"]);
    assert_eq!(warnings().await, Value::Null);

    folder.write("shared/never.json", "{\"type\": 5}");
    assert_eq!(faults("LOGOUT").await, ["payload"]);
    let warned = warnings().await;
    assert!(
        warned[0].as_str().unwrap().contains("EVENT_SCHEMAS has faults: shared/never.json: "),
        "{warned}"
    );
    folder.write("shared/never.json", "{}");
    assert!(faults("LOGOUT").await.is_empty());
    assert_eq!(warnings().await, Value::Null);
    folder.write("LOGIN.json", "false");
    assert_eq!(faults("LOGIN").await, ["payload"]);
    fs::remove_file(folder.0.join("LOGIN.json")).unwrap();
    assert!(faults("LOGIN").await.is_empty());
}
