//! From a posted body to Kafka's acknowledgement, or to the reason why there is none.

use bytes::Bytes;
use chrono::Utc;
use highwater_kafka::{
    Context, PublishError, Receipt,
    sabotage::{self, Sabotage},
};
use highwater_web::{
    http::{CorrelationId, Problem, json, json_text},
    publish_problem::publish_problem,
};
use uuid::Uuid;
use warp::{
    Reply,
    http::{HeaderName, HeaderValue, StatusCode, header},
    reply::Response,
};

use super::super::{
    Api,
    request::{Accepts, NewEvent},
};
use crate::store::Event;

/// The partition that the event was written to.
const PARTITION: HeaderName = HeaderName::from_static("kafka-partition");
/// Its offset in that partition.
const OFFSET: HeaderName = HeaderName::from_static("kafka-offset");

/// What a request has: the correlation id that it says, and its body.
pub(in super::super) type Posted = (Option<HeaderValue>, Result<Bytes, Problem>);

/// `POST /events/generate`: 201 with the event's id, once Kafka has it.
pub(in super::super) async fn generate(api: &Api, posted: Posted) -> Response {
    let accepts = Accepts::Only(&api.config.event_types);
    publish(api, posted, accepts, StatusCode::CREATED, |id| format!("{{\"eventId\":\"{id}\"}}")).await
}

/// `POST /api/events`: 202 with a message and the event's id, once Kafka has it.
pub(in super::super) async fn create(api: &Api, posted: Posted) -> Response {
    publish(api, posted, Accepts::AnyType, StatusCode::ACCEPTED, |id| {
        format!("{{\"message\":\"Event published successfully\",\"eventId\":\"{id}\"}}")
    })
    .await
}

async fn publish(
    api: &Api,
    (given, body): Posted,
    accepts: Accepts<'_>,
    status: StatusCode,
    say: impl FnOnce(Uuid) -> String,
) -> Response {
    let event = match body.and_then(|body| event(&body, accepts, api.limits.max_depth)) {
        Ok(event) => event,
        Err(problem) => return problem.into_response(),
    };
    let id = event.id();
    let given = given.as_ref().and_then(CorrelationId::from_header);
    let context = given.as_ref().map(|given| Context::correlated(given.as_str())).unwrap_or_default();
    // Of an event that came without one, its own id is what everything about it has.
    let correlation = given.clone().unwrap_or_else(|| CorrelationId::from_uuid(id)).of_this_request();
    if sabotage::is(Sabotage::AckBeforeKafka) {
        let events = api.events.clone();
        tokio::spawn(async move { events.send_in(&context, event).await });
        return acknowledged(status, say(id), id, Receipt { partition: 0, offset: -1 });
    }
    let receipt = match api.events.send_in(&context, event).await {
        Ok(receipt) => receipt,
        Err(error) => return correlation.on(failure(id, error).into_response()),
    };
    match &given {
        None => log::info!(
            target: "highwater::published",
            eventId:% = id, partition = receipt.partition, offset = receipt.offset;
            "published"
        ),
        Some(given) => log::info!(
            target: "highwater::published",
            eventId:% = id, partition = receipt.partition, offset = receipt.offset, correlationId = given.as_str();
            "published"
        ),
    }
    correlation.on(acknowledged(status, say(id), id, receipt))
}

fn event(body: &[u8], accepts: Accepts<'_>, max_depth: usize) -> Result<Event, Problem> {
    let new = NewEvent::read(json_text(body, max_depth)?, accepts)?;
    let id = new.id.unwrap_or_else(Uuid::new_v4);
    let happened = new.timestamp.unwrap_or_else(Utc::now);
    Ok(Event::new(id, &new.user_id, &new.event_type, happened, new.payload))
}

fn acknowledged(status: StatusCode, body: String, id: Uuid, receipt: Receipt) -> Response {
    let mut response = json(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/events/processed/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(PARTITION, HeaderValue::from(receipt.partition));
    headers.insert(OFFSET, HeaderValue::from(receipt.offset));
    response
}

/// Why Kafka has no such event, or is not known to have it, and what to do. The id is told in any case:
/// with it the same event can be posted again, and is stored once however often it was written.
pub(in super::super) fn failure(id: Uuid, error: PublishError) -> Problem {
    const SAFE: &str = "Posting it again with this eventId is safe: an eventId is stored once";
    publish_problem(error, SAFE).with_member("eventId", id.to_string())
}
