//! The OpenAPI document of this service.

use highwater_web::{
    dead_letters,
    http::{
        JSON, NDJSON, Packed, neither_json_nor_lines,
        openapi::{self, Answer, Document, Operation, correlated, date_time, timestamp},
        packed,
    },
    invisible::visible,
    operations,
    publish_problem::reasons,
};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};
use warp::http::{HeaderName, header};

use super::{
    answers::{
        erasure::{self, ErasureReceipt},
        event::not_found,
        overloaded, published, store_unavailable,
    },
    console::CONSOLE,
    coverage::{Coverage, PARTITIONS},
    formats::{cloud_event, segment},
    paths::PATHS,
    rejections::{KEPT, RecentRejections},
    request::MAX_CHARACTERS,
    selection::{ASCENDING, DESCENDING, MAX_LIMIT},
    store_status::StoreHealth,
};
use crate::store::StoreError;

/// The body of `GET /openapi.json`: [`document`], packed at build time from `docs/openapi`.
pub static DOCUMENT: Packed = packed!("activity.json", JSON);

const ID: Uuid = uuid!("0190163d-8694-739b-aea5-966c26f8ad91");

/// The OpenAPI document of this service.
pub fn document() -> Value {
    let mut document = Document::new(
        "Highwater: activity",
        "Takes user activity events in, carries them through Kafka, stores each exactly once, and answers queries.",
        &PATHS,
    );
    document.tag("Publishing", "Events in. An answer says that Kafka has acknowledged the event.");
    publish(&mut document);
    document.tag("Events", "Events out, once they are processed, in the order in which they were.");
    find(&mut document);
    list(&mut document);
    erase(&mut document);
    rejections(&mut document);
    let store = document.schema::<StoreHealth>();
    let held = json!({ "events": 40, "duplicates": 0, "evicted": 0, "conflicts": 0 });
    operations::describe(&mut document, operations::Reads::OneTopic, &[("store", store, held)]);
    dead_letters::describe(&mut document);
    openapi::describe_files(&mut document);
    let page = Operation::new("get", "getConsole", "The live page of this instance");
    let files = Operation::new("get", "getConsoleFile", "A file of the live page");
    openapi::describe_page(&mut document, &CONSOLE, page, files);
    document.finish()
}

fn publish(document: &mut Document) {
    let failures =
        || reasons().map(|(name, summary, reason)| (name, summary, published::failure(ID, reason)));
    let acknowledged = |description| {
        Answer::new(description)
            .always(header::LOCATION)
            .always(HeaderName::from_static("kafka-partition"))
            .header(HeaderName::from_static("kafka-offset"))
    };
    let event_id = json!({ "type": "string", "format": "uuid" });
    let created = json!({
        "type": "object",
        "required": ["eventId"],
        "additionalProperties": false,
        "properties": { "eventId": event_id },
    });
    let posted = json!({ "userId": "ann", "eventType": "PRODUCT_VIEW", "payload": { "sku": "A-1" } });
    document.add(
        "/events/generate",
        correlated(Operation::new("post", "generateEvent", "Publishes an event of a known type"))
            .describe(
                "The type is one of `EVENT_TYPES`, which are LOGIN, LOGOUT and PRODUCT_VIEW where nothing else is set. \
                 A client that gives the eventId itself can post the event again: it is stored once. CloudEvents 1.0 are \
                 taken in the structured mode and, with their attributes in the headers `ce-…`, in the binary mode.",
            )
            .takes(new_event(["payload", "metadata"]), &posted)
            .takes_also(cloud_event::ONE, cloud_event(), &example_of_cloud_event())
            .invalid("eventType", "must be one of LOGIN, LOGOUT, PRODUCT_VIEW")
            .problem("batchOfCloudEvents", "The body is a batch of CloudEvents.", cloud_event::batch_elsewhere())
            .answers(201, acknowledged("Kafka has the event.").json(created, &json!({ "eventId": ID })))
            .problems(failures()),
    );
    batch(document);
    segment(document);
    let message = "Event published successfully";
    let accepted = json!({
        "type": "object",
        "required": ["message", "eventId"],
        "additionalProperties": false,
        "properties": { "message": { "const": message }, "eventId": event_id },
    });
    let posted = json!({ "userId": "ann", "eventType": "CART_ADD", "metadata": { "sku": "A-1" } });
    document.add(
        "/api/events",
        correlated(Operation::new("post", "createEvent", "Publishes an event of any type"))
            .takes(new_event(["metadata", "payload"]), &posted)
            .invalid("userId", "must not be blank")
            .answers(
                202,
                acknowledged("Kafka has the event.")
                    .json(accepted, &json!({ "message": message, "eventId": ID })),
            )
            .problems(failures()),
    );
}

