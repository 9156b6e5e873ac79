//! Recording: first all of the event with its details, then the row.
//!
//! A repeated request with the same id continues at the step where the first one ended: an event that was put is not put
//! again, and its row is inserted all the same. It keeps the timestamp of the first time.

use chrono::{DateTime, Utc};
use highwater_web::{
    http::{FieldError, Problem},
    idempotency::{Idempotency, used_otherwise},
    timestamp,
};
use uuid::Uuid;
use warp::http::StatusCode;

use super::{
    DatabaseError, EventLog, Insertion, LoggedEvent, MOST_ITEM_BYTES, Metadata, NewLoggedEvent, PutOutcome,
    counts::increment,
    database_health::{Database, reason},
    deadline::Deadline,
};

/// The time after which to ask again, in seconds.
pub(super) const RETRY_AFTER: u32 = 1;

impl EventLog {
    /// Records an event, or returns the one that an earlier request recorded.
    ///
    /// # Errors
    ///
    /// 409 or 422 where its id or key is another event's, 413 where it is too large, 503.
    pub async fn record(
        &self,
        new: NewLoggedEvent,
        key: Option<Idempotency>,
    ) -> Result<LoggedEvent, Problem> {
        let by_key = key.is_some();
        let given_time = new.timestamp;
        let event = event(new, key)?;
        if event.item_bytes() > MOST_ITEM_BYTES {
            return Err(too_large());
        }
        let deadline = Deadline::after(self.limits.timeout);
        let put = self.ask(deadline, Database::Details, || self.details.put(&event)).await;
        let event = match put.map_err(|error| unrecorded(Database::Details, &error, &event))? {
            PutOutcome::New => event,
            PutOutcome::Already(earlier) => {
                // A request without a time of its own has the time that the first one got.
                let timestamp = given_time.unwrap_or(earlier.metadata.timestamp);
                let again = LoggedEvent { metadata: Metadata { timestamp, ..event.metadata }, ..event };
                if !again.says_the_same(&earlier) {
                    increment(&self.counts.conflicting);
                    return Err(if by_key { used_otherwise() } else { conflicting(again.metadata.event_id) });
                }
                *earlier
            }
        };
        let inserted = self.ask(deadline, Database::Metadata, || self.metadata.insert(&event.metadata)).await;
        match inserted.map_err(|error| unrecorded(Database::Metadata, &error, &event))? {
            Insertion::New => increment(&self.counts.recorded),
            Insertion::Already => {
                if !self.is_of_its_row(deadline, &event, given_time).await? {
                    increment(&self.counts.conflicting);
                    return Err(if by_key { used_otherwise() } else { conflicting(event.metadata.event_id) });
                }
                increment(&self.counts.repeated);
            }
        }
        Ok(event)
    }

    /// Whether the existing row is this event's. If not, the item of the row's event was lost, and this event has just taken
    /// its place. It is taken back, as it would show that event with these details.
    async fn is_of_its_row(
        &self,
        deadline: Deadline,
        event: &LoggedEvent,
        given_time: Option<DateTime<Utc>>,
    ) -> Result<bool, Problem> {
        let id = event.metadata.event_id;
        let row = self.ask(deadline, Database::Metadata, || self.metadata.of_id(id)).await;
        let Some(row) = row.map_err(|error| unrecorded(Database::Metadata, &error, event))? else {
            // This service removes no rows. If somebody did, the client has to post the event again.
            let gone = DatabaseError::Away("the row is gone again".to_owned());
            return Err(unrecorded(Database::Metadata, &gone, event));
        };
        let timestamp = given_time.unwrap_or(row.timestamp);
        if row == (Metadata { timestamp, ..event.metadata.clone() }) {
            return Ok(true);
        }
        let taken = self.ask(deadline, Database::Details, || self.details.take_back(event)).await;
        taken.map_err(|error| unrecorded(Database::Details, &error, event))?;
        log::error!(event_id:% = id; "an event has lost its details, and its id was posted with others: refused");
        Ok(false)
    }

    /// Asks a store, while it is throttled and there is time; notes the outcome.
    pub(super) async fn ask<T, C>(
        &self,
        deadline: Deadline,
        database: Database,
        call: impl Fn() -> C + Send,
    ) -> Result<T, DatabaseError>
    where
        C: Future<Output = Result<T, DatabaseError>> + Send,
    {
        let outcome = deadline.patiently(call).await;
        self.databases.note(database, &outcome);
        outcome
    }
}

/// The requested event, with its id.
///
/// # Errors
///
/// 422 for two ids.
fn event(new: NewLoggedEvent, key: Option<Idempotency>) -> Result<LoggedEvent, Problem> {
    let NewLoggedEvent { event_id, user_id, event_type, timestamp, details } = new;
    let recorded_at = timestamp::now();
    // A key belongs to its user.
    let of_key = key.map(|key| key.id_in(Uuid::new_v5(&USERS, user_id.as_bytes())));
    let event_id = match (event_id, of_key) {
        // Another id would make the key create a second event.
        (Some(given), Some(of_key)) if given != of_key => return Err(two_ids()),
        (given, of_key) => given.or(of_key).unwrap_or_else(Uuid::new_v4),
    };
    let details_bytes = details.as_ref().map_or(0, super::Details::bytes);
    let timestamp = timestamp.unwrap_or(recorded_at);
    let metadata = Metadata { event_id, user_id, event_type, timestamp, details_bytes };
    Ok(LoggedEvent { metadata, details, recorded_at })
}

const USERS: Uuid = uuid::uuid!("5b0c6f0e-2d53-4f7e-8d53-7f5f4c7b6a21");

/// 413.
pub(super) fn too_large() -> Problem {
    let detail =
        format!("the event is larger than DynamoDB keeps: {MOST_ITEM_BYTES} bytes with all its fields");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// 409.
pub(super) fn conflicting(id: Uuid) -> Problem {
    let detail = format!("another event has the id {id}; a new event needs a new one, or none");
    Problem::new(StatusCode::CONFLICT, detail)
}

/// 422.
pub(super) fn two_ids() -> Problem {
    let detail = "the eventId is not the one that this Idempotency-Key stands for; one of them is enough";
    let message = "must be the one that a request of this Idempotency-Key was told, or absent";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        .with_errors(vec![FieldError::new("eventId", message)])
}

/// 503, with the id by which a repeated request completes the event.
pub(super) fn unrecorded(database: Database, error: &DatabaseError, event: &LoggedEvent) -> Problem {
    if *error == DatabaseError::TooLarge {
        return too_large();
    }
    let id = event.metadata.event_id;
    // Once the details are put, a sweep completes the event if no request does.
    let possibly = database == Database::Metadata || !error.did_nothing();
    let fate = if possibly { "the event may be recorded all the same" } else { "the event was not recorded" };
    let detail = format!(
        "{}: {fate}. Asking again with the same Idempotency-Key, or with eventId {id}, is safe: it happens once",
        reason(database, error)
    );
    Problem::unavailable(detail, RETRY_AFTER)
        .with_member("possiblyWritten", possibly)
        .with_member("eventId", id.to_string())
}
