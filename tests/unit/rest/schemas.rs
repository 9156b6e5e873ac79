//! JSON Schemas that judge payloads: the events that are refused, and those that are taken with faults.

mod folders;

use std::{fs, path::PathBuf, sync::Arc};

use highwater::activity::{SchemaMode, Schemas};
use highwater_web::http::{AdminAuth, BearerToken};
use serde_json::{Value, json};
use uuid::Uuid;

use super::service::{Answer, Service};

const TOKEN: &str = "a-token-of-24-characters";

/// A folder of schemas, which goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, Value)]) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("highwater-schemas-{}", Uuid::new_v4())));
        fs::create_dir(&folder.0).unwrap();
        for (name, schema) in files {
            folder.write(name, &schema.to_string());
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn open(&self, mode: SchemaMode) -> Result<Schemas, String> {
        Schemas::open(self.0.clone(), mode)
    }

    fn service(&self, mode: SchemaMode) -> Service {
        let mut service = Service::new();
        service.schemas = Some(self.open(mode).unwrap());
        service.admin_auth = Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN))));
        service
    }

    /// The pointers of a payload's faults.
    fn pointers(&self, event_type: &str, payload: Value) -> Vec<String> {
        let schemas = self.open(SchemaMode::Enforce).unwrap();
        let faults = schemas.check(event_type, &payload.to_string());
        faults.into_iter().map(|fault| fault.pointer).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn view() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": {
                "type": "object",
                "required": ["sku"],
                "properties": { "price": { "type": "number", "minimum": 0 }, "a/b~c": { "type": "string" } },
            } },
            "at": { "type": "string", "format": "date-time" },
        },
    })
}

fn event(event_type: &str, payload: Value) -> Value {
    json!({ "userId": "ann", "eventType": event_type, "payload": payload })
}

fn bad() -> Value {
    json!({ "items": [{ "sku": "A", "price": "free" }, { "price": -1, "a/b~c": 1 }], "at": "noon" })
}

const POINTERS: [&str; 5] = [
    "payload/at",
    "payload/items/0/price",
    "payload/items/1",
    "payload/items/1/a~1b~0c",
    "payload/items/1/price",
];

fn sorted(mut fields: Vec<String>) -> Vec<String> {
    fields.sort();
    fields
}

fn fields(errors: &Value) -> Vec<String> {
    let errors = errors.as_array().unwrap_or_else(|| panic!("{errors}"));
    sorted(errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect())
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_its_schema_is_refused_with_a_pointer_to_each_fault_on_every_route() {
    let folder = Folder::new(&[("PRODUCT_VIEW.json", view())]);
    let service = folder.service(SchemaMode::Enforce);
    let posted = event("PRODUCT_VIEW", bad());
    for path in ["/events/generate", "/api/events"] {
        let answer = service.post(path, posted.to_string()).await;
        assert_eq!(sorted(answer.faults()), POINTERS, "{path}");
    }
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let mut one = event("PRODUCT_VIEW", json!({ "items": [{ "sku": "A", "price": "free" }] }));
    one["eventId"] = json!(id);
    let answer = service.post("/events/generate", one.to_string()).await.problem(400);
    assert_eq!(answer["eventId"], id);
    assert_eq!(answer["detail"], "payload/items/0/price must be of type number, not string");
    // Without a payload it is an empty one.
    let none = json!({ "userId": "ann", "eventType": "PRODUCT_VIEW" });
    let answer = service.post("/events/generate", none.to_string()).await.problem(400);
    assert_eq!(answer["errors"], json!([{ "field": "payload", "message": "must have items" }]));

    let good = event("PRODUCT_VIEW", json!({ "items": [{ "sku": "A", "price": 1.5 }] }));
    let batch = json!([posted, good, event("LOGIN", bad())]);
    let answer = service.post("/events/batch", batch.to_string()).await.ok(207);
    let statuses: Vec<_> = answer["receipts"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
    assert_eq!(statuses, [400, 201, 201]);
    assert_eq!(fields(&answer["receipts"][0]["errors"]), POINTERS);
    assert_eq!(answer["refused"], 1);
    let lines = format!("{posted}\n{good}\n");
    let request = warp::test::request().method("POST").path("/events/batch").body(lines);
    let answer = service.send(request.header("content-type", "application/x-ndjson")).await;
    let receipts: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&receipts[0]["status"], &receipts[1]["status"]), (&json!(400), &json!(201)));
    assert_eq!(fields(&receipts[0]["errors"]), POINTERS);

    assert_eq!(service.sent().len(), 3);
    let request =
        warp::test::request().path("/rejections").header("authorization", format!("Bearer {TOKEN}"));
    let rejections = service.send(request).await.ok(200);
    assert_eq!(rejections["count"], 6);
    assert_eq!(fields(&rejections["rejections"][0]["errors"]), POINTERS);
    let metrics = service.get("/metrics").await;
    let count = "highwater_events_schema_violations_total{type=\"PRODUCT_VIEW\"} 6\n";
    assert!(metrics.text().contains(count), "{}", metrics.text());
}

