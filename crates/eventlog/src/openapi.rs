//! Describes the routes of this service.

use chrono::DateTime;
use highwater_web::{
    fields::VISIBLE_LINE,
    http::{
        JSON, Packed, Problem,
        openapi::{self, Answer, Document, Operation, correlated, date_time},
        packed,
    },
    idempotency::Idempotency,
    operations,
};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};
use warp::http::header;

use super::{
    DatabaseError, Details, EventBody, LONGEST_TYPE, LONGEST_USER, LoggedEvent, MOST, Metadata,
    NewLoggedEvent, PATHS,
    answer::RecordedBody,
    database_health::{Database, DatabaseState, Databases, reason},
    listing::{unknown, unread},
    recording::{conflicting, too_large, two_ids, unrecorded},
    request::USER,
};

/// The answer of `GET /openapi.json`: [`document`], as `docs/openapi` has it.
pub static DOCUMENT: Packed = packed!("eventlog.json", JSON);

const ID: Uuid = uuid!("0190163d-8694-739b-aea5-966c26f8ad91");
/// The largest body with default settings.
const LARGEST_BODY: usize = 1 << 20;

const CONVENTIONS: &str = "\
`X-Correlation-Id` (1 to 128 visible ASCII characters) goes along with a request into its answer; a request without \
one gets one.

Pages of another site may ask where the service's settings allow that site: preflights are answered, and of an \
answer they may read `Link`, `Location`, `Retry-After` and `X-Correlation-Id`.

Settings of the service bound the size and the depth of a body, the time in which the databases answer, and the time of a \
request.

As a Lambda function behind API Gateway the service has the same routes. What concerns connections is the gateway's there \
(408, 503 for too many, the time of a request). It hands paths over decoded: a `%2F` or `%3F` in one is a `/` or `?` \
there, which no userId has.";

/// The document of this service.
pub fn document() -> Value {
    let mut document = Document::new(
        "Highwater: event log",
        "Records users' events, their metadata in SQL Server and their details in DynamoDB, and lists them, joined.",
        &PATHS,
    )
    .with_conventions(CONVENTIONS, LARGEST_BODY);
    document.tag("Events", "An event exists once it is answered 201, and from then on every listing has it.");
    record(&mut document);
    list(&mut document);
    let databases = document.schema::<Databases>();
    let up = || DatabaseState { connected: true, error: None };
    let away =
        DatabaseState { connected: false, error: Some(reason(Database::Details, &DatabaseError::Late)) };
    let held = json!(Databases { sql_server: up(), dynamo_db: away });
    operations::describe(
        &mut document,
        operations::ConsumedTopics::NoKafka,
        &[("databases", databases, held)],
    );
    openapi::describe_files(&mut document);
    document.finish()
}

fn record(document: &mut Document) {
    let new = document.schema::<NewLoggedEvent>();
    let recorded = document.schema::<RecordedBody>();
    let posted = json!({
        "userId": "ann", "eventType": "PRODUCT_VIEW", "timestamp": "2026-05-01T10:00:00Z",
        "details": { "sku": "A-1", "price": 12.5, "tags": ["new", { "score": 1 }] },
    });
    let event = event();
    let refused = |database, error| unrecorded(database, &error, &event);
    let operation = Operation::new("post", "recordEvent", "Records an event")
        .describe(
            "The event's id is the `eventId` that is posted; without one it follows from the userId and the \
             `Idempotency-Key`, and without a key it is random. The same event under the same id is stored once and \
             gets the same answer each time; without a timestamp it keeps that of the first time. Where both `eventId` and \
             `Idempotency-Key` are given, the id must be the one that the key stands for, as a 503 tells it.",
        )
        .takes(new, &posted)
        .invalid("eventType", "is required")
        .answers(
            201,
            Answer::new("The event is recorded, or was by the same request before.")
                .json(recorded, &RecordedBody { event_id: ID })
                .always(header::LOCATION),
        )
        .problems([
            ("conflicting", "Another event has the eventId.", conflicting(ID)),
            ("twoIds", "The eventId is not the one that the Idempotency-Key stands for.", two_ids()),
            ("tooLargeItem", "The event is larger than DynamoDB keeps.", too_large()),
            (
                "throttled",
                "A database has too much to do, for as long as it was asked.",
                refused(Database::Details, throttled()),
            ),
            (
                "detailsAway",
                "DynamoDB cannot be used.",
                refused(Database::Details, DatabaseError::Away(String::new())),
            ),
            (
                "metadataAway",
                "SQL Server cannot be used: the details are put, and a sweep completes the event.",
                refused(Database::Metadata, DatabaseError::Away(String::new())),
            ),
            ("late", "A database does not answer in time.", refused(Database::Details, DatabaseError::Late)),
        ]);
    document.add("/events", Idempotency::describe(correlated(operation)));
}

