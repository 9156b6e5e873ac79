//! CloudEvents: in by each mode of the HTTP binding, and out in listings.

use chrono::{DateTime, Utc};
use highwater::{activity::record, store::ActivityEvent};
use highwater_kafka::Record;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::service::{Answer, Service};

const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

async fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    let request = warp::test::request().method("POST").path(path).body(body);
    service.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

async fn post_one(service: &Service, event: &Value) -> Answer {
    post(service, "/events/generate", &[("content-type", ONE)], event.to_string()).await
}

/// The only event that was sent to Kafka.
fn sent(service: &Service) -> ActivityEvent {
    let [message] = <[_; 1]>::try_from(service.sent()).unwrap();
    let value = message.value.unwrap();
    let event: Value = serde_json::from_slice(&value).unwrap();
    let text = |name: &str| event[name].as_str().unwrap();
    let time: DateTime<Utc> = text("timestamp").parse().unwrap();
    let json = String::from_utf8(value).unwrap();
    let payload = json.split_once("\"payload\":").unwrap().1.strip_suffix('}').unwrap();
    let payload: &RawValue = serde_json::from_str(payload).unwrap();
    let id = text("eventId").parse().unwrap();
    ActivityEvent::new(id, text("userId"), text("eventType"), time, Some(payload))
}

fn payload(event: &ActivityEvent) -> Value {
    serde_json::from_str(event.payload()).unwrap()
}

/// The listing of a service that has this event alone.
async fn listed(service: &Service, event: ActivityEvent) -> Value {
    service.processed(event).await;
    let request = warp::test::request().path("/events/processed").header("accept", BATCH);
    let answer = service.send(request).await;
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some(BATCH)), "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_structured_event_goes_in_and_comes_out_as_it_was() {
    for data in [
        json!({"data": {"n": 1.0, "deep": {"list": [1, null]}}}),
        json!({"data": {}}),
        json!({"data": [1, 2], "datacontenttype": "application/json"}),
        json!({"data": "<xml/>", "datacontenttype": "text/xml"}),
        json!({"data_base64": "AP8=", "datacontenttype": "application/octet-stream"}),
        json!({}),
    ] {
        let mut event = json!({
            "specversion": "1.0", "id": "A-1", "source": "/shop/1", "type": "LOGIN", "subject": "ann",
            "time": "2026-05-01T10:00:00.000Z", "dataschema": "https://example.org/login",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "attempt": 2, "again": true,
        });
        event.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        let service = Service::new();
        let answer = post_one(&service, &event).await;
        let taken = sent(&service);
        assert_eq!(answer.ok(201)["eventId"], taken.id().to_string());
        assert_eq!((&*taken.user_id(), &*taken.event_type()), ("ann", "LOGIN"));
        if event["data"].is_object() {
            let mut payload = payload(&taken);
            assert!(payload.as_object_mut().unwrap().remove("_cloudevent").is_some());
            assert_eq!(payload, event["data"]);
            assert!(!taken.payload().contains(",,"), "{}", taken.payload());
            event["datacontenttype"] = json!("application/json");
        }
        if event["datacontenttype"] == "application/json" && !event["data"].is_object() {
            // It is the default of data that is JSON.
            event.as_object_mut().unwrap().remove("datacontenttype");
        }
        assert_eq!(listed(&service, taken).await, json!([event]));
    }
}

