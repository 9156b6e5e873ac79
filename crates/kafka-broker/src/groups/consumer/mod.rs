//! A group of the consumer protocol (KIP-848): the coordinator assigns, and each heartbeat brings a member a step nearer to
//! its target (`ConsumerGroup` and `GroupMetadataManager` in Java's 4.1).
//!
//! ```text
//! subscriptions, topics ─▶ group epoch ─▶ targets (assignment epoch) ─▶ each member's own assignment (member epoch)
//! ```
//!
//! It lacks Java's subscriptions by regular expression, racks, and members of the classic protocol.

mod assignor;
mod member;
mod reconciliation;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

use super::{COMMITS_BY_EPOCH, CommitRequest, MemberIdentity};
use assignor::Subscriber;
pub use assignor::{ServerAssignor, UnknownAssignor};
pub use member::{Heartbeat, Member};

/// The epoch of a heartbeat that joins.
pub const JOINS: i32 = 0;
/// The epoch of a heartbeat that leaves.
pub const LEAVES: i32 = -1;
/// The epoch of one by which a static member leaves until it is started again (KIP-345).
pub const LEAVES_FOR_RESTART: i32 = -2;

/// A partition, by its topic's id: a topic that is made again has other partitions.
pub type TopicPartition = (Uuid, i32);
/// Partitions.
pub type Partitions = BTreeSet<TopicPartition>;

/// The session timeout of members, and the interval of their heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// `group.consumer.session.timeout.ms`.
    pub timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
}

/// The id of a topic and its number of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLayout {
    /// Its id.
    pub id: Uuid,
    /// Its number of partitions.
    pub partitions: i32,
}

/// The response to a member's heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// Its epoch.
    pub epoch: i32,
    /// Its assignment, where it has changed, or where the heartbeat has all fields.
    pub assignment: Option<Partitions>,
}

/// A group. Two that differ in the times of their coordinators alone are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroup {
    sessions: Sessions,
    /// Grows with each change of members, subscriptions or topics.
    epoch: i32,
    /// The group epoch that the targets were computed at.
    assignment_epoch: i32,
    members: BTreeMap<String, Member>,
    /// The topics that members subscribe to and that exist, when the epoch was last looked at.
    topics: BTreeMap<String, TopicLayout>,
}

