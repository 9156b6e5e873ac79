//! Events in: one, many, and as clients of others send them.

use highwater_web::{
    http::{
        NDJSON, neither_json_nor_lines, nothing,
        openapi::{Answer, Document, Operation, correlated},
    },
    publish_problem::reasons,
};
use serde_json::json;
use warp::http::{HeaderName, header};

use super::{
    super::{
        answers::published,
        fields::MAX_CHARACTERS,
        formats::{cloud_event, segment as segment_calls},
    },
    schemas::{ID, cloud_event as schema_of_cloud_event, cloud_events, example_of_cloud_event, new_event},
};

/// The routes that take events in.
pub(super) fn describe(document: &mut Document) {
    let failures =
        || reasons().map(|(name, summary, reason)| (name, summary, published::failure(ID, reason)));
    let acknowledged = |description| {
        Answer::new(description)
            .always(header::LOCATION)
            .always(HeaderName::from_static("kafka-partition"))
            .header(HeaderName::from_static("kafka-offset"))
            .header(published::SCHEMA_VIOLATIONS)
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
                 taken in the structured mode and, with their attributes in the headers `ce-…`, in the binary mode. With \
                 `EVENT_SCHEMAS`, the JSON Schema of its type judges the payload: a fault has the field `payload` and a JSON \
                 Pointer, as in `payload/items/0/price`. Of a CloudEvent it judges the `data`. The problem of an event that \
                 is refused has its `eventId`, where that can be read.",
            )
            .takes(new_event(["payload", "metadata"]), &posted)
            .takes_also(cloud_event::ONE, schema_of_cloud_event(), &example_of_cloud_event())
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
                "description": "The id to ask for the event with, or to send it again with; of a refused event that which its client gave, where that can be read.",
            },
            "partition": count(),
            "offset": {
                "type": "integer",
                "minimum": 0,
                "description": "Absent in the rare case that its broker has the event and does not say where.",
            },
            "schemaViolations": {
                "type": "integer",
                "minimum": 1,
                "description": "By how many faults the event breaks the schema of its type, where it is taken all the same.",
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
                 a client that does not read them is slowed. A problem that ends a stream is a receipt without a line. \
                 Headers `ce-…` are the attributes of one CloudEvent and not of a batch: with them it is refused, unless it \
                 is of CloudEvents.",
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
            .problem("binaryBatch", "The headers are those of one CloudEvent.", cloud_event::no_binary_batch())
            .problem("oneCloudEvent", "The body is one CloudEvent.", cloud_event::one_elsewhere())
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
    let names =
        segment_calls::CALLS.iter().flat_map(|(long, short)| [*long, *short]).chain(segment_calls::BATCHES);
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
            "properties": { "type": ["object", "null"], "description": "Those of `track`, `page` and `screen`." },
            "messageId": { "type": ["string", "null"], "description": "The eventId follows from it where it is no UUID." },
            "timestamp": { "type": ["string", "null"], "format": "date-time" },
            "batch": { "type": "array", "items": { "type": "object" }, "description": "The calls of a batch, each with its `type`." },
        },
        "additionalProperties": true,
    });
    document.add(
        "/v1/{call}",
        correlated(Operation::new("post", "segmentCall", "Publishes events as clients of Segment send them"))
            .describe(
                "A call becomes an event with the call as its payload, of which a schema judges the `properties`, or the \
                 `traits` of `identify` and `group`. One call is at most 32 KB and a batch 500 KB. A batch whose \
                 events are not all stored is an error; sent again, each is stored once.",
            )
            .path("call", "The call, or a batch.", json!({ "enum": names, "examples": ["track"] }))
            .takes(call, &posted)
            .invalid("userId", "is required, or anonymousId")
            .problem("unknown", "There is no such call.", nothing("/v1/call"))
            .answers(200, Answer::new("Kafka has all events.").header(published::SCHEMA_VIOLATIONS).json(done, &json!({ "success": true })))
            .problems(reasons().map(|(name, summary, reason)| {
                (name, summary, segment_calls::refused(published::failure(ID, reason)))
            })),
    );
}
