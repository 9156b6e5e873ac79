//! From a posted body to Kafka's acknowledgement, or to the reason why there is none.

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use uuid::Uuid;
use warp::{
    Reply,
    http::{HeaderName, HeaderValue, StatusCode, header},
    reply::Response,
};

use super::super::{
    request::{Accepts, NewEvent},
    routes::Api,
};
use crate::{
    http::{Problem, json_text},
    messaging::{Message, PublishError, Receipt},
    sabotage::{self, Sabotage},
    store::Event,
};

/// The partition that the event was written to.
const PARTITION: HeaderName = HeaderName::from_static("kafka-partition");
/// Its offset in that partition.
const OFFSET: HeaderName = HeaderName::from_static("kafka-offset");

/// `POST /events/generate`: 201 with the event's id, once Kafka has it.
pub(in super::super) async fn generate(api: &Api, body: Result<Bytes, Problem>) -> Response {
    let accepts = Accepts::Only(&api.config.event_types);
    publish(api, body, accepts, StatusCode::CREATED, |id| format!("{{\"eventId\":\"{id}\"}}")).await
}

/// `POST /api/events`: 202 with a message and the event's id, once Kafka has it.
pub(in super::super) async fn create(api: &Api, body: Result<Bytes, Problem>) -> Response {
    publish(api, body, Accepts::AnyType, StatusCode::ACCEPTED, |id| {
        format!("{{\"message\":\"Event published successfully\",\"eventId\":\"{id}\"}}")
    })
    .await
}

async fn publish(
    api: &Api,
    body: Result<Bytes, Problem>,
    accepts: Accepts<'_>,
    status: StatusCode,
    say: impl FnOnce(Uuid) -> String,
) -> Response {
    let (id, message) = match body.and_then(|body| message(&body, accepts, api.limits.max_depth)) {
        Ok(made) => made,
        Err(problem) => return problem.into_response(),
    };
    if sabotage::is(Sabotage::AckBeforeKafka) {
        let publisher = Arc::clone(&api.publisher);
        tokio::spawn(async move { publisher.publish(message).await });
        return acknowledged(status, say(id), id, Receipt { partition: 0, offset: -1 });
    }
    let receipt = match api.publisher.publish(message).await {
        Ok(receipt) => receipt,
        Err(error) => return failure(id, error).into_response(),
    };
    log::info!(
        target: "highwater::published",
        eventId:% = id, partition = receipt.partition, offset = receipt.offset;
        "published"
    );
    acknowledged(status, say(id), id, receipt)
}

/// The event as a record: keyed by its user, timestamped by this process' clock.
fn message(body: &[u8], accepts: Accepts<'_>, max_depth: usize) -> Result<(Uuid, Message), Problem> {
    let new = NewEvent::read(json_text(body, max_depth)?, accepts)?;
    let now = Utc::now();
    let id = new.id.unwrap_or_else(Uuid::new_v4);
    let event = Event::new(id, &new.user_id, &new.event_type, new.timestamp.unwrap_or(now), new.payload);
    let message = Message {
        key: Some(new.user_id.into_owned().into_bytes()),
        value: Some(event.json().to_vec()),
        headers: Vec::new(),
        timestamp: now,
        partition: None,
    };
    Ok((id, message))
}

fn acknowledged(status: StatusCode, body: String, id: Uuid, receipt: Receipt) -> Response {
    let mut response = super::json(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/events/processed/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(PARTITION, HeaderValue::from(receipt.partition));
    headers.insert(OFFSET, HeaderValue::from(receipt.offset));
    response
}

/// How soon to post again where a broker hangs, in seconds: it is looked at as often, at the least.
const CIRCUIT_RETRY_AFTER: u32 = 2;

/// Why Kafka has no such event, or is not known to have it, and what to do. The id is told in any case:
/// with it the same event can be posted again, and is stored once however often it was written.
fn failure(id: Uuid, error: PublishError) -> Problem {
    let (problem, possibly_written) = match error {
        PublishError::TooLarge(reason) => {
            let detail = format!("the event is larger than Kafka takes: {reason}");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
                .with_member("eventId", id.to_string());
        }
        PublishError::QueueFull => (unwritten("too many events wait for Kafka", 1), false),
        PublishError::CircuitOpen(broker) => {
            let reason = format!("broker {broker}, which leads this user's partition, acknowledges nothing");
            (unwritten(&reason, CIRCUIT_RETRY_AFTER), false)
        }
        PublishError::Refused(reason) => {
            (unwritten(&format!("Kafka refused the event: {reason}"), 30), false)
        }
        PublishError::Unavailable { reason, possibly_written } => {
            let fate =
                if possibly_written { "may have been written all the same" } else { "was not written" };
            let detail = format!("Kafka did not acknowledge the event ({reason}); it {fate}. {SAFE}");
            (Problem::unavailable(detail, 1), possibly_written)
        }
        PublishError::Stopping => {
            let problem = unwritten("this instance is stopping, ask another", 1);
            (problem.with_header(header::CONNECTION, HeaderValue::from_static("close")), false)
        }
    };
    problem.with_member("eventId", id.to_string()).with_member("possiblyWritten", possibly_written)
}

const SAFE: &str = "Posting it again with this eventId is safe: an eventId is stored once";

fn unwritten(reason: &str, retry_after: u32) -> Problem {
    Problem::unavailable(format!("{reason}; the event was not written. {SAFE}"), retry_after)
}
