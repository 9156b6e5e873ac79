//! The OpenAPI documents: the program serves what they describe.
//!
//! After a change of what a route takes or answers, `UPDATE=1 cargo test --test unit openapi` writes the documents
//! anew; they belong to the change.

use std::{collections::BTreeSet, fs};

use highwater::{activity, store::ActivityEvent};
use highwater_commerce::{orders, users};
use highwater_eventlog as eventlog;
use highwater_web::http::{Packed, Paths};
use serde_json::Value;

/// Each service: its document's name, what it is made to be, what it is, and its paths.
fn services() -> [(&'static str, Value, &'static Packed, &'static Paths); 4] {
    [
        ("activity", activity::document(), &activity::DOCUMENT, &activity::PATHS),
        ("users", users::document(), &users::DOCUMENT, &users::PATHS),
        ("orders", orders::document(), &orders::DOCUMENT, &orders::PATHS),
        ("eventlog", eventlog::document(), &eventlog::DOCUMENT, &eventlog::PATHS),
    ]
}

#[test]
fn the_documents_match_the_types_and_bounds_of_the_routes() {
    for (name, document, served, _) in services() {
        let document = format!("{document:#}\n");
        if !is_updated(name, &document) {
            let served = String::from_utf8(served.unpacked().unwrap()).unwrap();
            assert!(served == document, "{name} was packed before");
        }
    }
}

/// Compares the committed document with the expected text, or writes it where UPDATE is set. Returns whether it was
/// written.
fn is_updated(name: &str, wanted: &str) -> bool {
    let file = format!("{}/docs/openapi/{name}.json", env!("CARGO_MANIFEST_DIR"));
    #[expect(clippy::disallowed_methods, reason = "no setting: a switch of these tests alone")]
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        fs::write(file, wanted).unwrap();
    } else {
        let how = "UPDATE=1 cargo test --test unit openapi";
        assert!(fs::read_to_string(file).unwrap() == wanted, "docs/openapi/{name}.json has changed: {how}");
    }
    update
}

#[test]
fn every_path_and_method_is_described_and_none_beyond() {
    for (name, document, _, paths) in services() {
        let served: BTreeSet<(String, String)> = paths
            .all()
            .flat_map(|(path, methods, _)| {
                methods.split(", ").map(|method| ((*path).to_owned(), method.to_lowercase()))
            })
            .filter(|(_, method)| !["head", "options"].contains(&method.as_str()))
            .collect();
        let described = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        });
        assert_eq!(described.collect::<BTreeSet<_>>(), served, "{name}");
    }
}

#[test]
fn an_event_has_the_fields_that_are_described() {
    let event = ActivityEvent::new(uuid::Uuid::nil(), "ann", "LOGIN", chrono::Utc::now(), None);
    let event: Value = serde_json::from_slice(event.json()).unwrap();
    let described = activity::document();
    let schema = &described["paths"]["/events/processed/{eventId}"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    let names = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&event), names(&schema["properties"]));
    let required =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    assert_eq!(names(&event), required.collect());
}
