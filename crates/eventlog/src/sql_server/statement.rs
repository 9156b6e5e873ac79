//! A statement and its parameters, which are never part of its text.

use chrono::{DateTime, NaiveDateTime, Utc};
use tiberius::Query;
use uuid::Uuid;

/// A value; never NULL.
#[derive(Debug, Clone)]
pub(super) enum Param {
    Id(Uuid),
    Text(String),
    Timestamp(NaiveDateTime),
    Number(i64),
}

/// A statement under construction.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: String,
    params: Vec<Param>,
}

impl Statement {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), params: Vec::new() }
    }

    #[must_use]
    pub(super) fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    #[must_use]
    pub(super) fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        let place = format!("@P{}", self.params.len());
        self.text(&place)
    }

    /// A timestamp of the column's own type, so no column is converted and indexes can be sought.
    #[must_use]
    pub(super) fn timestamp(self, timestamp: DateTime<Utc>) -> Self {
        self.text("CAST(").param(Param::Timestamp(timestamp.naive_utc())).text(" AS DATETIME2(3))")
    }

    /// The statement in tiberius' form.
    pub(super) fn query(&self) -> Query<'_> {
        let mut query = Query::new(self.text.as_str());
        for param in &self.params {
            match param {
                Param::Id(id) => query.bind(*id),
                Param::Text(text) => query.bind(text.as_str()),
                Param::Timestamp(timestamp) => query.bind(*timestamp),
                Param::Number(number) => query.bind(*number),
            }
        }
        query
    }
}
