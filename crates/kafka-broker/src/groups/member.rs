//! A member of a group, and what it says and is told (`MemberMetadata` in Java's 3.x).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

/// Who a member is, what it can do, and how long it may be silent.
#[derive(Debug, Clone)]
pub struct Joining {
    /// The id it was given before; empty when it is new.
    pub member: String,
    /// Its own name for itself, which outlives a restart (KIP-345).
    pub instance: Option<String>,
    /// The name of its program.
    pub client_id: String,
    /// The address from which it joins.
    pub host: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// The assignors that it knows, the one it likes best first, each with what it says to that.
    pub protocols: Vec<(String, Bytes)>,
    /// Without a heartbeat for so long it is taken for dead.
    pub session_timeout: Duration,
    /// So long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// Whether a new member must come back with the id it is given (KIP-394, from version 4 on).
    pub needs_known_id: bool,
    /// Whether it knows that a leader may have nothing to assign (KIP-814, from version 9 on).
    pub knows_skipping: bool,
}

/// What a member is told when it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub member: String,
    /// The generation it is part of.
    pub generation: i32,
    /// The assignor that all are to use.
    pub protocol: String,
    /// The id of the member that assigns.
    pub leader: String,
    /// It leads, but the assignment stands (KIP-814).
    pub skip_assignment: bool,
    /// For the leader only: every member, its instance id and what it said to the assignor.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

/// What became of a request to join.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits for the others: ask [`Group::joined`](super::Group::joined) under this id.
    Waits(String),
    /// Nothing changed: this is the generation there is.
    Same(Joined),
    /// It is to come again with this id.
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
    /// Waits in a join: it need not be heard of meanwhile.
    pub(super) waits: bool,
    /// Asked for its assignment in this generation.
    pub(super) synced: bool,
}

impl Member {
    pub(super) fn new(joining: Joining) -> Self {
        let last_heard = Instant::now();
        Self { joining, assignment: Bytes::new(), last_heard, waits: false, synced: false }
    }

    /// Its own name for itself.
    pub fn instance(&self) -> Option<&str> {
        self.joining.instance.as_deref()
    }

    /// The name of its program.
    pub fn client_id(&self) -> &str {
        &self.joining.client_id
    }

    /// The address from which it joined.
    pub fn host(&self) -> &str {
        &self.joining.host
    }

    /// What its leader gave it.
    pub fn assignment(&self) -> &Bytes {
        &self.assignment
    }

    /// What it says to an assignor.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.joining.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.joining.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        !self.waits && now >= self.last_heard + self.joining.session_timeout
    }
}