fn batch(document: &mut Document) {
    let event = json!({ "userId": "ann", "eventType": "PRODUCT_VIEW", "payload": { "sku": "A-1" } });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let receipt = json!({
        "type": "object",
        "description": "Of an event that is stored; or a problem, as a request of its own would be answered.",
        "required": ["status"],
        "properties": {
            "index": { "type": "integer", "minimum": 0, "description": "The place of the event in the array." },
            "line": { "type": "integer", "minimum": 1, "description": "The line of the event." },
            "status": {
                "type": "integer",
                "description": "201 where Kafka has the event, else the status of the problem.",
            },
            "eventId": {
                "type": "string",
                "format": "uuid",
                "description": "The id to ask for the event with, or to send it again with.",
            },
            "partition": count(),
            "offset": {
                "type": "integer",
                "minimum": 0,
                "description": "Absent in the rare case that its broker has the event and does not say where.",
            },
            "possiblyWritten": {
                "type": "boolean",
                "description": "Whether it may be written although Kafka did not acknowledge it.",
            },
            "retryAfter": {
                "type": "integer",
                "minimum": 0,
                "description": "How soon to send it again, in seconds.",
            },
        },
    });
    let answer = json!({
        "type": "object",
        "required": ["receipts", "events", "stored", "refused", "notWritten", "possiblyWritten"],
        "additionalProperties": false,
        "properties": {
            "receipts": { "type": "array", "items": receipt },
            "events": count(),
            "stored": count(),
            "refused": count(),
            "notWritten": count(),
            "possiblyWritten": count(),
        },
    });
    let stored = json!({ "index": 0, "status": 201, "eventId": ID, "partition": 2, "offset": 41 });
    let shown = json!({
        "receipts": [stored], "events": 1, "stored": 1, "refused": 0, "notWritten": 0, "possiblyWritten": 0,
    });
    let line = json!({ "line": 1, "status": 201, "eventId": ID, "partition": 2, "offset": 41 });
    let text = || json!({ "type": "string" });
    document.add(
        "/events/batch",
        correlated(Operation::new("post", "generateEvents", "Publishes many events of known types"))
            .describe(
                "Each event has a receipt of its own, in the order of the events; one that is refused says nothing \
                 about the others. Events of one user keep their order. A JSON array is bounded by `BATCH_MAX_EVENTS` \
                 and `MAX_BATCH_BYTES`. NDJSON is a stream without a bound: receipts come while lines still go in, and \
                 a client that does not read them is slowed. A problem that ends a stream is a receipt without a line.",
            )
            .takes(json!({ "type": "array", "items": new_event(["payload", "metadata"]) }), &json!([event]))
            .takes_also(NDJSON, text(), &format!("{event}\n"))
            .takes_also(cloud_event::BATCH, cloud_events(), &json!([example_of_cloud_event()]))
            .query(
                "receipts",
                "`errors` leaves out the receipts of stored events, and ends NDJSON with a line of sums.",
                json!({ "enum": ["all", "errors"], "default": "all" }),
            )
            .invalid("receipts", "must be all or errors")
            .problem("neitherJsonNorLines", "The body is neither JSON nor NDJSON.", neither_json_nor_lines())
            .answers(
                207,
                Answer::new("The receipts, and the sums.").json(answer, &shown).of(
                    NDJSON,
                    text(),
                    &format!("{line}\n"),
                ),
            ),
    );
}

fn segment(document: &mut Document) {
    let names = segment::CALLS.iter().flat_map(|(long, short)| [*long, *short]).chain(segment::BATCHES);
    let names: Vec<_> = names.collect();
    let done =
        json!({ "type": "object", "required": ["success"], "properties": { "success": { "const": true } } });
    let posted =
        json!({ "userId": "ann", "event": "Item Bought", "messageId": ID, "properties": { "sku": "A-1" } });
    let bounded = || json!({ "type": ["string", "null"], "maxLength": MAX_CHARACTERS });
    let call = json!({
        "type": "object",
        "properties": {
            "userId": bounded(),
            "anonymousId": bounded(),
            "event": { "type": ["string", "null"], "description": "The eventType of `track`; that of the others is their name." },
            "messageId": { "type": ["string", "null"], "description": "The eventId follows from it where it is no UUID." },
            "timestamp": { "type": ["string", "null"], "format": "date-time" },
            "batch": { "type": "array", "items": { "type": "object" }, "description": "The calls of a batch, each with its `type`." },
        },
    });
    document.add(
        "/v1/{call}",
        correlated(Operation::new("post", "segmentCall", "Publishes events as clients of Segment send them"))
            .describe(
                "A call becomes an event with the call as its payload. One call is at most 32 KB and a batch 500 KB. A \
                 batch whose events are not all stored is an error; sent again, each is stored once.",
            )
            .path("call", "The call, or a batch.", json!({ "enum": names, "examples": ["track"] }))
            .takes(call, &posted)
            .invalid("userId", "is required, or anonymousId")
            .answers(200, Answer::new("Kafka has all events.").json(done, &json!({ "success": true })))
            .problems(reasons().map(|(name, summary, reason)| {
                (name, summary, segment::refused(published::failure(ID, reason)))
            })),
    );
}

