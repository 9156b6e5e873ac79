//! A group of the classic protocol, whose leader assigns (`GroupCoordinator` and `GroupMetadata` in Java's 3.x).
//!
//! A request that has to wait asks again after each change.

mod member;
mod rebalance;
mod stored;

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

use super::MemberIdentity;
pub use member::{Admission, Joined, Joining, Member};

/// The state of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It has no members.
    #[default]
    Empty,
    /// It waits for all members to join.
    PreparingRebalance,
    /// It waits for the leader's assignment.
    CompletingRebalance,
    /// All members have their assignment.
    Stable,
}

impl Phase {
    /// Its name in Kafka's protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A group.
#[derive(Debug, Clone, Default)]
pub struct ClassicGroup {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    members: BTreeMap<String, Member>,
    leader: String,
    /// Member ids that were given out and not used yet, and when they expire.
    given_ids: BTreeMap<String, Instant>,
    /// Until when a rebalance waits: for JoinGroup, or for SyncGroup.
    waits_until: Option<Instant>,
    /// The reasons that members gave when they left, in order (KIP-800).
    pub leave_reasons: Vec<String>,
}

impl ClassicGroup {
    /// Its state.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The protocol type: `consumer` for consumers.
    pub fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The assignor in use.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Members by id.
    pub fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// JoinGroup of a new member or a known one (`doUnknownJoinGroup`, `doJoinGroup`).
    pub fn join(&mut self, joining: Joining) -> Admission {
        if let Err(error) = self.fits(&joining) {
            return Admission::Refused(error);
        }
        if joining.member.is_empty() {
            return self.join_new(joining);
        }
        let id = joining.member.clone();
        if self.given_ids.remove(&id).is_some() {
            return self.admit(id, joining);
        }
        match self.check_member(&id, joining.instance.as_deref()) {
            Ok(()) => self.join_again(id, joining),
            Err(error) => Admission::Refused(error),
        }
    }