#[tokio::test]
async fn in_the_mode_report_such_an_event_is_taken_counted_and_told() {
    let folder = Folder::new(&[("PRODUCT_VIEW.json", view()), ("LOGIN.json", json!(true))]);
    let service = folder.service(SchemaMode::Report);
    let (good, posted) = (event("PRODUCT_VIEW", json!({ "items": [] })), event("PRODUCT_VIEW", bad()));
    for (path, status) in [("/events/generate", 201), ("/api/events", 202)] {
        let answer = service.post(path, posted.to_string()).await;
        answer.ok(status);
        assert_eq!(answer.header("schema-violations"), Some("5"), "{path}");
        let answer = service.post(path, good.to_string()).await;
        answer.ok(status);
        assert_eq!(answer.header("schema-violations"), None, "{path}");
    }
    let answer = service.post("/events/batch", json!([posted, good]).to_string()).await.ok(207);
    assert_eq!(answer["stored"], 2);
    assert_eq!(answer["receipts"][0]["schemaViolations"], 5);
    assert_eq!(answer["receipts"][1]["schemaViolations"], Value::Null);
    assert_eq!(service.sent().len(), 6);
    let metrics = service.get("/metrics").await;
    for (event_type, count) in [("PRODUCT_VIEW", 3), ("LOGIN", 0)] {
        let line = format!("highwater_events_schema_violations_total{{type=\"{event_type}\"}} {count}\n");
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }
    assert_eq!(
        metrics.text().matches("violations_total{").count(),
        2,
        "types without a schema have no label"
    );
}

/// The faults of data in each format that an event of the type PRODUCT_VIEW can come in, or of the data's member where it has
/// one, without its name.
async fn faults_in_each_format(service: &Service, data: &Value) -> Vec<Vec<String>> {
    let post = async |path: &str, headers: &[(&str, &str)], body: &Value| {
        let request = warp::test::request().method("POST").path(path).body(body.to_string());
        service
            .send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
            .await
    };
    let cloud_event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "PRODUCT_VIEW", "subject": "ann", "data": data });
    let binary =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "PRODUCT_VIEW")];
    let binary = [&binary[..], &[("ce-subject", "ann"), ("ce-extra", "x")]].concat();
    let call = |name: &str| json!({ "userId": "ann", "event": "PRODUCT_VIEW", "context": { "ip": "::1" }, name: data });
    let answers = [
        post("/events/generate", &[], &event("PRODUCT_VIEW", data.clone())).await,
        post("/events/generate", &[("content-type", "application/cloudevents+json")], &cloud_event).await,
        post("/events/generate", &binary, data).await,
        post("/v1/track", &[], &call("properties")).await,
    ];
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let batch = post("/events/batch", &batch, &json!([cloud_event])).await.ok(207);
    let errors = &batch["receipts"][0]["errors"];
    let of_batch = if batch["stored"] == 1 { Vec::new() } else { fields(errors) };
    let faults = |answer: Answer| if answer.status() < 300 { Vec::new() } else { sorted(answer.faults()) };
    let mut all: Vec<_> = answers.into_iter().map(faults).chain([of_batch]).collect();
    all[3].iter_mut().for_each(|field| *field = field.replacen("payload/properties", "payload", 1));
    all
}