fn list(document: &mut Document) {
    let schema = document.schema::<EventBody<'_>>();
    let LoggedEvent { metadata, details, .. } = event();
    let shown = EventBody::of(&metadata, details.as_ref());
    let list = of_user(Operation::new("get", "listEvents", "A user's events, the newest first"))
        .describe(
            "Without `limit` it is all of them up to 5 MB; then, as with `limit`, `Link` names the next page. A user \
             that nobody knows has none. An event whose details are lost has `detailsMissing` in their place.",
        )
        .query("eventType", "Those of exactly this type.", text(LONGEST_TYPE, VISIBLE_LINE))
        .query("from", "Those that happened then or later.", date_time())
        .query("to", "Those that happened before.", date_time())
        .query(
            "limit",
            "A page of at most so many.",
            json!({ "type": "integer", "minimum": 1, "maximum": MOST }),
        )
        .query("cursor", "Where the page before ended, as its Link says.", json!({ "type": "string" }))
        .invalid("limit", "must be from 1 to 500")
        .answers(
            200,
            Answer::new("A page of them, or all.")
                .json(json!({ "type": "array", "items": schema }), &[&shown])
                .header(header::LINK),
        );
    document.add("/events/{userId}", list);
    let find = of_user(Operation::new("get", "findEvent", "One event of a user"))
        .path("eventId", "The event's id.", openapi::uuid(ID))
        .invalid("eventId", "must be a UUID")
        .answers(200, Answer::new("The event.").json(schema, &shown))
        .problem("unknown", "The user has no such event.", unknown(&metadata.user_id, ID));
    document.add("/events/{userId}/{eventId}", find);
}

fn of_user(operation: Operation) -> Operation {
    let unread: fn(Database, DatabaseError) -> Problem = |database, error| unread(database, &error);
    operation.path("userId", "The user; blanks around it do not count.", text(LONGEST_USER, USER)).problems([
        (
            "throttled",
            "A database has too much to do, for as long as it was asked.",
            unread(Database::Details, throttled()),
        ),
        (
            "away",
            "A database cannot be used.",
            unread(Database::Metadata, DatabaseError::Away(String::new())),
        ),
        ("late", "A database does not answer in time.", unread(Database::Metadata, DatabaseError::Late)),
    ])
}

fn text(longest: usize, pattern: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern })
}

fn throttled() -> DatabaseError {
    DatabaseError::Throttled(String::new())
}

fn event() -> LoggedEvent {
    let timestamp = DateTime::from_timestamp_millis(1_777_629_600_000).unwrap_or_default();
    let details = Details::kept(r#"{"sku":"A-1","price":12.5,"tags":["new",{"score":1}]}"#.to_owned());
    let metadata = Metadata {
        event_id: ID,
        user_id: "ann".to_owned(),
        event_type: "PRODUCT_VIEW".to_owned(),
        timestamp,
        details_bytes: details.as_ref().map_or(0, Details::bytes),
    };
    LoggedEvent { metadata, details, recorded_at: timestamp }
}