fn find(document: &mut Document) {
    let wait = json!({ "type": "string", "pattern": "^[0-9]+(ms|s)?$", "examples": ["2s"] });
    document.add(
        "/events/processed/{eventId}",
        Operation::new("get", "findEvent", "One event")
            .path("eventId", "The event's id.", openapi::uuid(ID))
            .query("wait", "Waits for it to be processed, at most 30 seconds: `2s`, `500ms`, `2`.", wait)
            .invalid("eventId", "must be a UUID")
            .answers(200, Answer::new("The event.").json(event("payload"), &example("payload")))
            .problem(
                "unknown",
                "It is not processed yet, is another instance's, was dropped, or never was.",
                not_found(ID, &Coverage::default()),
            )
            .problem("storeUnavailable", "The store cannot be read.", unavailable()),
    );
}

fn list(document: &mut Document) {
    let stored = json!({ "type": "array", "items": event("payload") });
    let answer = pages("The events.", "payload").json(stored, &json!([example("payload")]));
    let operation = Operation::new("get", "listProcessed", "Events").answers(200, answer);
    document.add("/events/processed", selected(operation, ""));

    let operation = Operation::new("get", "listEvents", "Events, and how many they are");
    document.add("/api/events", selected(operation.answers(200, envelope("")), ""));
    let text = || json!({ "type": "string", "minLength": 1 });
    let operation = Operation::new("get", "listEventsOfUser", "A user's events")
        .path("userId", "The user.", text())
        .answers(200, envelope("userId"));
    document.add("/api/events/user/{userId}", selected(operation, "userId"));
    let operation = Operation::new("get", "listEventsOfType", "Events of one type")
        .path("eventType", "The type, in any case.", text())
        .answers(200, envelope("eventType"));
    document.add("/api/events/type/{eventType}", selected(operation, "eventType"));
}

fn erase(document: &mut Document) {
    let schema = document.schema::<ErasureReceipt>();
    let receipt = || ErasureReceipt::written([(0, 31), (1, 7)]);
    let failures = reasons().map(|(name, summary, reason)| (name, summary, erasure::failure(reason)));
    document.add(
        "/api/events/user/{userId}",
        dead_letters::secured(Operation::new("delete", "eraseEventsOfUser", "Erases a user's events"))
            .describe(
                "What Kafka had of the user before is erased from the store, and neither a restart nor a redrive brings it \
                 back. Events that are posted later are stored, unless one has the id of an erased event. The records stay in \
                 Kafka as long as the topic keeps them.",
            )
            .path("userId", "The user.", json!({ "type": "string", "minLength": 1 }))
            .invalid("userId", "is not percent-encoded UTF-8")
            .answers(
                202,
                Answer::new("Kafka has the erasure in each partition; Location says how far it is.")
                    .json(schema.clone(), &receipt())
                    .always(header::LOCATION),
            )
            .problems(failures),
    );
    document.add(
        "/api/events/erasures/{erasureId}",
        dead_letters::secured(Operation::new("get", "findErasure", "How far an erasure is"))
            .path("erasureId", "What the answer to the erasure says.", json!({ "type": "string" }))
            .answers(200, Answer::new("Whatever its state.").json(schema, &receipt()).always(PARTITIONS))
            .problem("unknown", "No erasure has such an id.", erasure::unknown())
            .problem("storeUnavailable", "The store cannot be read.", unavailable()),
    );
}

fn rejections(document: &mut Document) {
    let schema = document.schema::<RecentRejections>();
    let errors = json!([{ "field": "userId", "message": "must not be blank" }]);
    let rejection = json!({
        "at": "2026-05-01T10:00:00.000Z", "client": "shop", "correlationId": null, "status": 400,
        "detail": "userId must not be blank", "errors": errors,
    });
    document.add(
        "/rejections",
        dead_letters::secured(Operation::new("get", "listRejections", "What was refused of late"))
            .describe(
                "Events that this instance did not take, and why. It keeps the last 1000, and forgets them when it stops.",
            )
            .query("limit", "At most so many.", json!({ "type": "integer", "minimum": 1, "maximum": KEPT }))
            .invalid("limit", "must be from 1 to 1000")
            .answers(
                200,
                Answer::new("The newest first.").json(schema, &json!({ "rejections": [rejection], "count": 1 })),
            ),
    );
}

