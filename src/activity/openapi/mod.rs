//! The OpenAPI document of this service.

mod publishing;
mod schemas;

use highwater_web::{
    dead_letters,
    http::{
        EVENT_STREAM, JSON, NDJSON, Packed, Problem,
        openapi::{self, Answer, Document, Operation, date_time},
        packed,
    },
    operations,
    publish_problem::reasons,
};
use serde_json::{Value, json};
use warp::http::header;

use super::{
    answers::{
        erasure::{self, ErasureReceipt},
        event::not_found,
        overloaded, store_unavailable,
    },
    console::CONSOLE,
    coverage::{Coverage, PARTITIONS},
    event_stream::{self, End, Gap},
    formats::cloud_event,
    paths::PATHS,
    rejections::{KEPT, RecentRejections},
    selection::{ASCENDING, DESCENDING, MAX_LIMIT},
    store_status::StoreHealth,
};
use crate::store::{Positions, Span, StoreError};
pub(super) use schemas::event;
use schemas::{ID, cloud_events, example, example_of_cloud_event};

/// The body of `GET /openapi.json`: [`document`], packed at build time from `docs/openapi`.
pub static DOCUMENT: Packed = packed!("activity.json", JSON);

/// The OpenAPI document of this service.
pub fn document() -> Value {
    let mut document = Document::new(
        "Highwater: activity",
        "Takes user activity events in, carries them through Kafka, stores each once by its id, and answers queries.",
        &PATHS,
    );
    document.tag("Publishing", "Events in. An answer says that Kafka has acknowledged the event.");
    publishing::describe(&mut document);
    document.tag("Events", "Events out, once they are processed, in the order in which they were.");
    find(&mut document);
    list(&mut document);
    follow(&mut document);
    erase(&mut document);
    rejections(&mut document);
    let store = document.schema::<StoreHealth>();
    let held = json!({ "events": 40, "duplicates": 0, "evicted": 0, "conflicts": 0 });
    operations::describe(&mut document, operations::ConsumedTopics::One, &[("store", store, held)]);
    dead_letters::describe(&mut document);
    openapi::describe_files(&mut document);
    let page = Operation::new("get", "getConsole", "The live page of this instance");
    let files = Operation::new("get", "getConsoleFile", "A file of the live page");
    openapi::describe_page(&mut document, &CONSOLE, page, files);
    document.finish()
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

fn follow(document: &mut Document) {
    let text = || json!({ "type": "string" });
    let after_gap = Positions([(0, 5), (1, 3)].into());
    let shown = "retry: 2000\nid: 0-2-1-3\n\n".to_owned()
        + &Gap(Span([(0, 2..5)].into())).message(&after_gap)
        + &format!("id: 0-6-1-3\ndata: {}\n\n", example("payload"))
        + &End::Moved.message();
    let operation = Operation::new("get", "streamEvents", "Events as they are stored")
        .describe(
            "Server-sent events, for EventSource: each event is a message whose data is the event and whose id is a cursor. A \
             client that connects again with `Last-Event-ID`, as EventSource does, goes on after what it had, on any instance. \
             Every 15 seconds at least there is a comment. A message of the type `gap` tells at which positions events are missing \
             that have left the store since. The last message, of the type `end`, says why the stream ends.",
        )
        .header("last-event-id", "The id of the last message that the client had.", text())
        .query("cursor", "Begins there, as an id or a listing's Link says; without it, with what comes now.", text());
    document.add(
        "/events/stream",
        filtered(operation, "")
            .invalid("limit", "is not for a stream: it has no end")
            .answers(
                200,
                Answer::new("The events, for as long as the client listens.")
                    .of(EVENT_STREAM, text(), &shown)
                    .always(header::CACHE_CONTROL)
                    .always(PARTITIONS),
            )
            .problem("storeUnavailable", "The store cannot be read.", unavailable())
            .problem("tooMany", "There are as many streams as there may be.", event_stream::too_many())
            .problem(
                "restoring",
                "This instance has restored no partition yet.",
                event_stream::nothing_restored(),
            ),
    );
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
            .path("erasureId", "The id in the answer to the erasure.", json!({ "type": "string" }))
            .answers(200, Answer::new("Whatever its state.").json(schema, &receipt()).always(PARTITIONS))
            .problem("unknown", "No erasure has such an id.", erasure::unknown())
            .problem("storeUnavailable", "The store cannot be read.", unavailable()),
    );
}

fn rejections(document: &mut Document) {
    let schema = document.schema::<RecentRejections>();
    let errors = json!([{ "field": "userId", "message": "must not be blank" }]);
    let rejection = json!({
        "at": "2026-05-01T10:00:00.000Z", "client": "shop", "correlationId": null, "eventId": ID, "status": 400,
        "detail": "userId must not be blank", "errors": errors,
    });
    document.add(
        "/rejections",
        dead_letters::secured(Operation::new("get", "listRejections", "The latest refused events"))
            .describe(
                "Events that this instance did not take, batches that it could not read or that broke off, and posts that it \
                 refused before it looked at them: 401, 403, 429 and the like. It keeps the last 1000, and 250 such posts \
                 beside them, and forgets them when it stops.",
            )
            .query("limit", "At most so many.", json!({ "type": "integer", "minimum": 1, "maximum": KEPT }))
            .invalid("limit", "must be from 1 to 1000")
            .answers(
                200,
                Answer::new("The newest first.").json(schema, &json!({ "rejections": [rejection], "count": 1 })),
            ),
    );
}

/// The filters of events, without the one that the path fixes.
fn filtered(mut operation: Operation, fixed: &str) -> Operation {
    let filters = [("userId", "Those of this user."), ("eventType", "Those of this type, in any case.")];
    for (name, description) in filters {
        if name != fixed {
            operation = operation.query(name, description, json!({ "type": "string" }));
        }
    }
    operation.query("from", "Those that happened then or later.", date_time()).query(
        "to",
        "Those that happened before.",
        date_time(),
    )
}

/// The parameters of a listing, without the one that its path fixes.
fn selected(operation: Operation, fixed: &str) -> Operation {
    filtered(operation, fixed)
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

fn unavailable() -> Problem {
    store_unavailable(&StoreError::new("it does not answer"))
}
