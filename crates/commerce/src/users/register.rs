//! Writes: the log decides the outcome of a request.

use std::sync::Arc;

use highwater_kafka::Context;
use highwater_table::{EventSourcedTable, Projection as _};
use highwater_web::{
    http::{CorrelationId, Problem, check_match},
    idempotency::{Idempotency, used_otherwise},
    timestamp,
};
use uuid::Uuid;
use warp::http::{HeaderValue, StatusCode};

use super::{
    User, Users,
    answer::UserBody,
    email::normal_form,
    event::{UserCreated, UserDeleted, UserEvent, UserUpdated, user_id},
    request::{NewUser, UserChange},
};
use crate::state::{ATTEMPTS, MemoryLimit, append, complete, contended};

/// Registers a user; a repetition with the same key gets the same answer.
///
/// # Errors
///
/// 409 where the e-mail is taken, 422 where the key was used for something else, 503, also where there is no room.
pub(super) async fn register(
    users: &Arc<EventSourcedTable<Users>>,
    memory: &MemoryLimit,
    new: &NewUser,
    idempotency: Option<Idempotency>,
    correlation: &CorrelationId,
) -> Result<UserBody, Problem> {
    let email_key = normal_form(&new.email);
    let at = timestamp::now();
    let context = Context::correlated(correlation.as_str());
    for _ in 0..ATTEMPTS {
        let version = complete(users)?.read(|view| {
            if let Some(request) = idempotency
                && let Some(before) = view.registered_by(request.key)
            {
                let again = UserBody {
                    user_id: before.user_id,
                    email: new.email.clone(),
                    name: new.name.clone(),
                    version: before.version,
                    created_at: before.at,
                    updated_at: before.at,
                };
                return Err(if before.body == request.body { Ok(again) } else { Err(used_otherwise()) });
            }
            match view.with_email(&email_key) {
                Some(_) => Err(Err(taken(&new.email))),
                None => memory.check(view.bytes()).map(|()| view.next_version(&email_key)).map_err(Err),
            }
        });
        let version = match version {
            Ok(version) => version,
            Err(answer) => return answer,
        };
        let created = UserCreated {
            user_id: user_id(&email_key, version),
            email_key: email_key.clone(),
            version,
            at,
            email: new.email.clone(),
            name: new.name.clone(),
            idempotency,
        };
        let body = UserBody {
            user_id: created.user_id,
            email: created.email.clone(),
            name: created.name.clone(),
            version,
            created_at: at,
            updated_at: at,
        };
        if append(users, UserEvent::UserCreated(created), &context, idempotency.is_some()).await? {
            return Ok(body);
        }
    }
    Err(contended())
}

/// Gives a user another name.
///
/// # Errors
///
/// 404, 412 where `If-Match` names another version, 503.
pub(super) async fn rename(
    users: &Arc<EventSourcedTable<Users>>,
    id: Uuid,
    change: &UserChange,
    if_match: Option<&HeaderValue>,
    correlation: &CorrelationId,
) -> Result<UserBody, Problem> {
    let context = Context::correlated(correlation.as_str());
    for _ in 0..ATTEMPTS {
        let user = found(users, id, if_match)?;
        let updated = UserUpdated {
            user_id: id,
            email_key: user.email_key.clone(),
            version: user.version + 1,
            at: timestamp::now(),
            name: change.name.clone(),
        };
        let after =
            User { name: change.name.clone(), version: updated.version, updated_at: updated.at, ..user };
        if append(users, UserEvent::UserUpdated(updated), &context, false).await? {
            return Ok(UserBody::from(&after));
        }
    }
    Err(contended())
}

/// Deletes a user; the e-mail is free again.
///
/// # Errors
///
/// 404, 412 where `If-Match` names another version, 503.
pub(super) async fn delete(
    users: &Arc<EventSourcedTable<Users>>,
    id: Uuid,
    if_match: Option<&HeaderValue>,
    correlation: &CorrelationId,
) -> Result<(), Problem> {
    let context = Context::correlated(correlation.as_str());
    for _ in 0..ATTEMPTS {
        let user = found(users, id, if_match)?;
        let deleted = UserDeleted {
            user_id: id,
            email_key: user.email_key,
            version: user.version + 1,
            at: timestamp::now(),
        };
        if append(users, UserEvent::UserDeleted(deleted), &context, false).await? {
            return Ok(());
        }
    }
    Err(contended())
}

/// The user, if the request may change it under this condition.
fn found(
    users: &Arc<EventSourcedTable<Users>>,
    id: Uuid,
    if_match: Option<&HeaderValue>,
) -> Result<User, Problem> {
    let user = complete(users)?.read(|view| view.get(id).cloned()).ok_or_else(|| unknown(id))?;
    check_match(if_match, user.version)?;
    Ok(user)
}

/// 404.
pub(super) fn unknown(id: Uuid) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no user {id} here"))
}

/// 409.
pub(super) fn taken(email: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("{email} is registered already"))
}