#[tokio::test]
async fn a_schema_judges_the_same_data_in_every_format() {
    let closed = json!({
        "type": "object", "additionalProperties": false, "minProperties": 1,
        "properties": { "sku": { "type": "string" }, "price": { "type": "number" } },
    });
    let folder = Folder::new(&[
        ("PRODUCT_VIEW.json", closed.clone()),
        ("identify.json", closed.clone()),
        ("group.json", closed.clone()),
        ("page.json", closed),
    ]);
    let service = folder.service(SchemaMode::Enforce);
    let good = json!({ "sku": "A", "price": 1.5 });
    assert_eq!(faults_in_each_format(&service, &good).await, vec![Vec::<String>::new(); 5]);
    let sent = service.sent();
    assert_eq!(sent.len(), 5);
    // What came in as a CloudEvent and went out with an export comes in again.
    for message in sent.iter().skip(1).take(2) {
        let exported = message.value.as_ref().unwrap();
        assert!(exported.windows(13).any(|part| part == b"\"_cloudevent\""));
        service.post("/events/generate", exported).await.ok(201);
    }
    for (data, pointer) in [
        (json!({ "sku": 5 }), "payload/sku"),
        (json!({ "sku": "A", "more": 1 }), "payload"),
        (json!({}), "payload"),
    ] {
        assert_eq!(faults_in_each_format(&service, &data).await, vec![vec![pointer]; 5], "{data}");
    }
    // Data that is no object is a fault of its own in a plain event.
    for data in [json!([1]), json!("x"), json!(7)] {
        assert_eq!(faults_in_each_format(&service, &data).await, vec![vec!["payload"]; 5], "{data}");
    }
    for (call, member) in [("identify", "traits"), ("group", "traits"), ("page", "properties")] {
        let mut call_with = json!({ "userId": "ann", "context": {} });
        let answer = service.post(&format!("/v1/{call}"), call_with.to_string()).await;
        assert_eq!(answer.faults(), [format!("payload/{member}")], "without data it is an empty object");
        call_with[member] = json!({ "sku": "A" });
        service.post(&format!("/v1/{call}"), call_with.to_string()).await.ok(200);
    }
    // Readers would not agree on which of the two counts.
    let twice = r#"{"userId":"ann","event":"PRODUCT_VIEW","properties":{"sku":"A"},"properties":{"sku":5}}"#;
    assert_eq!(service.post("/v1/track", twice).await.faults(), ["properties"]);
}

#[tokio::test]
async fn what_a_plain_event_has_beside_the_member_of_cloud_events_is_judged_all_the_same() {
    let folder =
        Folder::new(&[("PRODUCT_VIEW.json", json!({ "properties": { "sku": { "type": "string" } } }))]);
    let service = folder.service(SchemaMode::Enforce);
    let forged = json!({ "sku": 5, "_cloudevent": { "data": { "sku": "A" } } });
    let answer = service.post("/events/generate", event("PRODUCT_VIEW", forged).to_string()).await;
    assert_eq!(answer.faults(), ["payload/sku"]);
}

#[tokio::test]
async fn faults_of_a_segment_call_that_are_let_pass_are_told_of_the_batch() {
    let bought = json!({ "properties": { "price": { "type": "number" } } });
    let folder = Folder::new(&[("Item%20Bought.json", bought)]);
    let service = folder.service(SchemaMode::Enforce);
    let bought = json!({ "userId": "ann", "event": "Item Bought", "properties": { "price": "free" } });
    let answer = service.post("/v1/track", bought.to_string()).await;
    assert_eq!(answer.faults(), ["payload/properties/price"]);
    assert!(service.sent().is_empty());

    let service = folder.service(SchemaMode::Report);
    let call = |price: Value| json!({ "type": "track", "userId": "ann", "event": "Item Bought", "properties": { "price": price } });
    let batch = json!({ "batch": [call(json!("a")), call(json!(1)), call(json!("b"))] });
    let answer = service.post("/v1/batch", batch.to_string()).await;
    answer.ok(200);
    assert_eq!(answer.header("schema-violations"), Some("2"));
}

#[test]
fn the_faults_of_one_place_are_one_and_all_are_bounded() {
    let folder = Folder::new(&[("A.json", json!({ "additionalProperties": { "type": "string" } }))]);
    let schemas = folder.open(SchemaMode::Enforce).unwrap();
    let many: serde_json::Map<_, _> = (0..100).map(|number| (format!("m{number}"), json!(number))).collect();
    assert_eq!(schemas.check("A", &json!(many).to_string()).len(), 20);
    let folder = Folder::new(&[("A.json", json!({ "additionalProperties": false }))]);
    let schemas = folder.open(SchemaMode::Enforce).unwrap();
    let faults = schemas.check("A", &json!(many).to_string());
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.chars().count() <= 201, "{faults:?}");
    let folder = Folder::new(&[
        ("A.json", json!({ "minLength": 3, "pattern": "^x" })),
        ("B.json", json!({ "anyOf": [{ "type": "string" }, { "required": ["a"] }] })),
    ]);
    let schemas = folder.open(SchemaMode::Enforce).unwrap();
    let [fault] = <[_; 1]>::try_from(schemas.check("A", "\"ab\"")).unwrap();
    assert_eq!(fault.message, "length must be >=3, but got 2 and must match ^x");
    let [fault] = <[_; 1]>::try_from(schemas.check("B", "{}")).unwrap();
    assert_eq!(fault.message, "must be of type string, not object or must have a");
    // A number that is larger than any float.
    assert_eq!(schemas.check("A", "{\"a\":1e999}").len(), 1);
}
