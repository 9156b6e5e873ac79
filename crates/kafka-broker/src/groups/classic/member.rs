//! A member of a group (`MemberMetadata` in Java's 3.x).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

/// A member as its JoinGroup describes it.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Its member id; empty if it is new.
    pub member: String,
    /// Its instance id, which survives a restart (KIP-345).
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// The address from which it joins.
    pub host: String,
    /// The protocol type: `consumer` for consumers.
    pub protocol_type: String,
    /// The assignors that it supports, the preferred one first, each with its metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// Its session timeout.
    pub session_timeout: Duration,
    /// Its rebalance timeout.
    pub rebalance_timeout: Duration,
    /// Whether a new member has to join again with the id that it is given (KIP-394, from version 4 on).
    pub needs_known_id: bool,
    /// Whether it knows `skip_assignment` (KIP-814, from version 9 on).
    pub knows_skipping: bool,
}

/// The response to a JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its member id.
    pub member: String,
    /// Its generation.
    pub generation: i32,
    /// The assignor that was selected.
    pub protocol: String,
    /// The member id of the leader.
    pub leader: String,
    /// Whether the leader keeps the assignment (KIP-814).
    pub skip_assignment: bool,
    /// For the leader only: every member, its instance id and its metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

/// The result of a JoinGroup.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits for the others: ask [`ClassicGroup::joined`](super::ClassicGroup::joined) under this id.
    Waits(String),
    /// Nothing changed: this is the current generation.
    Same(Joined),
    /// It has to join again with this id.
    NeedsId(String),
    /// It may not join.
    Refused(ResponseError),
}

/// A member.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) joining: Joining,
    pub(super) assignment: Bytes,
    pub(super) last_heard: Instant,
    /// It waits in a JoinGroup, during which its session does not expire.
    pub(super) waits: bool,
    /// It has sent SyncGroup in this generation.
    pub(super) synced: bool,
}

impl Member {
    pub(super) fn new(joining: Joining) -> Self {
        let last_heard = Instant::now();
        Self { joining, assignment: Bytes::new(), last_heard, waits: false, synced: false }
    }

    /// Its instance id.
    pub fn instance(&self) -> Option<&str> {
        self.joining.instance.as_deref()
    }

    /// Its client id.
    pub fn client_id(&self) -> &str {
        &self.joining.client_id
    }

    /// The address from which it joined.
    pub fn host(&self) -> &str {
        &self.joining.host
    }

    /// Its assignment.
    pub fn assignment(&self) -> &Bytes {
        &self.assignment
    }

    /// Its metadata for an assignor.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.joining.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// The time of its last request.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.joining.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        !self.waits && now >= self.last_heard + self.joining.session_timeout
    }
}
