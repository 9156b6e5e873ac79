//! Who sees what: addresses of brokers and the user's name are for who bears the admin token, and for the log.

use std::{net::IpAddr, sync::Arc};

use highwater_kafka::{GroupStatus, KafkaStatus, group::GroupMember};
use highwater_table::LedgerStatus;
use warp::http::HeaderValue;

use super::Operations;
use crate::{discreet::discreet, http::Problem};

/// How much a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All.
    Whole,
    /// The kind of trouble, without an address or a user.
    Public,
}

impl View {
    /// What this caller may see. Who shows no token sees what anybody may, and who shows a wrong one nothing.
    pub(super) async fn of(
        operations: &Operations,
        authorization: Option<&HeaderValue>,
        caller: Option<IpAddr>,
        action: &str,
    ) -> Result<Self, Problem> {
        let is_token = |given: &&HeaderValue| {
            given.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "))
        };
        match (&operations.door, authorization.filter(is_token)) {
            (Some(door), Some(token)) => door.admit(Some(token), caller, action).await.map(|()| Self::Whole),
            _ => Ok(Self::Public),
        }
    }

    /// A text for this caller.
    pub(super) fn text(self, text: String) -> String {
        match self {
            Self::Whole => text,
            Self::Public => discreet(&text),
        }
    }

    fn option(self, text: &mut Option<String>) {
        *text = text.take().map(|text| self.text(text));
    }

    /// The cluster for this caller. Brokers have numbers in place of addresses.
    pub(super) fn kafka(self, mut kafka: KafkaStatus) -> KafkaStatus {
        if self == Self::Public {
            self.option(&mut kafka.error);
            for (number, broker) in (1..).zip(&mut kafka.brokers) {
                broker.broker = format!("{number}");
            }
        }
        kafka
    }

    /// State that is kept by the log, for this caller.
    pub(super) fn ledger(self, mut ledger: LedgerStatus) -> LedgerStatus {
        ledger.partitions.iter_mut().for_each(|partition| self.option(&mut partition.error));
        ledger
    }

    /// The group's members for this caller.
    pub(super) fn members(self, members: Arc<[GroupMember]>) -> Arc<[GroupMember]> {
        match self {
            Self::Whole => members,
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
