//! A consumer group as its coordinator keeps it (`GroupCoordinator` and `GroupMetadata` in Java's 3.x).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

/// Where a group is in a rebalance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
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
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    last_heard: Instant,
    /// Waits in a join: it need not be heard of meanwhile.
    joining: bool,
}

impl Member {
    fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// A member that asks to join.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) protocol_type: String,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Whether a new member must come back with the id it is given (KIP-394, from version 4 on).
    pub(super) needs_known_id: bool,
}

/// What a member is told when it has joined.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub(super) member: String,
    pub(super) generation: i32,
    pub(super) protocol: String,
    pub(super) leader: String,
    /// For the leader only: every member, its instance id and its metadata.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

/// What became of a request to join.
#[derive(Debug)]
pub(super) enum Admission {
    /// It waits for the others: ask [`Group::joined`] under this id.
    Waits(String),
    /// Nothing changed: this is the generation there is.
    Same(Joined),
    /// It is to come again with this id.
    NeedsId(String),
    Refused(ResponseError),
}

/// A group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) members: BTreeMap<String, Member>,
    leader: String,
    given_ids: BTreeSet<String>,
    gathers_until: Option<Instant>,
    offsets: HashMap<(String, i32), (i64, String)>,
}

impl Group {
    pub(super) fn member_ids(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub(super) fn join(&mut self, joining: Joining) -> Admission {
        let supported = |(protocol, _): &(String, Bytes)| {
            let others = self.members.iter().filter(|(id, _)| **id != joining.member);
            others.into_iter().all(|(_, member)| member.protocols.iter().any(|(name, _)| name == protocol))
        };
        let foreign = !self.members.is_empty() && self.protocol_type != joining.protocol_type;
        if joining.protocols.is_empty() || foreign || !joining.protocols.iter().any(supported) {
            return Admission::Refused(ResponseError::InconsistentGroupProtocol);
        }
        let mut id = joining.member.clone();
        if id.is_empty() {
            // A static member that comes again takes its old place (KIP-345).
            let replaced = joining.instance.as_ref().and_then(|instance| {
                self.members.iter().find(|(_, member)| member.instance.as_ref() == Some(instance))
            });
            let replaced = replaced.map(|(id, _)| id.clone());
            id = format!("{}-{}", joining.client_id, Uuid::new_v4());
            if let Some(replaced) = replaced {
                self.members.remove(&replaced);
            } else if joining.needs_known_id && joining.instance.is_none() {
                self.given_ids.insert(id.clone());
                return Admission::NeedsId(id);
            }
        } else if !self.members.contains_key(&id) && !self.given_ids.remove(&id) {
            return Admission::Refused(ResponseError::UnknownMemberId);
        }
        self.protocol_type = joining.protocol_type;
        let unchanged = self.members.get(&id).is_some_and(|known| known.protocols == joining.protocols);
        let member = Member {
            instance: joining.instance,
            client_id: joining.client_id,
            protocols: joining.protocols,
            assignment: self.members.get(&id).map(|known| known.assignment.clone()).unwrap_or_default(),
            session_timeout: joining.session_timeout,
            rebalance_timeout: joining.rebalance_timeout,
            last_heard: Instant::now(),
            joining: false,
        };
        self.members.insert(id.clone(), member);
        let same = match self.phase {
            Phase::Stable => unchanged && id != self.leader,
            Phase::CompletingRebalance => unchanged,
            Phase::Empty | Phase::PreparingRebalance => false,
        };
        if same {
            return Admission::Same(self.told(&id));
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = true;
        }
        self.gather();
        Admission::Waits(id)
    }

    /// What a waiting member is told; nothing while the group still gathers.
    pub(super) fn joined(&self, id: &str) -> Option<Result<Joined, ResponseError>> {
        match self.members.get(id) {
            None => Some(Err(ResponseError::UnknownMemberId)),
            Some(member) if member.joining => None,
            Some(_) => Some(Ok(self.told(id))),
        }
    }

    fn told(&self, id: &str) -> Joined {
        let members = self
            .members
            .iter()
            .map(|(member, state)| (member.clone(), state.instance.clone(), state.metadata(&self.protocol)));
        Joined {
            member: id.to_owned(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: if id == self.leader { members.collect() } else { Vec::new() },
        }
    }

    /// Starts to gather, unless it does already, and ends it when all are there.
    fn gather(&mut self) {
        if self.phase != Phase::PreparingRebalance {
            self.phase = Phase::PreparingRebalance;
            let patience =
                self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default();
            self.gathers_until = Some(Instant::now() + patience);
        }
        self.form_generation(false);
    }

    /// The next generation, when all have joined; or without those who have not, when time is up.
    fn form_generation(&mut self, time_is_up: bool) {
        if time_is_up {
            self.members.retain(|_, member| member.joining);
        }
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.generation += 1;
            self.gathers_until = None;
            return;
        }
        if self.members.values().any(|member| !member.joining) {
            return;
        }
        self.generation += 1;
        self.gathers_until = None;
        self.phase = Phase::CompletingRebalance;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        self.protocol = self.common_protocol();
        let now = Instant::now();
        for member in self.members.values_mut() {
            member.joining = false;
            member.last_heard = now;
            member.assignment = Bytes::new();
        }
    }

    /// The leader's first choice among what all support.
    fn common_protocol(&self) -> String {
        let all_support = |protocol: &String| {
            self.members.values().all(|member| member.protocols.iter().any(|(name, _)| name == protocol))
        };
        let choices =
            self.members.get(&self.leader).map(|leader| leader.protocols.as_slice()).unwrap_or_default();
        choices.iter().map(|(name, _)| name).find(|name| all_support(name)).cloned().unwrap_or_default()
    }

    /// Takes the leader's assignment; a follower's is empty. Then ask [`Group::synced`].
    pub(super) fn sync(
        &mut self,
        id: &str,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
    ) -> Result<(), ResponseError> {
        self.hear(id, generation)?;
        if self.phase == Phase::CompletingRebalance && id == self.leader {
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
    pub(super) fn synced(&self, id: &str, generation: i32) -> Option<Result<Bytes, ResponseError>> {
        let Some(member) = self.members.get(id) else { return Some(Err(ResponseError::UnknownMemberId)) };
        if generation != self.generation || self.phase == Phase::PreparingRebalance {
            return Some(Err(ResponseError::RebalanceInProgress));
        }
        (self.phase == Phase::Stable).then(|| Ok(member.assignment.clone()))
    }

    pub(super) fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        self.hear(id, generation)?;
        match self.phase {
            Phase::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member of the generation was heard of.
    fn hear(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.last_heard = Instant::now();
        Ok(())
    }

    pub(super) fn leave(&mut self, id: &str) -> Result<(), ResponseError> {
        if self.given_ids.remove(id) {
            return Ok(());
        }
        self.members.remove(id).ok_or(ResponseError::UnknownMemberId)?;
        self.lost_members();
        Ok(())
    }

    fn lost_members(&mut self) {
        match self.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance => self.form_generation(false),
            Phase::CompletingRebalance | Phase::Stable => self.gather(),
        }
    }

    /// Whether a commit of that member and generation counts; none at all may commit to an empty group.
    pub(super) fn may_commit(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        if generation < 0 && id.is_empty() {
            return if self.members.is_empty() { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.hear(id, generation)?;
        match self.phase {
            Phase::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    pub(super) fn commit(&mut self, topic: &str, partition: i32, offset: i64, metadata: String) {
        self.offsets.insert((topic.to_owned(), partition), (offset, metadata));
    }

    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        self.offsets.get(&(topic.to_owned(), partition)).map(|(offset, _)| *offset)
    }

    /// Every topic and partition with a committed offset.
    pub(super) fn offsets(&self) -> impl Iterator<Item = (&str, i32)> {
        self.offsets.keys().map(|(topic, partition)| (topic.as_str(), *partition))
    }

    /// Lets go of members that were not heard of, and of waiting for those that do not join. Tells whether
    /// anything changed.
    pub(super) fn sweep(&mut self) -> bool {
        let now = Instant::now();
        let before = (self.members.len(), self.phase, self.generation);
        self.members.retain(|_, member| member.joining || now < member.last_heard + member.session_timeout);
        if self.members.len() != before.0 {
            self.lost_members();
        }
        if self.gathers_until.is_some_and(|until| now >= until) {
            self.form_generation(true);
        }
        before != (self.members.len(), self.phase, self.generation)
    }
}
