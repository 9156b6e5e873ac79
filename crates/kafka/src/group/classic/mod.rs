//! The classic protocol: members join, one of them computes the assignment, all are synchronised.
//!
//! ```text
//! find the coordinator ─▶ join ─▶ sync ─▶ at work ─▶ give everything up (eager) ─┐
//!                          ▲                                                     │
//!                          └──────── joins again, keeping all (cooperative) ◀────┴─▶ leave
//! ```
//!
//! The states are `ConsumerCoordinator`'s in Java.

mod heart;
mod join;

use std::{collections::BTreeSet, future::pending, pin::pin, sync::Arc, time::Duration};

use kafka_protocol::ResponseError;
use tokio::time::sleep;

use super::{
    AGAIN, Coordinator, Leave,
    assignor::is_cooperative,
    membership::{Call, Ended, Enrolment, Line, Why, Word},
};
use crate::{GroupPhase, backoff::Backoff, wire::WireError};
use heart::{Beat, Heart};
use join::{Counts, Joiner, Session, counts};

/// What the coordinator says when others join, leave or change what they ask for; it does not say which.
const CALLED: &str = "the coordinator called for it: a member joined, left or changed";

/// Lives in the group until it leaves, or may not come back.
pub(super) async fn live(enrolment: &Enrolment, line: &mut Line) -> Ended {
    enrolment.registry.group(|group| group.protocol = "classic");
    let member = Member {
        enrolment,
        line,
        joiner: Joiner::new(enrolment),
        heart: Heart::new(enrolment),
        owned: BTreeSet::new(),
        why: Why::now("the consumer is starting"),
    };
    member.live().await
}

struct Member<'a> {
    enrolment: &'a Enrolment,
    line: &'a mut Line,
    joiner: Joiner,
    heart: Heart,
    /// What the consumer said to hold last.
    owned: BTreeSet<i32>,
    /// Why it joins the next time, also for the coordinator's log (KIP-800).
    why: Why,
}

/// How a generation ended.
enum Next {
    /// The group gathers anew, or is to.
    Join(Why),
    /// Out of it.
    Lost(WireError),
    Leave(Leave),
}

