//! Users as clients see them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::User;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
pub struct UserBody {
    /// The user's id.
    pub user_id: Uuid,
    /// The e-mail as it was given.
    pub email: String,
    /// The name.
    pub name: String,
    /// The version, as in the ETag.
    pub version: u64,
    /// The time of the registration.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub updated_at: DateTime<Utc>,
}

/// A page of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Users")]
pub struct UsersBody {
    /// The users, by the time of their registration.
    pub users: Vec<UserBody>,
    /// The number of entries on the page.
    pub count: usize,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<&User> for UserBody {
    fn from(user: &User) -> Self {
        Self {
            user_id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            version: user.version,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}
