//! The routes that publish an event. The answer follows Kafka's acknowledgement.

use bytes::Bytes;
use highwater_kafka::{Context, PublishError, Receipt};
use highwater_web::{
    auth::Grant,
    http::{CorrelationId, Problem, json, json_text},
    publish_problem::publish_problem,
};
use uuid::Uuid;
use warp::{
    Reply,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    reply::Response,
};

use crate::activity::{
    Api,
    faults::of_event,
    formats::cloud_event,
    request::{AllowedTypes, NewEvent},
    schemas::{Data, Judged},
};

/// The header with the partition that the event was written to.
const PARTITION: HeaderName = HeaderName::from_static("kafka-partition");
/// The header with the event's offset in that partition.
const OFFSET: HeaderName = HeaderName::from_static("kafka-offset");
/// The header with the number of faults by which the event breaks the schema of its type, where it was taken all the same.
pub(in crate::activity) const SCHEMA_VIOLATIONS: HeaderName = HeaderName::from_static("schema-violations");

/// The parts of a request: its `X-Correlation-Id` and its body.
pub(in crate::activity) type Posted = (Option<HeaderValue>, Result<Bytes, Problem>);

/// `POST /events/generate`: 201 with the event's id, once Kafka has acknowledged the event.
pub(in crate::activity) async fn generate(api: &Api, grant: &Grant, (given, body): Posted) -> Response {
    let allowed = AllowedTypes::Only(&api.config.event_types);
    let event = body.and_then(|body| read(api, &body, allowed));
    publish(api, grant, given, event, StatusCode::CREATED, event_id).await
}

/// The same of a CloudEvent.
pub(in crate::activity) async fn generate_from_cloud_event(
    api: &Api,
    grant: &Grant,
    headers: &HeaderMap,
    (given, body): Posted,
) -> Response {
    let event = body.and_then(|body| cloud_event::read_one(api, headers, &body));
    publish(api, grant, given, event, StatusCode::CREATED, event_id).await
}

fn event_id(id: &str) -> String {
    [r#"{"eventId":""#, id, r#""}"#].concat()
}

/// `POST /api/events`: 202 with a message and the event's id, once Kafka has acknowledged the event.
pub(in crate::activity) async fn create(api: &Api, grant: &Grant, (given, body): Posted) -> Response {
    let event = body.and_then(|body| read(api, &body, AllowedTypes::Any));
    publish(api, grant, given, event, StatusCode::ACCEPTED, |id| {
        [r#"{"message":"Event published successfully","eventId":""#, id, r#""}"#].concat()
    })
    .await
}

/// Publishes an event, or answers why there is none.
pub(in crate::activity) async fn publish(
    api: &Api,
    grant: &Grant,
    given: Option<HeaderValue>,
    event: Result<Judged, Problem>,
    status: StatusCode,
    body_of: impl FnOnce(&str) -> String,
) -> Response {
    let given = given.as_ref().and_then(CorrelationId::from_header);
    let admitted = event.and_then(|judged| {
        let user = judged.event.user_id();
        grant
            .check_write(&user)
            .and_then(|()| grant.charge_event(&user))
            .map_err(|problem| of_event(judged.event.id(), problem))?;
        drop(user);
        Ok(judged)
    });
    let Judged { event, violations } = match admitted {
        Ok(admitted) => admitted,
        Err(problem) => {
            api.rejections.note(grant, given.as_ref().map(CorrelationId::as_str), &problem);
            return problem.into_response();
        }
    };
    let id = event.id();
    let context = given.as_ref().map(|given| Context::correlated(given.as_str())).unwrap_or_default();
    // Without one, the event's own id connects its answer, record and log lines.
    let correlation = given.clone().unwrap_or_else(|| CorrelationId::from_uuid(id)).of_this_request();
    let receipt = match api.events.send_in(&context, event).await {
        Ok(receipt) => receipt,
        Err(error) => return correlation.on(failure(id, error).into_response()),
    };
    log_published(api, id, receipt, context.correlation_id.as_deref());
    let mut buffer = Uuid::encode_buffer();
    let id = &*id.hyphenated().encode_lower(&mut buffer);
    let mut response = acknowledged(status, body_of(id), id, receipt);
    tell_violations(&mut response, violations);
    correlation.on(response)
}

/// Logs an event that Kafka has acknowledged, where it is one of those that are logged.
pub(in crate::activity) fn log_published(api: &Api, id: Uuid, receipt: Receipt, correlation: Option<&str>) {
    if !api.config.logged_events.has(id) {
        return;
    }
    let mut buffer = Uuid::encode_buffer();
    let id = &*id.hyphenated().encode_lower(&mut buffer);
    match correlation {
        None => log::info!(
            target: "highwater::published",
            eventId = id, partition = receipt.partition, offset = receipt.offset;
            "published"
        ),
        Some(given) => log::info!(
            target: "highwater::published",
            eventId = id, partition = receipt.partition, offset = receipt.offset, correlationId = given;
            "published"
        ),
    }
}

/// Reads an event of a route that takes these types.
pub(in crate::activity) fn read(
    api: &Api,
    body: &[u8],
    allowed: AllowedTypes<'_>,
) -> Result<Judged, Problem> {
    let text = json_text(body, api.limits.max_depth)?;
    api.judge(NewEvent::read(text, allowed)?.into_event(), Data::Payload)
}

fn acknowledged(status: StatusCode, body: String, id: &str, receipt: Receipt) -> Response {
    let mut response = json(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(["/events/processed/", id].concat()) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(PARTITION, HeaderValue::from(receipt.partition));
    if let Some(offset) = receipt.offset {
        headers.insert(OFFSET, HeaderValue::from(offset));
    }
    response
}

/// Adds [`SCHEMA_VIOLATIONS`] to the answer, where there are any.
pub(in crate::activity) fn tell_violations(response: &mut Response, violations: usize) {
    if violations > 0 {
        response.headers_mut().insert(SCHEMA_VIOLATIONS, HeaderValue::from(violations));
    }
}

/// The problem for an event that Kafka did not acknowledge. It has the event's id, with which a client can post the same
/// event again: the event is stored once, however often it was written.
pub(in crate::activity) fn failure(id: Uuid, error: PublishError) -> Problem {
    const SAFE: &str = "Posting it again with this eventId is safe: an eventId is stored once";
    of_event(id, publish_problem(error, SAFE))
}
