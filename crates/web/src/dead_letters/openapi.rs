//! Describes the routes of this module.

use std::time::Duration;

use highwater_kafka::{
    TransientError,
    dead_letter::{DlqReadError, RedriveError, RedriveReport},
};
use serde_json::{Value, json};
use warp::http::header;

use super::{
    answers::{not_begun, unreadable},
    body::DeadLetterBody,
    request::{MAX_LIMIT, RedriveBody},
};
use crate::http::{
    BearerToken, NDJSON, limited, nothing,
    openapi::{Answer, Document, Operation, date_time},
};

/// The name of the security scheme.
const SCHEME: &str = "adminToken";

/// Describes `/dead-letters` and `/dead-letters/redrive`.
pub fn describe(document: &mut Document) {
    document.tag(
        "Dead letters",
        "Records that could not be processed. These routes exist where the service has an admin token.",
    );
    document.security(
        SCHEME,
        json!({ "type": "http", "scheme": "bearer", "description": "The admin token of the service." }),
    );
    let secured = |operation| {
        secured(operation).problem("off", "The service has no admin token.", nothing("/dead-letters"))
    };
    let dead_letter = document.schema::<DeadLetterBody<'_>>();
    let listing = json!({
        "type": "object",
        "required": ["deadLetters", "count"],
        "properties": {
            "deadLetters": { "type": "array", "items": dead_letter },
            "count": { "type": "integer", "minimum": 0 },
        },
    });
    let text = || json!({ "type": "string" });
    let partition = json!({ "type": "integer", "minimum": 0, "maximum": i32::MAX });
    document.add(
        "/dead-letters",
        secured(Operation::new("get", "listDeadLetters", "Dead letters, the newest first"))
            .query("reason", "Those whose reason has this in it.", text())
            .query("partition", "Those that were read in this partition.", partition)
            .query("key", "Those of records with this key.", text())
            .query("from", "Those set aside then or later.", date_time())
            .query("to", "Those set aside before.", date_time())
            .query(
                "limit",
                "A page of at most so many; without it, all of them.",
                json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT }),
            )
            .query("cursor", "Where the page before ended, as its Link says.", text())
            .invalid("limit", "must be from 1 to 1000")
            .answers(
                200,
                Answer::new("The dead letters; a line each where Accept asks for that.")
                    .json(listing, &json!({ "deadLetters": [example()], "count": 1 }))
                    .of(NDJSON, text(), &format!("{}\n", example()))
                    .header(header::LINK)
                    .always(header::VARY),
            )
            .problem("unreadable", "Kafka does not answer.", unreadable(&DlqReadError::new(away()))),
    );
    let redrive_body = document.schema::<RedriveBody>();
    let report = document.schema::<RedriveReport>();
    document.add(
        "/dead-letters/redrive",
        secured(Operation::new("post", "redrive", "Sends dead letters back to where they came from"))
            .describe("Each once, however often it is asked for; one that fails again is a new letter.")
            .takes(redrive_body, &json!({ "reason": "not JSON" }))
            .invalid("positions", "must be from 1 to 1000 of them")
            .answers(
                200,
                Answer::new("The result.")
                    .json(report, &RedriveReport { redriven: 3, complete: true, ..RedriveReport::default() }),
            )
            .problem("busy", "Another redrive is at work.", not_begun(&RedriveError::Busy))
            .problem(
                "unavailable",
                "Kafka does not answer.",
                not_begun(&RedriveError::Unavailable(TransientError::new(away()))),
            ),
    );
}

/// An operation for admins, in a document in which [`describe`] describes the dead letters.
pub fn secured(operation: Operation) -> Operation {
    let refused = BearerToken::new("token").authorize(None).err();
    let operation = refused.into_iter().fold(operation.secured(SCHEME), |operation, problem| {
        operation.problem("noToken", "The token is missing, or another.", problem)
    });
    operation.problem("limited", "Too many wrong tokens came.", limited(Duration::from_secs(59)))
}

fn away() -> String {
    "no broker answered in time".to_owned()
}

fn example() -> Value {
    json!({ "partition": 1, "offset": 12, "timestamp": "2026-05-01T10:00:03.000Z",
        "reason": "not JSON: expected value at line 1 column 1",
        "source": { "topic": "user-activity-events", "partition": 0, "offset": 4711,
            "timestamp": "2026-05-01T10:00:00.000Z", "group": "user-activity-consumer-group" },
        "redrives": 0, "redriven": false, "key": { "text": "ann" }, "value": { "text": "hello" }, "headers": [] })
}
