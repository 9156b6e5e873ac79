//! Segment's HTTP tracking API (spec of its HTTP source): `track`, `identify`, `page`, `screen`, `group` and `alias`, each in
//! a request of its own or many in a batch.
//!
//! The user is `userId`, or `anonymousId` without one; the type is the event of a `track`, else the call's name. The payload
//! is the call as it came, of which a schema judges the properties or traits. The answer is 200 once Kafka has acknowledged
//! all events, and a true error where it has not.

use std::{borrow::Cow, future::poll_fn, sync::Arc};

use bytes::Bytes;
use highwater_web::{
    auth::Grant,
    http::{FieldError, Problem, json, json_text, nothing},
    identity,
    object::{Object, REPEATED},
    timestamp,
};
use serde_json::value::RawValue;
use uuid::{Uuid, uuid};
use warp::{Reply, http::StatusCode, reply::Response};

use super::not_too_deep;
use crate::activity::{
    Api,
    answers::published::{Posted, log_published, tell_violations},
    batch::{Intake, IntakeOutcome},
    faults::FieldFaults,
    fields::{Checked, bounded_text, optional, text, visible_text},
    request::{AllowedTypes, NewEvent},
    schemas::{Data, Judged},
};

/// The largest batch, in bytes.
pub(in crate::activity) const MAX_BATCH_BYTES: usize = 500 * 1024;
/// The largest call, in bytes.
const MAX_CALL_BYTES: usize = 32 * 1024;
/// The most faults that an answer names.
const MAX_FAULTS: usize = 100;

/// The namespace of ids that follow from a messageId.
const IDS: Uuid = uuid!("8d1f4c0b-9a35-4f0e-bb0c-0b4a3d1e7c52");

/// The fields of a call that are looked at.
const FIELDS: [&str; 9] = [
    "type",
    "event",
    "userId",
    "anonymousId",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "properties",
    "traits",
];

/// The calls, with the short names that browsers post to.
pub(in crate::activity) const CALLS: [(&str, &str); 6] =
    [("track", "t"), ("identify", "i"), ("page", "p"), ("screen", "s"), ("group", "g"), ("alias", "a")];
/// The names of a batch.
pub(in crate::activity) const BATCHES: [&str; 3] = ["batch", "b", "import"];

/// `POST /v1/{call}`: 200 once Kafka has all events.
pub(in crate::activity) async fn take(
    api: Arc<Api>,
    grant: Grant,
    name: &str,
    (given, body): Posted,
) -> Response {
    let intake = Intake::new(api, grant, given.as_ref());
    let call = CALLS.iter().find(|(long, short)| name == *long || name == *short);
    let taken = match (call, body) {
        (None, _) if !BATCHES.contains(&name) => return nothing(&format!("/v1/{name}")).into_response(),
        (_, Err(problem)) => {
            intake.note(&problem);
            Err(problem)
        }
        (Some((call, _)), Ok(body)) => take_one(&intake, call, &body).await,
        (None, Ok(body)) => take_batch(&intake, &body).await,
    };
    match taken {
        Ok(violations) => {
            let mut response = json("{\"success\":true}");
            tell_violations(&mut response, violations);
            response
        }
        Err(problem) => refused(problem).into_response(),
    }
}

/// The problem with the members that clients of this API look for.
pub(in crate::activity) fn refused(problem: Problem) -> Problem {
    let (status, detail) = (problem.status(), problem.detail().to_owned());
    problem.with_member("code", status.as_str()).with_member("message", detail)
}

/// Takes a call, and returns the number of faults by which it breaks its schema.
async fn take_one(intake: &Intake, call: &'static str, body: &Bytes) -> Result<usize, Problem> {
    let event = json_text(body, intake.api.limits.max_depth).and_then(|text| read(&intake.api, call, text));
    let (problems, violations) = outcomes(intake, vec![event]).await;
    problems.into_iter().next().map_or(Ok(violations), |(_, problem)| Err(problem))
}

/// As [`take_one`], of many.
async fn take_batch(intake: &Intake, body: &Bytes) -> Result<usize, Problem> {
    let calls = json_text(body, intake.api.limits.max_depth)
        .and_then(|text| calls_of(text, intake.api.config.batch.max_events));
    let calls = calls.inspect_err(|problem| intake.note(problem))?;
    let count = calls.len();
    let events = calls.into_iter().map(|call| read_item(&intake.api, call.get())).collect();
    let (problems, violations) = outcomes(intake, events).await;
    // An error that may pass is answered first: the client sends the whole batch again, and each event is stored once.
    if let Some((_, problem)) = problems.iter().find(|(_, problem)| problem.may_succeed_later()) {
        return Err(problem.clone());
    }
    if problems.is_empty() {
        return Ok(violations);
    }
    let detail = format!("{} of {count} events are refused, and the others are stored", problems.len());
    let faults = problems.iter().take(MAX_FAULTS);
    let faults = faults
        .map(|(index, problem)| FieldError::new(format!("batch[{index}]"), problem.detail().to_owned()));
    Err(Problem::bad_request(detail).with_errors(faults.collect()))
}

