//! A consumer group as its coordinator keeps it (`GroupCoordinator` and `GroupMetadata` in Java's 3.x).
//!
//! A state machine without a socket: requests come in as calls; who has to wait asks again after each change;
//! [`Group::sweep`] is called now and then and sees to all that time does.

mod member;
mod offsets;
mod rebalance;

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

pub use member::{Admission, Joined, Joining, Member};
pub use offsets::{Committed, Offsets};

/// Where a group is in a rebalance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Without members.
    #[default]
    Empty,
    /// Waiting for all members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// At work.
    Stable,
}

impl Phase {
    /// The name that tools show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// Who says to be a member in a request: its id, its instance id if it has one, and the generation it knows.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The id it was given.
    pub member: &'a str,
    /// Its own name for itself (KIP-345).
    pub instance: Option<&'a str>,
    /// The generation it knows; -1 for none.
    pub generation: i32,
}

/// A group.
#[derive(Debug, Default)]
pub struct Group {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    members: BTreeMap<String, Member>,
    leader: String,
    /// Ids given to members that have not come back with them yet, and until when they count.
    given_ids: BTreeMap<String, Instant>,
    /// Until when a rebalance waits: for members to join, or for them to ask for their assignments.
    waits_until: Option<Instant>,
    /// What it committed.
    pub offsets: Offsets,
}

impl Group {
    /// Where it is in a rebalance.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Counts the rebalances.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// `consumer` for consumers.
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

    /// Lets a member in, or back in (`doUnknownJoinGroup`, `doJoinGroup`).
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

    /// A group has one type of protocol, and one protocol at least that all its members know.
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

    /// A new member, for which the others have to make room.
    fn admit(&mut self, id: String, joining: Joining) -> Admission {
        if self.members.is_empty() {
            self.leader = id.clone();
        }
        self.protocol_type = joining.protocol_type.clone();
        self.members.insert(id.clone(), Member::new(joining));
        self.wait_for_others(id)
    }

    /// A static member was started again: it takes its old place, and while its group is at work and would elect
    /// the same assignor, nobody else notices (`updateStaticMemberAndRebalance`).
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
        let mut joined = self.told(&id);
        if led && knows_skipping {
            joined.skip_assignment = true;
        } else if led {
            // A client that would assign anew for nothing is made a follower of the one it was.
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
            // It did not get the answer.
            Phase::CompletingRebalance => unchanged,
            Phase::Empty | Phase::PreparingRebalance => false,
        };
        if same { Admission::Same(self.told(&id)) } else { self.wait_for_others(id) }
    }

    /// What a waiting member is told; nothing while the group still gathers.
    pub fn joined(&self, id: &str, instance: Option<&str>) -> Option<Result<Joined, ResponseError>> {
        match self.members.get(id) {
            None => Some(Err(self.gone(instance))),
            Some(member) if member.waits => None,
            Some(_) => Some(Ok(self.told(id))),
        }
    }

    fn told(&self, id: &str) -> Joined {
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

    /// Takes the leader's assignment; a follower's is empty. Then ask [`Group::synced`] (`doSyncGroup`).
    ///
    /// # Errors
    ///
    /// Who asks is no member, or of another generation, or is to join again.
    pub fn sync(&mut self, claim: Claim<'_>, assignments: Vec<(String, Bytes)>) -> Result<(), ResponseError> {
        self.hear(claim)?;
        if self.phase == Phase::PreparingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(claim.member) {
            member.synced = true;
        }
        if self.phase == Phase::CompletingRebalance && claim.member == self.leader {
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

    /// A member's assignment; nothing while the leader has not sent it.
    pub fn synced(&self, claim: Claim<'_>) -> Option<Result<Bytes, ResponseError>> {
        let Some(member) = self.members.get(claim.member) else {
            return Some(Err(self.gone(claim.instance)));
        };
        if claim.generation != self.generation || self.phase == Phase::PreparingRebalance {
            return Some(Err(ResponseError::RebalanceInProgress));
        }
        (self.phase == Phase::Stable).then(|| Ok(member.assignment.clone()))
    }

    /// A member is alive (`handleHeartbeat`).
    ///
    /// # Errors
    ///
    /// Who asks is no member, or of another generation, or is to join again.
    pub fn heartbeat(&mut self, claim: Claim<'_>) -> Result<(), ResponseError> {
        self.hear(claim)?;
        match self.phase {
            Phase::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member of the generation was heard of.
    fn hear(&mut self, claim: Claim<'_>) -> Result<(), ResponseError> {
        self.check_member(claim.member, claim.instance)?;
        if claim.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(claim.member) {
            member.last_heard = Instant::now();
        }
        Ok(())
    }

    /// `validateCurrentMember`: an instance's id is the one it got last.
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

    /// Why a member that was there is not any more: another one has its name, or it was too late.
    fn gone(&self, instance: Option<&str>) -> ResponseError {
        match instance.and_then(|instance| self.member_of(instance)) {
            Some(_) => ResponseError::FencedInstanceId,
            None => ResponseError::UnknownMemberId,
        }
    }

    /// A member goes; one with an instance id may leave its id empty (`handleLeaveGroup`).
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

    /// Whether a commit counts (`validateOffsetCommit`, `doCommitOffsets`): a member's of this generation, or,
    /// while there are no members, one that names neither.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn may_commit(&mut self, claim: Claim<'_>) -> Result<(), ResponseError> {
        if claim.generation < 0 && claim.member.is_empty() && claim.instance.is_none() {
            return match self.phase {
                Phase::Empty => Ok(()),
                _ => Err(ResponseError::UnknownMemberId),
            };
        }
        self.hear(claim)?;
        match self.phase {
            Phase::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}