#[tokio::test]
async fn a_binary_event_has_its_attributes_in_headers_and_its_data_in_the_body() {
    let service = Service::new();
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", ID),
        ("ce-source", "/shop"),
        ("ce-type", "LOGIN"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-time", "2026-05-01T12:00:00+02:00"),
        ("ce-comexampleextension1", "\"with \\\"quotes\\\"\""),
    ];
    let with = |content_type| [&attributes[..], &[("content-type", content_type)]].concat();
    let answer = post(&service, "/events/generate", &with("application/json"), " {\"n\":1.0} ").await;
    assert_eq!(answer.ok(201)["eventId"], ID);
    let event = sent(&service);
    assert_eq!(&*event.user_id(), "Euro € 😀");
    assert_eq!(event.timestamp_millis(), 1_777_629_600_000);
    let kept = json!({"source": "/shop", "comexampleextension1": "with \"quotes\""});
    assert_eq!(payload(&event), json!({"n": 1.0, "_cloudevent": kept}));
    assert!(event.payload().starts_with("{\"n\":1.0,"), "numbers stay as they are");

    let request = warp::test::request().method("POST").path("/events/generate");
    let request = attributes.iter().fold(request, |request, (name, value)| match *name {
        // Python's SDK encodes nothing.
        "ce-subject" => request.header(*name, &b"Jos\xe9"[..]),
        name => request.header(name, *value),
    });
    service.send(request.body("{}")).await.ok(201);
    assert_eq!(&*sent(&service).user_id(), "José");

    post(&service, "/events/generate", &with("text/plain"), "no JSON").await.ok(201);
    let kept = payload(&sent(&service))["_cloudevent"].take();
    assert_eq!((&kept["data"], &kept["datacontenttype"]), (&json!("no JSON"), &json!("text/plain")));
    post(&service, "/events/generate", &with("image/x"), [0, 255]).await.ok(201);
    assert_eq!(payload(&sent(&service))["_cloudevent"]["data_base64"], "AP8=");
    post(&service, "/events/generate", &attributes, "").await.ok(201);
    assert_eq!(payload(&sent(&service))["_cloudevent"].get("data"), None);
    post(&service, "/events/generate", &with("application/json"), "{").await.problem(400);
    let data = [&attributes[..], &[("ce-data", "x")]].concat();
    assert_eq!(post(&service, "/events/generate", &data, "[1]").await.faults(), ["data"]);
    assert_eq!(post(&service, "/events/generate", &attributes[..2], "{}").await.faults().len(), 3);
    assert_eq!(service.sent().len(), 0);
}

#[tokio::test]
async fn a_batch_of_cloud_events_has_a_receipt_for_each() {
    let service = Service::new();
    let event = |id: &str, subject: &str| json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "LOGIN", "subject": subject});
    let body = json!([event("1", "ann"), event("2", ""), event("1", "ann"), 5]).to_string();
    let answer = post(&service, "/events/batch", &[("content-type", BATCH)], body).await.ok(207);
    let statuses: Vec<_> =
        answer["receipts"].as_array().unwrap().iter().map(|receipt| &receipt["status"]).collect();
    assert_eq!(statuses, [201, 400, 201, 400]);
    assert_eq!(answer["receipts"][1]["errors"][0]["field"], "subject");
    let id_of_second = post_one(&Service::new(), &event("2", "ann")).await.ok(201)["eventId"].take();
    assert_eq!(answer["receipts"][1]["eventId"], id_of_second, "the id that it would have had");
    // One source and one id are one event.
    assert_eq!(answer["receipts"][0]["eventId"], answer["receipts"][2]["eventId"]);
    let id = answer["receipts"][0]["eventId"].as_str().unwrap().parse::<Uuid>().unwrap();
    assert_eq!(id.get_version_num(), 5);

    let mut other = event("1", "ann");
    other["source"] = json!("/other");
    assert_ne!(post_one(&Service::new(), &other).await.ok(201)["eventId"], id.to_string());
    let parameter = format!("{BATCH}; charset=utf-8");
    post(&service, "/events/generate", &[("content-type", &parameter)], "[]").await.problem(415);
}

#[tokio::test]
async fn a_batch_whose_headers_are_those_of_one_event_is_refused_and_says_where_that_goes() {
    let service = Service::new();
    let event = r#"{"userId":"ann","eventType":"LOGIN"}"#;
    let array = format!("[{event}]");
    let all = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "LOGIN")];
    for headers in [&all[..], &all[..1], &all[1..2]] {
        for (content_type, body) in [("application/json", &*array), ("application/x-ndjson", event)] {
            let headers = [headers, &[("content-type", content_type)]].concat();
            let problem = post(&service, "/events/batch", &headers, body).await.problem(400);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("POST /events/generate") && detail.contains(BATCH), "{detail}");
        }
    }
    let one = post(&service, "/events/batch", &[("content-type", ONE)], &array).await.problem(415);
    assert!(one["detail"].as_str().unwrap().contains("POST /events/generate"), "{one}");
    assert_eq!(service.sent().len(), 0);
    // What the body says of itself counts: a gateway may repeat an event's attributes in headers.
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "LOGIN", "subject": "ann"});
    let headers = [&all[..], &[("content-type", BATCH)]].concat();
    let answer = post(&service, "/events/batch", &headers, json!([event]).to_string()).await.ok(207);
    assert_eq!(answer["stored"], 1);
}

