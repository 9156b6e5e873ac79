//! The seam between the group and the consumer. Whichever protocol is spoken, the group calls for partitions
//! to be held, and the consumer says what it holds.

use std::{collections::BTreeSet, future::pending, sync::Arc};

use chrono::{DateTime, Utc};
use log::{info, warn};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{Coordinator, GroupProtocol, classic, kip848, standing::Standing};
use crate::{ConsumerConfig, GroupPhase, StatusRegistry, Topic, backoff::Backoff};

/// The part of the registry that is the membership's.
pub(super) const JOINING: &str = "joining the group";

/// What the group wants of this member now. Each but the first and the last is answered by
/// [`Membership::holds`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing yet.
    Wait,
    /// To give up everything; what it gets comes after that (an eager rebalance).
    GiveUp,
    /// To hold exactly these: to drain and commit what is not among them, then to take up what is new.
    Hold(BTreeSet<i32>, Why),
    /// Nothing more: it is out of the group, and nothing may be committed. It joins again by itself.
    Lost(String),
    /// Nothing, for good.
    Barred(String),
}

/// What made the group rebalance, as far as a member can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: String,
    /// Since when it goes on.
    pub(crate) since: DateTime<Utc>,
}

impl Why {
    pub(super) fn now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), since: Utc::now() }
    }
}

impl Call {
    fn is_out(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Barred(_))
    }
}

/// What the consumer says.
#[derive(Debug)]
pub(super) enum Word {
    Holds(BTreeSet<i32>),
    Leave(Leave),
}

/// How to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The process ends. A static member says nothing, unless it is told to: it is back before its session is over, or
    /// else that ends.
    Closing,
    /// It cannot go on: others are to take over at once.
    Unfit,
}

/// How a life in the group ended.
#[derive(Debug)]
pub(super) enum Ended {
    Left,
    Barred(String),
    /// The coordinator does not take the protocol.
    NotSpoken(String),
}

/// Who joins, where, and on which terms.
#[derive(Debug)]
pub(crate) struct Enrolment {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) topic: Topic,
    pub(crate) config: ConsumerConfig,
    pub(crate) registry: Arc<StatusRegistry>,
}

impl Enrolment {
    pub(super) fn phase(&self, phase: GroupPhase) {
        self.registry.group(|group| group.phase = phase);
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) {
        self.registry.failed(JOINING, error);
        self.registry.group(|group| group.error = Some(error.to_string()));
    }

    /// Whether the group is to keep the member's place when it goes so.
    pub(super) fn stays(&self, how: Leave) -> bool {
        how == Leave::Closing && self.config.instance_id.is_some() && !self.config.leave_on_stop
    }

    /// What to say where another process came with the same instance id.
    pub(super) fn fenced(&self) -> String {
        let instance = self.config.instance_id.as_deref().unwrap_or_default();
        format!(
            "another process joined the group as group.instance.id={instance}: this one is fenced for good \
             (give each instance an id of its own, and start this one again)"
        )
    }

    pub(super) fn succeeded(&self) {
        self.registry.succeeded(JOINING);
        self.registry.group(|group| group.error = None);
    }
}

/// This process's membership in the group, from its first join to its leave.
#[derive(Debug)]
pub(crate) struct Membership {
    calls: watch::Receiver<Call>,
    words: mpsc::UnboundedSender<Word>,
    standing: Arc<Standing>,
    /// `None` once it was left.
    task: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins, and goes on joining until it is left.
    pub(crate) fn start(enrolment: Arc<Enrolment>) -> Self {
        let (caller, calls) = watch::channel(Call::Wait);
        let (words, hears) = mpsc::unbounded_channel();
        let standing = Arc::new(Standing::default());
        let line = Line { calls: caller, words: hears, standing: Arc::clone(&standing) };
        Self { calls, words, standing, task: Some(tokio::spawn(live(enrolment, line))) }
    }

    /// As what to commit, and how long to act.
    pub(crate) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Waits for the next call; where there were several, for the last.
    pub(crate) async fn next(&mut self) -> Call {
        match self.calls.changed().await {
            Ok(()) => self.calls.borrow_and_update().clone(),
            Err(_) => Call::Barred("the membership's task ended".to_owned()),
        }
    }

    /// Waits until this member is out of the group; the call that says so is still to come.
    pub(crate) async fn out(&self) {
        // An error is the end of the task, which is being out, too.
        let _ = self.calls.clone().wait_for(Call::is_out).await;
    }

    /// The call is answered: this member acts on these partitions and on no other.
    pub(crate) fn holds(&self, partitions: BTreeSet<i32>) {
        // Where nobody hears it the membership is over, which the next call says.
        let _ = self.words.send(Word::Holds(partitions));
    }

    /// Goes, and returns when the coordinator knows or cannot be told. From the beginning the lease is over: what is
    /// still at work does nothing more.
    pub(crate) async fn leave(&mut self, how: Leave) {
        self.standing.lease().end();
        let _ = self.words.send(Word::Leave(how));
        if let Some(task) = &mut self.task {
            if let Err(error) = task.await {
                warn!("the membership ended badly: {error}");
            }
            self.task = None;
        }
        self.standing.is_nothing();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        self.standing.is_nothing();
    }
}

/// The protocol's end of the seam.
#[derive(Debug)]
pub(super) struct Line {
    calls: watch::Sender<Call>,
    words: mpsc::UnboundedReceiver<Word>,
    pub(super) standing: Arc<Standing>,
}

impl Line {
    pub(super) fn call(&self, call: Call) {
        self.calls.send_replace(call);
    }

    /// The next thing that the consumer says.
    pub(super) async fn word(&mut self) -> Word {
        match self.words.recv().await {
            Some(word) => word,
            None => pending().await,
        }
    }

    /// Waits until the consumer wants to go.
    pub(super) async fn leaving(&mut self) -> Leave {
        loop {
            if let Word::Leave(how) = self.word().await {
                return how;
            }
        }
    }

    /// Out of the group: has the consumer drop everything, and waits until it did, or wants to go.
    pub(super) async fn lost(&mut self, reason: String) -> Result<(), Leave> {
        self.standing.is_nothing();
        self.call(Call::Lost(reason));
        loop {
            match self.word().await {
                Word::Holds(partitions) if partitions.is_empty() => return Ok(()),
                Word::Holds(_) => {}
                Word::Leave(how) => return Err(how),
            }
        }
    }
}

/// Lives by the protocol that was asked for; where either will do, by the newer one if the broker takes it.
async fn live(enrolment: Arc<Enrolment>, mut line: Line) {
    let wanted = enrolment.config.protocol;
    let mut backoff = Backoff::new();
    loop {
        let ended = match wanted {
            GroupProtocol::Classic => classic::live(&enrolment, &mut line).await,
            GroupProtocol::Consumer | GroupProtocol::Auto => kip848::live(&enrolment, &mut line).await,
        };
        let ended = match ended {
            Ended::NotSpoken(why) if wanted == GroupProtocol::Auto => {
                info!("group {}: the classic protocol, as {why}", enrolment.config.group_id);
                classic::live(&enrolment, &mut line).await
            }
            ended => ended,
        };
        match ended {
            Ended::Left => return,
            Ended::Barred(reason) => {
                line.standing.is_nothing();
                line.call(Call::Barred(reason));
                return;
            }
            Ended::NotSpoken(why) => {
                enrolment.failed(&format!(
                    "{why}: group.protocol=consumer needs Kafka 4.0 (auto uses what there is)"
                ));
                tokio::select! {
                    _ = line.leaving() => return,
                    () = backoff.wait() => {}
                }
            }
        }
    }
}