    /// A group has one protocol type, and at least one protocol that all members support.
    fn fits(&self, joining: &Joining) -> Result<(), ResponseError> {
        let mut others = self.members.iter().filter(|(id, _)| **id != joining.member).peekable();
        let foreign = others.peek().is_some() && self.protocol_type != joining.protocol_type;
        let others: Vec<&Member> = others.map(|(_, member)| member).collect();
        let mut names = joining.protocols.iter().map(|(name, _)| name);
        let common = names.any(|name| others.iter().all(|member| member.knows(name)));
        if joining.protocol_type.is_empty() || foreign || !common {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn join_new(&mut self, joining: Joining) -> Admission {
        let name = joining.instance.as_ref().unwrap_or(&joining.client_id);
        let id = format!("{name}-{}", Uuid::new_v4());
        if let Some(instance) = &joining.instance {
            return match self.member_of(instance) {
                Some(old) => self.replace(&old, id, joining),
                None => self.admit(id, joining),
            };
        }
        if joining.needs_known_id {
            self.given_ids.insert(id.clone(), Instant::now() + joining.session_timeout);
            return Admission::NeedsId(id);
        }
        self.admit(id, joining)
    }

    /// Adds a new member, which begins a rebalance.
    fn admit(&mut self, id: String, joining: Joining) -> Admission {
        if self.members.is_empty() {
            self.leader = id.clone();
        }
        self.protocol_type = joining.protocol_type.clone();
        self.members.insert(id.clone(), Member::new(joining));
        self.wait_for_others(id)
    }

    /// A static member was restarted: it replaces its old self. While the group is stable and would elect
    /// the same assignor, there is no rebalance (`updateStaticMemberAndRebalance`).
    fn replace(&mut self, old: &str, id: String, joining: Joining) -> Admission {
        let Some(before) = self.members.remove(old) else { return self.admit(id, joining) };
        let led = self.leader == old;
        if led {
            self.leader = id.clone();
        }
        let (instance, knows_skipping) = (joining.instance.clone(), joining.knows_skipping);
        let member = Member { assignment: before.assignment, ..Member::new(joining) };
        self.members.insert(id.clone(), member);
        log::debug!("the member {instance:?} of a group is {id} now and was {old}");
        if self.phase != Phase::Stable || self.elected_protocol() != self.protocol {
            return self.wait_for_others(id);
        }
        let mut joined = self.join_result(&id);
        if led && knows_skipping {
            joined.skip_assignment = true;
        } else if led {
            // An old client that cannot skip the assignment is made a follower of its old self.
            (joined.leader, joined.members) = (old.to_owned(), Vec::new());
        }
        Admission::Same(joined)
    }

    fn join_again(&mut self, id: String, joining: Joining) -> Admission {
        let Some(member) = self.members.get_mut(&id) else {
            return Admission::Refused(ResponseError::UnknownMemberId);
        };
        let unchanged = member.joining.protocols == joining.protocols;
        self.protocol_type = joining.protocol_type.clone();
        member.joining = joining;
        member.last_heard = Instant::now();
        let same = match self.phase {
            Phase::Stable => unchanged && id != self.leader,
            // It did not get the response.
            Phase::CompletingRebalance => unchanged,
            Phase::Empty | Phase::PreparingRebalance => false,
        };
        if same { Admission::Same(self.join_result(&id)) } else { self.wait_for_others(id) }
    }

    /// The response to a JoinGroup that waits; `None` while members are joining.
    pub fn joined(&self, id: &str, instance: Option<&str>) -> Option<Result<Joined, ResponseError>> {
        match self.members.get(id) {
            None => Some(Err(self.gone(instance))),
            Some(member) if member.waits => None,
            Some(_) => Some(Ok(self.join_result(id))),
        }
    }

    fn join_result(&self, id: &str) -> Joined {
        let members = self.members.iter().map(|(member, state)| {
            let instance = state.instance().map(str::to_owned);
            (member.clone(), instance, state.metadata(&self.protocol))
        });
        Joined {
            member: id.to_owned(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            skip_assignment: false,
            members: if id == self.leader { members.collect() } else { Vec::new() },
        }
    }

    /// SyncGroup with the leader's assignment; a follower's is empty. [`ClassicGroup::synced`] is next (`doSyncGroup`).
    ///
    /// # Errors
    ///
    /// The caller is no member, is of another generation, or has to join again.
    pub fn sync(
        &mut self,
        identity: MemberIdentity<'_>,
        assignments: Vec<(String, Bytes)>,
    ) -> Result<(), ResponseError> {
        self.renew_session(identity)?;
        if self.phase == Phase::PreparingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(identity.member) {
            member.synced = true;
        }
        if self.phase == Phase::CompletingRebalance && identity.member == self.leader {
            for (member, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&member) {
                    member.assignment = assignment;
                }
            }
            let now = Instant::now();
            self.members.values_mut().for_each(|member| member.last_heard = now);
            self.phase = Phase::Stable;
        }
        Ok(())
    }

    /// A member's assignment; `None` until the leader has sent it.
    pub fn synced(&self, identity: MemberIdentity<'_>) -> Option<Result<Bytes, ResponseError>> {
        let Some(member) = self.members.get(identity.member) else {
            return Some(Err(self.gone(identity.instance)));
        };
        if identity.generation != self.generation || self.phase == Phase::PreparingRebalance {
            return Some(Err(ResponseError::RebalanceInProgress));
        }
        (self.phase == Phase::Stable).then(|| Ok(member.assignment.clone()))
    }

    /// Heartbeat (`handleHeartbeat`).
    ///
    /// # Errors
    ///
    /// The caller is no member, is of another generation, or has to join again.
    pub fn heartbeat(&mut self, identity: MemberIdentity<'_>) -> Result<(), ResponseError> {
        self.renew_session(identity)?;
        match self.phase {
            Phase::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Checks that a request is of a member of this generation, and renews its session.
    fn renew_session(&mut self, identity: MemberIdentity<'_>) -> Result<(), ResponseError> {
        self.check_member(identity.member, identity.instance)?;
        if identity.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(identity.member) {
            member.last_heard = Instant::now();
        }
        Ok(())
    }

    /// `validateCurrentMember`: an instance has the member id that it got last.
    fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        match instance.map(|instance| self.member_of(instance)) {
            Some(Some(current)) if current != id => Err(ResponseError::FencedInstanceId),
            Some(None) => Err(ResponseError::UnknownMemberId),
            _ if !self.members.contains_key(id) => Err(ResponseError::UnknownMemberId),
            _ => Ok(()),
        }
    }

    fn member_of(&self, instance: &str) -> Option<String> {
        let mut members = self.members.iter();
        members.find(|(_, member)| member.instance() == Some(instance)).map(|(id, _)| id.clone())
    }

    /// The error for a former member: another one has its instance id, or its session has expired.
    fn gone(&self, instance: Option<&str>) -> ResponseError {
        match instance.and_then(|instance| self.member_of(instance)) {
            Some(_) => ResponseError::FencedInstanceId,
            None => ResponseError::UnknownMemberId,
        }
    }

    /// LeaveGroup. With an instance id the member id may be empty (`handleLeaveGroup`).
    ///
    /// # Errors
    ///
    /// There is no such member.
    pub fn leave(&mut self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if self.given_ids.remove(id).is_some() {
            self.form_generation();
            return Ok(());
        }
        let named = instance.filter(|_| id.is_empty()).and_then(|instance| self.member_of(instance));
        let id = named.as_deref().unwrap_or(id);
        self.check_member(id, instance)?;
        self.members.remove(id);
        self.lost_members();
        Ok(())
    }

    /// Validates a commit (`validateOffsetCommit`, `doCommitOffsets`): of a member of this generation, or,
    /// while there are no members, of none.
    ///
    /// # Errors
    ///
    /// It is not valid.
    pub fn may_commit(&mut self, identity: MemberIdentity<'_>) -> Result<(), ResponseError> {
        if identity.generation < 0 && identity.member.is_empty() && identity.instance.is_none() {
            return match self.phase {
                Phase::Empty => Ok(()),
                _ => Err(ResponseError::UnknownMemberId),
            };
        }
        self.renew_session(identity)?;
        match self.phase {
            Phase::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}
