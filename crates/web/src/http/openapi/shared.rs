//! The parts that all documents share: headers, timestamps, and the routes of the documents themselves.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use uuid::Uuid;
use warp::http::{HeaderName, HeaderValue, header};

use super::{Answer, Document, Operation, SWAGGER};
use crate::http::{
    CorrelationId, JSON, StaticPage, body::JSON_OR_NDJSON, check_match, coding::Coding, etag, nothing,
};

/// `X-Correlation-Id` in its usual spelling.
pub(super) const CORRELATION: &str = "X-Correlation-Id";

/// A timestamp as the services write it, for `schemars(schema_with)`.
pub fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
    })
}

/// A timestamp as clients may write it: ISO 8601, of which RFC 3339 is the safe part.
pub fn date_time() -> Value {
    json!({ "type": "string", "format": "date-time", "examples": ["2026-05-01T10:00:00Z"] })
}

/// A UUID, with an example.
pub fn uuid(example: Uuid) -> Value {
    json!({ "type": "string", "format": "uuid", "examples": [example] })
}

/// The operation with `X-Correlation-Id` of the request.
pub fn correlated(operation: Operation) -> Operation {
    let schema = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": CorrelationId::LONGEST,
        "pattern": "^[!-~]+$",
    });
    operation.header(
        CORRELATION,
        "An id for the request and all that follows from it; made where it is absent.",
        schema,
    )
}

/// The operation with `If-Match`: it changes only the version that the client has seen.
pub fn guarded(operation: Operation) -> Operation {
    let schema = json!({ "type": "string", "examples": [etag(3)] });
    let seen = HeaderValue::from_static("\"3\"");
    let changed = check_match(Some(&seen), 4).err();
    let operation =
        operation.header("If-Match", "The ETag of the version that is to be changed, or `*`.", schema);
    changed.into_iter().fold(operation, |operation, changed| {
        operation.problem("changed", "It has another version by now.", changed)
    })
}

/// A header of an answer.
pub(super) fn header(name: &HeaderName, always: bool) -> Value {
    let whole = json!({ "type": "integer", "minimum": 0 });
    let (description, schema) = match name.as_str() {
        "location" => ("Where it is from now on.", json!({ "type": "string", "format": "uri-reference" })),
        "etag" => ("Its version.", json!({ "type": "string", "pattern": "^\"[!#-~]*\"$" })),
        "link" => (
            "The page after this one, absent on the last: `<…>; rel=\"next\"` (RFC 8288).",
            json!({ "type": "string" }),
        ),
        "ratelimit-policy" => (
            "The limits that apply, and how much they let through a second (draft-ietf-httpapi-ratelimit-headers).",
            json!({ "type": "string" }),
        ),
        "ratelimit" => ("The requests and events that are left.", json!({ "type": "string" })),
        "retry-after" => ("How soon to ask again, in seconds.", whole),
        "accept-encoding" => ("The content codings that are taken.", json!({ "const": Coding::ALL })),
        "accept" => ("The media types that are taken.", json!({ "enum": [JSON, JSON_OR_NDJSON] })),
        "vary" => ("The headers of the request that the answer depends on.", json!({ "type": "string" })),
        "www-authenticate" => ("How to say who one is (RFC 6750).", json!({ "type": "string" })),
        "x-correlation-id" => {
            ("The id of the request: its own, or one that was made.", json!({ "type": "string" }))
        }
        "kafka-partition" => ("The partition that the event was written to.", whole),
        "kafka-offset" => ("Its offset there.", whole),
        "schema-violations" => (
            "By how many faults the event breaks the schema of its type, where it is taken all the same.",
            whole,
        ),
        "highwater-partitions" => (
            "The partitions that the answer is from (a Dictionary of RFC 9651): those that this instance has, those of \
             them whose events are all here again, how many the topic has, and whether the answer is from all. \
             For example `held=\"0-2,4\", restored=\"0-2\", of=6, whole=?0`.",
            json!({ "type": "string" }),
        ),
        "cache-control" => ("To be asked for again each time.", json!({ "const": "no-cache" })),
        _ => ("", json!({ "type": "string" })),
    };
    json!({ "description": description, "required": always, "schema": schema })
}

/// A schema of values such as this one.
pub(super) fn schema_like(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(items) => {
            json!({ "type": "array", "items": items.first().map_or_else(|| json!({}), schema_like) })
        }
        Value::Object(members) => {
            let properties: serde_json::Map<_, _> =
                members.iter().map(|(name, value)| (name.clone(), schema_like(value))).collect();
            json!({ "type": "object", "properties": properties })
        }
    }
}

/// Describes the routes of the documents and of Swagger UI.
pub fn describe_files(document: &mut Document) {
    document.tag("Documentation", "The interface, for programs and for people.");
    let itself = json!({
        "type": "object",
        "required": ["openapi", "info", "paths"],
        "properties": { "openapi": { "const": "3.1.0" }, "info": { "type": "object" }, "paths": { "type": "object" } },
    });
    let example = json!({ "openapi": "3.1.0", "info": { "title": "…", "version": "…" }, "paths": {} });
    document.add(
        "/openapi.json",
        asked(Operation::new("get", "getDocument", "This document"))
            .answers(200, file("The document, OpenAPI 3.1.").json(itself, &example)),
    );
    let page = Operation::new("get", "getPage", "Swagger UI");
    let files = Operation::new("get", "getFile", "A file of Swagger UI");
    describe_page(document, &SWAGGER, page, files);
}

/// Describes the routes of a page: that of the page itself, and that of its files.
pub fn describe_page(document: &mut Document, page: &StaticPage, itself: Operation, files: Operation) {
    let text = || json!({ "type": "string" });
    let html = file("The page.").of("text/html", text(), &"<!doctype html>…");
    document.add(page.path, asked(itself).answers(200, html));
    let names: Vec<&str> = page.files.iter().map(|(name, _)| *name).collect();
    let any = file("The file.").of("text/javascript", text(), &"…").of("text/css", text(), &"…");
    document.add(
        &format!("{}/{{file}}", page.path),
        asked(files).path("file", "Its name.", json!({ "enum": names })).answers(200, any).problem(
            "unknown",
            "There is no such file.",
            nothing(&format!("{}/other.js", page.path)),
        ),
    );
}

/// The answer of a file in the program.
fn file(description: &'static str) -> Answer {
    Answer::new(description).always(header::ETAG).always(header::CACHE_CONTROL)
}

/// The operation with `If-None-Match`, by which a client asks whether its version is current.
fn asked(operation: Operation) -> Operation {
    operation
        .header("If-None-Match", "Versions that the client has.", json!({ "type": "string" }))
        .answers(304, file("The client has it already."))
}