/// The parameters of a listing, without the one that its path fixes.
fn selected(mut operation: Operation, fixed: &str) -> Operation {
    let filters = [("userId", "Those of this user."), ("eventType", "Those of this type, in any case.")];
    for (name, description) in filters {
        if name != fixed {
            operation = operation.query(name, description, json!({ "type": "string" }));
        }
    }
    operation
        .query("from", "Those that happened then or later.", date_time())
        .query("to", "Those that happened before.", date_time())
        .query(
            "limit",
            "A page of at most so many, or of 8 MiB; without it, all of them.",
            json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT }),
        )
        .query(
            "order",
            "That of processing, which is `asc`, or the newest first.",
            json!({ "enum": [ASCENDING, DESCENDING], "default": ASCENDING }),
        )
        .query(
            "cursor",
            "Where the page before ended, as its Link says. In the other order it goes back from there.",
            json!({ "type": "string" }),
        )
        .invalid("limit", "must be from 1 to 10000")
        .problem("storeUnavailable", "The store cannot be read.", unavailable())
        .problem("overloaded", "Too many listings are under way.", overloaded())
}

/// The answer of a listing, also as NDJSON.
fn pages(description: &'static str, payload: &str) -> Answer {
    Answer::new(description)
        .of(NDJSON, json!({ "type": "string" }), &format!("{}\n", example(payload)))
        .of(cloud_event::BATCH, cloud_events(), &json!([example_of_cloud_event()]))
        .header(header::LINK)
        .always(header::VARY)
        .always(PARTITIONS)
}

fn envelope(fixed: &str) -> Answer {
    let mut schema = json!({
        "type": "object",
        "required": ["events", "count"],
        "additionalProperties": false,
        "properties": {
            "events": { "type": "array", "items": event("metadata") },
            "count": { "type": "integer", "minimum": 0 },
        },
    });
    let mut shown = json!({ "events": [example("metadata")], "count": 1 });
    if !fixed.is_empty() {
        schema["properties"][fixed] = json!({ "type": "string", "description": "As it was asked for." });
        shown[fixed] = example("metadata")[fixed].clone();
    }
    pages("The events, and how many they are.", "metadata").json(schema, &shown)
}

/// A pattern for text that is not blank.
const VISIBLE: &str = visible!(r"[^\u0000-\u001f\u007f-\u009f");

/// The schema of a posted event, whose payload has either name.
fn new_event([payload, other]: [&str; 2]) -> Value {
    let bounded =
        || json!({ "type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": VISIBLE });
    let is_given = json!({ "type": "object" });
    json!({
        "type": "object",
        "required": ["userId", "eventType"],
        "properties": {
            "userId": bounded(),
            "eventType": bounded(),
            payload: { "type": ["object", "null"], "description": "Anything; empty where it is absent." },
            other: { "type": ["object", "null"], "description": format!("Another name of `{payload}`; not both.") },
            "eventId": { "type": ["string", "null"], "format": "uuid", "description": "Made where it is absent." },
            "timestamp": { "type": ["string", "null"], "format": "date-time", "description": "Now, where it is absent." },
        },
        "not": { "required": [payload, other], "properties": { payload: is_given, other: is_given } },
    })
}

/// The schema of a stored event.
pub(super) fn event(payload: &str) -> Value {
    json!({
        "type": "object",
        "required": ["eventId", "userId", "eventType", "timestamp", payload],
        "additionalProperties": false,
        "properties": {
            "eventId": { "type": "string", "format": "uuid" },
            "userId": { "type": "string" },
            "eventType": { "type": "string" },
            "timestamp": timestamp(&mut Default::default()),
            payload: { "type": "object", "description": "As it was posted." },
        },
    })
}

/// The schema of a CloudEvent.
fn cloud_event() -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1, "description": "The eventId follows from it where it is no UUID." },
            "source": text(),
            "type": { "type": "string", "minLength": 1, "description": "The eventType." },
            "subject": { "type": "string", "minLength": 1, "description": "The userId." },
            "time": { "type": ["string", "null"], "format": "date-time", "description": "The timestamp." },
            "data": { "description": "The payload." },
        },
    })
}

fn cloud_events() -> Value {
    json!({ "type": "array", "items": cloud_event() })
}

fn example_of_cloud_event() -> Value {
    json!({
        "specversion": "1.0", "id": ID, "source": "/shop", "type": "PRODUCT_VIEW", "subject": "ann",
        "time": "2026-05-01T10:00:00.000Z", "datacontenttype": "application/json", "data": { "sku": "A-1" },
    })
}

fn example(payload: &str) -> Value {
    json!({ "eventId": ID, "userId": "ann", "eventType": "PRODUCT_VIEW", "timestamp": "2026-05-01T10:00:00.000Z",
        payload: { "sku": "A-1" } })
}

fn unavailable() -> highwater_web::http::Problem {
    store_unavailable(&StoreError("it does not answer".to_owned()))
}
