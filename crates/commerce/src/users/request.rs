//! The requests of the user service.

use highwater_web::{
    fields::{Fields, VISIBLE_LINE, line},
    http::Problem,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::email;

/// The longest name, in characters.
const LONGEST_NAME: usize = 256;

/// `POST /users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NewUser {
    /// Without surrounding blanks.
    #[schemars(schema_with = "email::schema")]
    pub email: String,
    /// Without surrounding blanks, at most 256 characters.
    #[schemars(length(min = 1, max = LONGEST_NAME), regex(pattern = VISIBLE_LINE))]
    pub name: String,
}

/// `PATCH /users/{userId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UserChange {
    /// Without surrounding blanks, at most 256 characters.
    #[schemars(length(min = 1, max = LONGEST_NAME), regex(pattern = VISIBLE_LINE))]
    pub name: String,
}

impl NewUser {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 with every fault.
    pub fn read(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body, max_depth, &["email", "name"])?;
        let email = fields.text("email", |text| email::parse(text).map(str::to_owned));
        let name = fields.text("name", line(LONGEST_NAME));
        let read = email.zip(name).map(|(email, name)| Self { email, name });
        fields.finish(read)
    }
}

impl UserChange {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 with every fault.
    pub fn read(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body, max_depth, &["email", "name"])?;
        fields.without("email", "cannot be changed: register with the other one, and delete this user");
        let name = fields.text("name", line(LONGEST_NAME));
        fields.finish(name.map(|name| Self { name }))
    }
}