impl Member<'_> {
    async fn live(mut self) -> Ended {
        let mut backoff = Backoff::new();
        loop {
            let standing = Arc::clone(&self.line.standing);
            let joined = tokio::select! {
                biased;
                how = self.line.leaving() => return self.leave(how).await,
                joined = self.joiner.join(self.enrolment, &standing, &self.owned, &self.why.reason) => joined,
                never = self.heart.beat_on(&self.enrolment.coordinator) => match never {},
            };
            let next = match joined {
                Ok(session) => {
                    self.enrolment.succeeded();
                    backoff = Backoff::new();
                    self.work(session).await
                }
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    if let Err(how) = self.pause(AGAIN).await {
                        return self.leave(how).await;
                    }
                    continue;
                }
                Err(error) if is_out(&error) => Next::Lost(error),
                Err(error) => {
                    self.enrolment.failed(&self.explained(&error));
                    if let Err(how) = self.pause(backoff.next_wait()).await {
                        return self.leave(how).await;
                    }
                    continue;
                }
            };
            match next {
                Next::Join(why) => self.why = why,
                Next::Lost(error) if error.code() == Some(ResponseError::FencedInstanceId) => {
                    return Ended::Barred(self.enrolment.fenced());
                }
                Next::Lost(error) => {
                    self.joiner.heed(&error);
                    self.heart.stop();
                    self.why = Why::now(format!("was out of the group: {error}"));
                    self.owned.clear();
                    if let Err(how) = self.line.lost(error.to_string()).await {
                        return self.leave(how).await;
                    }
                    if let Err(how) = self.pause(AGAIN).await {
                        return self.leave(how).await;
                    }
                }
                Next::Leave(how) => return self.leave(how).await,
            }
        }
    }

    /// Waits, unless the consumer wants to go, and beats meanwhile.
    async fn pause(&mut self, wait: Duration) -> Result<(), Leave> {
        tokio::select! {
            how = self.line.leaving() => Err(how),
            () = sleep(wait) => Ok(()),
            never = self.heart.beat_on(&self.enrolment.coordinator) => match never {},
        }
    }

    /// One generation: has the consumer take its partitions up, and beats until something ends it.
    async fn work(&mut self, session: Session) -> Next {
        let Session { assignment, leads, partitions, others, synced_at } = session;
        let cooperative = is_cooperative(&self.enrolment.config.assignors);
        let mut topic = self.enrolment.topic.clone();
        let coordinator = Arc::clone(&self.enrolment.coordinator);
        let max_age = self.enrolment.config.metadata_max_age;
        let mut elsewhere = pin!(others_changed(coordinator, others, max_age));
        // What another member gets, it gets in the generation after the one in which it is given up (KIP-429).
        let mut due =
            (cooperative && !self.owned.is_subset(&assignment)).then(|| Why::now("gave up partitions"));
        let mut answered = false;
        self.heart.start(&self.line.standing, synced_at);
        self.line.call(Call::Hold(assignment, self.why.clone()));
        loop {
            match due {
                Some(why) if answered => {
                    return if cooperative { Next::Join(why) } else { self.give_up(why).await };
                }
                _ => {}
            }
            tokio::select! {
                word = self.line.word() => match word {
                    Word::Holds(partitions) => (self.owned, answered) = (partitions, true),
                    Word::Leave(how) => return Next::Leave(how),
                },
                beat = self.heart.beat(&self.enrolment.coordinator) => match beat {
                    Beat::Steady => {}
                    Beat::Rebalance => { due.get_or_insert_with(|| Why::now(CALLED)); }
                    Beat::Out(error) => return Next::Lost(error),
                },
                () = topic.changed_from(partitions), if leads && due.is_none() => {
                    due = Some(Why::now("the topic's partitions changed"));
                }
                topic = &mut elsewhere, if leads && due.is_none() => {
                    due = Some(Why::now(format!("the partitions of {topic} changed, which others read")));
                }
            }
        }
    }

    /// Waits until the consumer has let go of everything.
    async fn give_up(&mut self, why: Why) -> Next {
        self.line.call(Call::GiveUp);
        loop {
            tokio::select! {
                word = self.line.word() => match word {
                    Word::Holds(partitions) if partitions.is_empty() => {
                        self.owned = partitions;
                        return Next::Join(why);
                    }
                    Word::Holds(_) => {}
                    Word::Leave(how) => return Next::Leave(how),
                },
                beat = self.heart.beat(&self.enrolment.coordinator) => {
                    if let Beat::Out(error) = beat {
                        return Next::Lost(error);
                    }
                }
            }
        }
    }

    async fn leave(mut self, how: Leave) -> Ended {
        if !self.enrolment.stays(how) {
            self.enrolment.phase(GroupPhase::Left);
            if let Err(error) = self.joiner.leave(self.enrolment).await {
                log::debug!("leaving the group: {error}");
            }
        }
        Ended::Left
    }

    fn explained(&self, error: &WireError) -> String {
        match error.code() {
            Some(ResponseError::InconsistentGroupProtocol) => format!(
                "{error} (members of the group offer none of {}: partition.assignment.strategy; or they are no \
                 consumers, as Kafka Connect's workers are none: another group.id)",
                self.enrolment
                    .config
                    .assignors
                    .iter()
                    .map(|assignor| assignor.name())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Some(ResponseError::GroupAuthorizationFailed) => {
                format!("group {}: {}", self.enrolment.config.group_id, error.explained())
            }
            _ => error.explained(),
        }
    }
}

/// Waits until a topic that other members of the group read has other partitions than those that were assigned,
/// and tells which: they do not look for themselves.
async fn others_changed(coordinator: Arc<Coordinator>, known: Counts, max_age: Duration) -> String {
    if known.is_empty() {
        return pending().await;
    }
    loop {
        sleep(max_age).await;
        // Without an answer nothing is known to have changed.
        let Ok(now) = counts(coordinator.cluster(), known.keys().cloned()).await else { continue };
        if let Some((topic, _)) = known.iter().find(|(topic, count)| now.get(*topic) != Some(count)) {
            return topic.clone();
        }
    }
}

/// Whether the coordinator says that this is no member, or not of the generation it takes itself to be of.
fn is_out(error: &WireError) -> bool {
    matches!(
        error.code(),
        Some(
            ResponseError::UnknownMemberId
                | ResponseError::IllegalGeneration
                | ResponseError::FencedInstanceId
        )
    )
}