/// The calls of a batch, so many at most.
fn calls_of(text: &str, most: usize) -> Result<Vec<&RawValue>, Problem> {
    let Object { values: [batch], repeated: [is_repeated] } =
        Object::parse(text, &["batch"]).map_err(|error| Problem::unreadable(&error))?;
    let calls = match batch {
        Some(batch) if !is_repeated => serde_json::from_str::<Vec<&RawValue>>(batch.get()).ok(),
        _ => None,
    };
    let no_array = || Problem::invalid(vec![FieldError::new("batch", "must be an array of calls")]);
    let calls = calls.ok_or_else(no_array)?;
    if calls.len() > most {
        let detail = format!("the batch has more than {most} calls");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(calls)
}

/// Publishes events. Returns the places of the events that are not stored, with the reasons, and the number of faults by which
/// the others break their schemas.
async fn outcomes(intake: &Intake, events: Vec<Result<Judged, Problem>>) -> (Vec<(usize, Problem)>, usize) {
    let mut all = Vec::with_capacity(events.len());
    for event in events {
        all.push(intake.take(event).await);
    }
    let (mut problems, mut all_violations) = (Vec::new(), 0);
    for (index, mut taken) in all.into_iter().enumerate() {
        poll_fn(|task| taken.poll_done(task)).await;
        match taken.outcome() {
            Some(IntakeOutcome::Stored { id, receipt, violations }) => {
                all_violations += violations;
                let correlation = intake.context.correlation_id.as_deref();
                log_published(&intake.api, *id, *receipt, correlation);
            }
            Some(IntakeOutcome::Refused(problem) | IntakeOutcome::Failed(problem, _)) => {
                problems.push((index, problem.clone()));
            }
            None => {}
        }
    }
    (problems, all_violations)
}

/// Reads a call of a batch. Its `type` names the call.
fn read_item(api: &Api, text: &str) -> Result<Judged, Problem> {
    let Object { values: [kind], .. } =
        Object::parse(text, &["type"]).map_err(|error| Problem::unreadable(&error))?;
    let kind = self::text(kind.map(RawValue::get)).ok();
    match CALLS.iter().find(|(call, _)| kind.as_deref() == Some(call)) {
        Some((call, _)) => read(api, call, text),
        None => {
            let calls = CALLS.map(|(call, _)| call).join(", ");
            Err(Problem::invalid(vec![FieldError::new("type", format!("must be one of {calls}"))]))
        }
    }
}

/// Reads a call.
fn read(api: &Api, call: &'static str, text: &str) -> Result<Judged, Problem> {
    if text.len() > MAX_CALL_BYTES {
        let detail = format!("the event is larger than {MAX_CALL_BYTES} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let object = Object::parse(text, &FIELDS).map_err(|error| Problem::unreadable(&error))?;
    let mut faults = FieldFaults::default();
    object.repeated(&FIELDS).for_each(|name| faults.note(name, REPEATED));
    let [_, event, user_id, anonymous_id, message_id, timestamp, original, ..] =
        object.present().map(|value| value.map(RawValue::get));
    let event_type = faults.check(
        "event",
        if call == "track" { AllowedTypes::Any.check(event) } else { Ok(Cow::Borrowed(call)) },
    );
    let user_id = faults.check("userId", user_of(user_id, anonymous_id));
    let id = faults.check("messageId", message_id.map(|id| visible_text(Some(id))).transpose());
    let id = id.map(|id| id.map(|id| id_of(&id)));
    let known = id.flatten().filter(|_| !faults.has("messageId"));
    let timestamp = faults.check("timestamp", optional(timestamp.or(original), timestamp::parse));
    let payload = serde_json::from_str::<&RawValue>(text).map_err(|error| Problem::unreadable(&error))?;
    match (event_type, user_id, id, timestamp) {
        (Some(event_type), Some(user_id), Some(id), Some(timestamp)) if faults.is_empty() => {
            let event = NewEvent { id, user_id, event_type, timestamp, payload: Some(payload) }.into_event();
            api.judge(not_too_deep(event)?, Data::Member(data_of(call)))
        }
        _ => Err(faults.into_problem(known)),
    }
}

/// The member of a call that has its data.
fn data_of(call: &str) -> &'static str {
    if matches!(call, "identify" | "group") { "traits" } else { "properties" }
}

/// The id of an event that has that messageId: the same for each copy of it.
fn id_of(message_id: &str) -> Uuid {
    identity::uuid(message_id).unwrap_or_else(|_| Uuid::new_v5(&IDS, message_id.as_bytes()))
}

/// The user: `userId`, or `anonymousId` where that is absent or empty.
fn user_of<'a>(user_id: Option<&'a str>, anonymous_id: Option<&'a str>) -> Checked<Cow<'a, str>> {
    match (user_id.filter(|id| *id != "\"\""), anonymous_id) {
        (None, None) => Err("is required, or anonymousId".into()),
        (user_id, anonymous_id) => bounded_text(user_id.or(anonymous_id)),
    }
}