#[tokio::test]
async fn data_whose_names_have_escapes_that_stand_for_nothing_come_out_as_they_went_in() {
    let service = Service::new();
    let data = r#"{"\ud800":1,"\u0061":2}"#;
    let event = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"LOGIN","subject":"ann","data":{data}}}"#
    );
    post(&service, "/events/generate", &[("content-type", ONE)], event).await.ok(201);
    let record = Record {
        partition: 0,
        offset: 0,
        leader_epoch: None,
        timestamp: DateTime::UNIX_EPOCH,
        key: None,
        value: service.sent().remove(0).value.map(Into::into),
        headers: Default::default(),
    };
    service.processed(record::parse(&record).unwrap()).await;
    let listing = warp::test::request().path("/events/processed").header("accept", BATCH);
    let listing = service.send(listing).await;
    assert!(listing.text().ends_with(&format!(r#","data":{data}}}]"#)), "{}", listing.text());
    assert!(listing.text().contains(r#""source":"/s""#), "{}", listing.text());
}

#[tokio::test]
async fn an_event_whose_payload_would_nest_deeper_than_a_record_may_is_refused() {
    let mut service = Service::new();
    service.limits.max_depth = 100;
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let event = |levels| {
        format!(
            r#"{{"specversion":"1.0","id":"{ID}","source":"/s","type":"LOGIN","subject":"ann","data":{}}}"#,
            nested(levels)
        )
    };
    // The event, its payload and the member that keeps such data are three levels.
    post(&service, "/events/generate", &[("content-type", ONE)], event(97)).await.ok(201);
    let refused = post(&service, "/events/generate", &[("content-type", ONE)], event(98)).await.problem(400);
    assert_eq!(refused["eventId"], ID);
    let call = |levels| format!(r#"{{"userId":"ann","event":"x","properties":{}}}"#, nested(levels));
    service.post("/v1/track", call(98)).await.ok(200);
    service.post("/v1/track", call(99)).await.problem(400);
    for message in service.sent() {
        let value: Value = serde_json::from_slice(&message.value.unwrap()).unwrap();
        assert!(value["payload"].is_object());
    }
}

#[tokio::test]
async fn faults_of_a_cloud_event_are_named_by_its_attributes() {
    let service = Service::new();
    let sound = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "LOGIN", "subject": "ann"});
    for (name, value, faults) in [
        ("specversion", json!("0.3"), vec!["specversion"]),
        ("id", json!(""), vec!["id"]),
        ("id", json!(5), vec!["id"]),
        ("source", json!(null), vec!["source"]),
        ("type", json!("com.example.unknown"), vec!["type"]),
        ("subject", json!(null), vec!["subject"]),
        ("time", json!("yesterday"), vec!["time"]),
        ("camelCase", json!("x"), vec!["camelCase"]),
        ("nested", json!({"a": 1}), vec!["nested"]),
        ("data_base64", json!(5), vec!["data"]),
        ("data", json!({"_cloudevent": 1}), vec!["data"]),
        ("data", json!({"a": {}, "_cloudevent": {}}), vec!["data"]),
    ] {
        let mut event = sound.clone();
        event[name] = value;
        assert_eq!(post_one(&service, &event).await.faults(), faults, "{event}");
    }
    let twice = sound.to_string().replacen('{', "{\"data\":1,\"data_base64\":\"AA==\",\"id\":\"2\",", 1);
    let answer = post(&service, "/events/generate", &[("content-type", ONE)], twice).await;
    assert_eq!(answer.faults(), ["id", "data"]);
    assert_eq!(answer.json()["eventId"], Value::Null, "it has two");
    let escaped = sound.to_string().replacen('{', r#"{"data":{"\ud800":1,"\u005fcloudevent":1},"#, 1);
    assert_eq!(
        post(&service, "/events/generate", &[("content-type", ONE)], escaped).await.faults(),
        ["data"]
    );
    for body in ["", "[]", "5", "{", "{}x"] {
        post(&service, "/events/generate", &[("content-type", ONE)], body).await.problem(400);
    }
    assert_eq!(service.sent().len(), 0);
}

#[tokio::test]
async fn an_event_of_another_format_comes_out_as_a_cloud_event_too() {
    let service = Service::new();
    let body = format!(
        "{{\"userId\":\"a\\\"b\",\"eventType\":\"LOGIN\",\"eventId\":\"{ID}\",\"payload\":{{\"_cloudevent\":7}}}}"
    );
    service.post("/events/generate", body).await.ok(201);
    let mut listed = listed(&service, sent(&service)).await;
    assert!(listed[0]["time"].take().is_string());
    assert_eq!(
        listed,
        json!([{
            "specversion": "1.0", "id": ID, "source": "/highwater", "type": "LOGIN", "subject": "a\"b", "time": null,
            "datacontenttype": "application/json", "data": {"_cloudevent": 7},
        }])
    );
}
