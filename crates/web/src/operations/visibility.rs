//! Visibility: only the admin token and the log show addresses, users and the words of the database.

use std::{net::IpAddr, sync::Arc};

use highwater_kafka::{GroupStatus, KafkaStatus, group::GroupMember};
use highwater_table::TableStatus;
use serde_json::{Map, Value};
use warp::http::HeaderValue;

use super::Operations;
use crate::{auth::Grant, http::Problem, redact::redact};

/// The details that a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// All details.
    Full,
    /// The kind of trouble, without an address or a user.
    Public,
}

impl Visibility {
    /// The visibility for this caller: public without a token, an error with a wrong one.
    pub(super) async fn of(
        operations: &Operations,
        grant: &Grant,
        authorization: Option<&HeaderValue>,
        caller: Option<IpAddr>,
        action: &str,
    ) -> Result<Self, Problem> {
        let is_token = |given: &&HeaderValue| {
            given.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "))
        };
        // The credential of a client that was let in shows its rights, even if it is no admin.
        let is_other = grant.scopes().is_some() && grant.admin().is_none();
        match (&operations.admin_auth, authorization.filter(is_token)) {
            (Some(admin_auth), token) if !is_other && (token.is_some() || grant.admin().is_some()) => {
                admin_auth.admit(grant, token, caller, action).await.map(|()| Self::Full)
            }
            _ => Ok(Self::Public),
        }
    }

    /// A text for this caller.
    pub(super) fn text(self, text: String) -> String {
        match self {
            Self::Full => text,
            Self::Public => redact(&text),
        }
    }

    fn option(self, text: &mut Option<String>) {
        *text = text.take().map(|text| self.text(text));
    }

    /// The status of the cluster for this caller. Without the right, brokers have numbers in place of addresses.
    pub(super) fn kafka(self, mut kafka: KafkaStatus) -> KafkaStatus {
        if self == Self::Public {
            self.option(&mut kafka.error);
            for (number, broker) in (1..).zip(&mut kafka.brokers) {
                broker.broker = format!("{number}");
            }
        }
        kafka
    }

    /// The status of a table, for this caller.
    pub(super) fn table(self, mut table: TableStatus) -> TableStatus {
        table.partitions.iter_mut().for_each(|partition| self.option(&mut partition.error));
        table
    }

    /// The members that one service adds to `/health`, for this caller.
    pub(super) fn members_of_health(self, mut members: Map<String, Value>) -> Map<String, Value> {
        members.values_mut().for_each(|value| self.value(value));
        members
    }

    /// Each text in the value, for this caller.
    fn value(self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(std::mem::take(text)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.value(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The group's members for this caller.
    pub(super) fn members(self, members: Arc<[GroupMember]>) -> Arc<[GroupMember]> {
        match self {
            Self::Full => members,
            Self::Public => {
                let mut members = members.to_vec();
                members.iter_mut().for_each(|member| member.host.clear());
                members.into()
            }
        }
    }

    /// The group for this caller.
    pub(super) fn group(self, mut group: GroupStatus) -> GroupStatus {
        self.option(&mut group.error);
        group.partitions.iter_mut().for_each(|partition| self.option(&mut partition.error));
        group
    }
}
