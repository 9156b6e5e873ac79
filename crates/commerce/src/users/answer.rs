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
    /// When the user registered.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub created_at: DateTime<Utc>,
    /// When anything about the user changed last.
    #[serde(with = "highwater_web::timestamp")]
    #[schemars(schema_with = "highwater_web::http::openapi::timestamp")]
    pub updated_at: DateTime<Utc>,
}

/// A page of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Users")]
pub struct UsersBody {
    /// The users, by when they registered.
    pub users: Vec<UserBody>,
    /// How many they are.
    pub count: usize,
    /// Where the next page begins; absent on the last.
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
