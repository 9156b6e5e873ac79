//! The problem for an event that Kafka has not acknowledged.

use highwater_kafka::PublishError;
use warp::http::{HeaderValue, StatusCode, header};

use super::redact::redact;
use crate::http::Problem;

/// The time after which to ask again where a broker hangs, in seconds. The breaker tries the broker at least as often.
const CIRCUIT_RETRY_AFTER: u32 = 2;

/// The problem of an event that Kafka does not have, or may not have; `again` says whether a repetition is safe.
pub fn publish_problem(error: PublishError, again: &str) -> Problem {
    let unwritten = |reason: &str, retry_after| {
        Problem::unavailable(format!("{reason}; the event was not written. {again}"), retry_after)
    };
    let possibly_written = error.possibly_written();
    let problem = match error {
        PublishError::TooLarge(reason) => {
            let detail = format!("the event is larger than Kafka takes: {}", redact(&reason));
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
        }
        PublishError::QueueFull => unwritten("too many events wait for Kafka", 1),
        PublishError::CircuitOpen(_) => {
            let reason = "the broker that leads this event's partition acknowledges nothing";
            unwritten(reason, CIRCUIT_RETRY_AFTER)
        }
        PublishError::Refused(reason) | PublishError::Forbidden(reason) => {
            unwritten(&format!("Kafka refused the event: {}", redact(&reason)), 30)
        }
        PublishError::Unavailable { reason, .. } => {
            let decision =
                if possibly_written { "may have been written all the same" } else { "was not written" };
            let reason = redact(&reason);
            let detail = format!("Kafka did not acknowledge the event ({reason}); it {decision}. {again}");
            Problem::unavailable(detail, 1)
        }
        PublishError::Stopping => {
            let problem = unwritten("this instance is stopping, ask another", 1);
            problem.with_header(header::CONNECTION, HeaderValue::from_static("close"))
        }
        error => unwritten(&redact(&error.to_string()), 1),
    };
    problem.with_member("possiblyWritten", possibly_written)
}

/// All errors, each with a name and its occasion.
pub fn reasons() -> [(&'static str, &'static str, PublishError); 6] {
    let reason = || "the leader did not answer".to_owned();
    let unavailable = PublishError::Unavailable { reason: reason(), possibly_written: true };
    [
        ("tooLargeForKafka", "Kafka takes no event as large as this.", PublishError::TooLarge(reason())),
        ("queueFull", "Too many events wait for Kafka.", PublishError::QueueFull),
        ("circuitOpen", "The broker hangs.", PublishError::CircuitOpen("kafka:9092".to_owned())),
        ("refused", "Kafka refuses the event.", PublishError::Refused(reason())),
        ("unacknowledged", "Kafka did not acknowledge the event in time.", unavailable),
        ("stopping", "This instance is stopping.", PublishError::Stopping),
    ]
}
