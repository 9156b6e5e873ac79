//! The events of users in `user-events`: the contract with every service that reads the topic.
//!
//! The record's key is the e-mail's normal form, which never changes, so that one partition decides about it.
//! An event makes a version of the state of its e-mail; it is rejected unless that version is one more than that of the last
//! event of this e-mail that was applied. So of several `UserCreated` the first is applied, and one that comes late, or
//! twice, is rejected.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use highwater_kafka::Event;
use highwater_table::Versioned;
use highwater_web::idempotency::Idempotency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An event of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum UserEvent {
    /// A user registered.
    UserCreated(UserCreated),
    /// A user has another name.
    UserUpdated(UserUpdated),
    /// A user was deleted; the e-mail is free again.
    UserDeleted(UserDeleted),
}

/// A user registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserCreated {
    /// The user's id, by [`user_id`]: no other user ever has it.
    pub user_id: Uuid,
    /// The e-mail's normal form, as [`super::email::normal_form`] makes it.
    pub email_key: String,
    /// The version of the e-mail's state that this makes.
    pub version: u64,
    /// The time of the request.
    #[serde(with = "highwater_web::timestamp")]
    pub at: DateTime<Utc>,
    /// The e-mail as it was given, without surrounding blanks.
    pub email: String,
    /// The name.
    pub name: String,
    /// The request's identity, if it came with an Idempotency-Key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// A user has another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserUpdated {
    /// The user.
    pub user_id: Uuid,
    /// The e-mail's normal form.
    pub email_key: String,
    /// The version of the e-mail's state that this makes.
    pub version: u64,
    /// The time of the request.
    #[serde(with = "highwater_web::timestamp")]
    pub at: DateTime<Utc>,
    /// The name from now on.
    pub name: String,
}

/// A user was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserDeleted {
    /// The user.
    pub user_id: Uuid,
    /// The e-mail's normal form.
    pub email_key: String,
    /// The version of the e-mail's state that this makes.
    pub version: u64,
    /// The time of the request.
    #[serde(with = "highwater_web::timestamp")]
    pub at: DateTime<Utc>,
}

/// The id of the user that registers with that e-mail by an event of that version. No other user has it, since an event with
/// another id is rejected, in whatever order partitions are read.
pub fn user_id(email_key: &str, version: u64) -> Uuid {
    const USERS: Uuid = uuid::uuid!("0f6cf1ab-3b0f-4d0e-9a55-6f6a3d0c7a10");
    Uuid::new_v5(&USERS, format!("{version} {email_key}").as_bytes())
}

impl UserEvent {
    /// The user of the event.
    pub fn user_id(&self) -> Uuid {
        match self {
            Self::UserCreated(created) => created.user_id,
            Self::UserUpdated(updated) => updated.user_id,
            Self::UserDeleted(deleted) => deleted.user_id,
        }
    }

    /// The normal form of the user's e-mail.
    pub fn email_key(&self) -> &str {
        match self {
            Self::UserCreated(created) => &created.email_key,
            Self::UserUpdated(updated) => &updated.email_key,
            Self::UserDeleted(deleted) => &deleted.email_key,
        }
    }
}

impl Event for UserEvent {
    fn key(&self) -> Cow<'_, str> {
        self.email_key().into()
    }

    fn event_type(&self) -> Cow<'_, str> {
        match self {
            Self::UserCreated(_) => "UserCreated",
            Self::UserUpdated(_) => "UserUpdated",
            Self::UserDeleted(_) => "UserDeleted",
        }
        .into()
    }
}

impl Versioned for UserEvent {
    const TYPES: &'static [&'static str] = &["UserCreated", "UserUpdated", "UserDeleted"];

    fn version(&self) -> u64 {
        match self {
            Self::UserCreated(created) => created.version,
            Self::UserUpdated(updated) => updated.version,
            Self::UserDeleted(deleted) => deleted.version,
        }
    }
}