impl ConsumerGroup {
    /// One without members.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions, epoch: 0, assignment_epoch: 0, members: BTreeMap::new(), topics: BTreeMap::new() }
    }

    /// The group epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The epoch of the targets.
    pub fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }

    /// Members by id.
    pub fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// The session timeout of its members, and the interval of their heartbeats.
    pub fn sessions(&self) -> Sessions {
        self.sessions
    }

    /// The assignor that most members prefer (`computePreferredServerAssignor`).
    pub fn assignor(&self) -> ServerAssignor {
        let votes =
            |assignor| self.members.values().filter(|member| member.prefers == Some(assignor)).count();
        if votes(ServerAssignor::Range) > votes(ServerAssignor::Uniform) {
            ServerAssignor::Range
        } else {
            ServerAssignor::Uniform
        }
    }

    /// The name of its state (`ConsumerGroupState`).
    pub fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// A heartbeat (`consumerGroupHeartbeat`). `topics` tells of a topic that exists.
    ///
    /// # Errors
    ///
    /// The caller is no member, or is of another epoch, or its instance id is another member's.
    pub fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        topics: impl Fn(&str) -> Option<TopicLayout>,
    ) -> Result<HeartbeatReply, ResponseError> {
        if matches!(beat.epoch, LEAVES | LEAVES_FOR_RESTART) {
            return self.leave(beat);
        }
        let mut member = self.admit(beat)?;
        let before = member.assigned().clone();
        let resubscribes = member.apply_heartbeat(beat);
        self.members.insert(beat.member.clone(), member);
        let topics = self.subscribed_topics(topics);
        if resubscribes || topics != self.topics {
            self.topics = topics;
            self.epoch += 1;
        }
        if self.epoch > self.assignment_epoch {
            self.assign();
        }
        self.reconcile(&beat.member, beat.owned.as_ref());
        let member = &self.members[&beat.member];
        let news = beat.tells_all() || *member.assigned() != before;
        Ok(HeartbeatReply { epoch: member.epoch(), assignment: news.then(|| member.assigned().clone()) })
    }

    /// The member that a heartbeat is of: a new one, a known one by its current epoch, or one that takes the place of a
    /// static member that has left for a restart (`getOrMaybeSubscribe…ConsumerGroupMember`).
    fn admit(&mut self, beat: &Heartbeat) -> Result<Member, ResponseError> {
        let joins = beat.epoch == JOINS;
        let Some(instance) = &beat.instance else {
            return match self.members.get(&beat.member) {
                Some(member) => member.check_epoch(beat).map(|()| member.clone()),
                None if joins => Ok(Member::new(beat)),
                None => Err(ResponseError::UnknownMemberId),
            };
        };
        match (self.member_of(instance), joins) {
            (None, true) => Ok(Member::new(beat)),
            (None, false) => Err(ResponseError::UnknownMemberId),
            (Some((_, known)), true) if !known.has_left_for_restart() => {
                Err(ResponseError::UnreleasedInstanceId)
            }
            (Some((id, _)), true) => {
                let id = id.clone();
                let known = self.members.remove(&id).ok_or(ResponseError::UnknownMemberId)?;
                Ok(known.restarted())
            }
            (Some((id, _)), false) if *id != beat.member => Err(ResponseError::FencedInstanceId),
            (Some((_, known)), false) => known.check_epoch(beat).map(|()| known.clone()),
        }
    }

    /// `consumerGroupLeave`. The epoch that the member was at does not matter.
    fn leave(&mut self, beat: &Heartbeat) -> Result<HeartbeatReply, ResponseError> {
        if let Some(instance) = &beat.instance {
            let (id, _) = self.member_of(instance).ok_or(ResponseError::UnknownMemberId)?;
            if *id != beat.member {
                return Err(ResponseError::FencedInstanceId);
            }
        }
        let member = self.members.get_mut(&beat.member).ok_or(ResponseError::UnknownMemberId)?;
        if beat.epoch == LEAVES_FOR_RESTART {
            member.leave_for_restart();
        } else {
            self.fence(&beat.member);
        }
        Ok(HeartbeatReply { epoch: beat.epoch, assignment: None })
    }

    /// Removes a member (`consumerGroupFenceMember`). The next heartbeat of another one computes new targets.
    fn fence(&mut self, id: &str) {
        self.members.remove(id);
        self.epoch += 1;
    }

    fn member_of(&self, instance: &str) -> Option<(&String, &Member)> {
        self.members.iter().find(|(_, member)| member.instance() == Some(instance))
    }

    fn subscribed_topics(
        &self,
        topics: impl Fn(&str) -> Option<TopicLayout>,
    ) -> BTreeMap<String, TopicLayout> {
        let names: BTreeSet<&String> =
            self.members.values().flat_map(|member| member.subscription()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), topics(name)?))).collect()
    }

    /// Computes all targets (`TargetAssignmentBuilder`).
    fn assign(&mut self) {
        let subscribers: Vec<Subscriber<'_>> = self
            .members
            .iter()
            .map(|(id, member)| {
                let topics = member.subscription().iter().filter_map(|name| self.topics.get(name));
                let topics = topics.map(|topic| (topic.id, topic.partitions)).collect();
                Subscriber { id, instance: member.instance(), topics, target: member.target() }
            })
            .collect();
        let targets = self.assignor().assign(&subscribers);
        for (member, target) in self.members.values_mut().zip(targets) {
            member.target = target;
        }
        self.assignment_epoch = self.epoch;
    }

    /// Validates a commit (`ConsumerGroup.validateOffsetCommit`): by a member's current epoch, or, while there are no
    /// members, by nobody.
    ///
    /// # Errors
    ///
    /// It is not valid.
    pub fn may_commit(&self, identity: MemberIdentity<'_>, by: CommitRequest) -> Result<(), ResponseError> {
        if identity.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(identity.member).ok_or(ResponseError::UnknownMemberId)?;
        let stale = match by {
            CommitRequest::Plain(..COMMITS_BY_EPOCH) => return Err(ResponseError::UnsupportedVersion),
            CommitRequest::Plain(_) => ResponseError::StaleMemberEpoch,
            CommitRequest::Transactional => ResponseError::IllegalGeneration,
        };
        if member.epoch() == identity.generation { Ok(()) } else { Err(stale) }
    }

    /// Validates an OffsetFetch that names a member (`validateOffsetFetch`).
    ///
    /// # Errors
    ///
    /// It is not a member of that epoch.
    pub fn may_fetch(&self, member: &str, epoch: i32) -> Result<(), ResponseError> {
        let known = self.members.get(member).ok_or(ResponseError::UnknownMemberId)?;
        if known.epoch() == epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }

    /// All sessions begin anew, and the time to revoke: another coordinator has loaded the group
    /// (`GroupMetadataManager.onLoaded`).
    pub(super) fn begin_sessions(&mut self) {
        self.members.values_mut().for_each(Member::begin_session);
    }

    /// Removes members whose session has expired, and those that have not revoked in time. Returns whether there were any.
    pub fn sweep(&mut self) -> bool {
        let now = Instant::now();
        let late = self.members.iter().filter(|(_, member)| member.is_late(now, self.sessions.timeout));
        let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        late.iter().for_each(|id| self.fence(id));
        !late.is_empty()
    }
}
