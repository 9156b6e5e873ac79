//! The checks at a quiet point: each guarantee against everything that was observed.
//!
//! The checks send no requests. They decide on `evidence` and `history` alone.

mod acknowledged;
mod committed;
mod copies;
mod fenced;
mod shared;
mod stored;

use std::fmt;

use crate::{
    evidence::Evidence,
    history::{Known, Millis},
};

/// The guarantees, by their names in docs/guarantees.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guarantee {
    NothingLost,
    NothingTwice,
    NoCopies,
    NothingInvented,
    OffsetsNeverBack,
    OffsetsNeverAhead,
    NoWorkOfTheFenced,
    UsersInOrder,
    DeadLettersComplete,
    RecoveredInTime,
    NobodyWaits,
    EachItsReceipt,
    NobodyDies,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingLost => "lost",
            Self::NothingTwice => "twice",
            Self::NoCopies => "copy in the log that nobody asked for",
            Self::NothingInvented => "invented",
            Self::OffsetsNeverBack => "commit went back",
            Self::OffsetsNeverAhead => "commit passed an unprocessed record",
            Self::NoWorkOfTheFenced => "work of a fenced member",
            Self::UsersInOrder => "out of order",
            Self::DeadLettersComplete => "no dead letter",
            Self::RecoveredInTime => "not recovered in time",
            Self::NobodyWaits => "no answer in time",
            Self::EachItsReceipt => "wrong receipt",
            Self::NobodyDies => "ended by itself",
        })
    }
}

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) guarantee: Guarantee,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(guarantee: Guarantee, what: impl Into<String>) -> Self {
        Self { guarantee, what: what.into() }
    }
}

/// Everything that was found at a quiet point.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<Violation>,
    /// Events that were sent again while partitions were added: at least once is all that is promised of them.
    pub(crate) spanning: usize,
    /// Further records in the log of events that are there already.
    pub(crate) repeated: usize,
    /// Records that were committed in the moment in which an instance was killed: whether it had processed them
    /// before, its last lines would have told.
    pub(crate) undecided: usize,
    /// Commits that nobody had an answer to, and that another owner's went below.
    pub(crate) overtaken: usize,
}

impl Findings {
    fn add(&mut self, guarantee: Guarantee, what: impl Into<String>) {
        self.violations.push(Violation::new(guarantee, what));
    }
}

/// Runs all checks.
pub(crate) fn check(known: &Known, evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    acknowledged::check(known, evidence, &mut findings);
    copies::check(known, evidence, &mut findings);
    stored::check(known, evidence, &mut findings);
    if let Some(stored) = &evidence.stored {
        shared::check(stored, known, evidence, &mut findings);
    }
    committed::check(known, evidence, &mut findings);
    fenced::check(known, evidence, &mut findings);
    for (key, (partition, offset)) in &known.malformed {
        if !evidence.letters.contains_key(key) && !evidence.lost_malformed(key) {
            let what = format!("the malformed record at {partition}/{offset} ({key})");
            findings.add(Guarantee::DeadLettersComplete, what);
        }
    }
    for (instance, from, until) in &known.unanswered {
        let mut pauses =
            known.runs.iter().filter(|run| run.instance == *instance).flat_map(|run| &run.pauses);
        // A stopped process answers no request.
        if !pauses.any(|(stopped, resumed)| stopped <= until && resumed >= from) {
            let what = format!("instance {instance} gave no answer from {} on", time(*from));
            findings.add(Guarantee::NobodyWaits, what);
        }
    }
    for what in &known.wrong_receipts {
        findings.add(Guarantee::EachItsReceipt, what.clone());
    }
    for what in &known.unexpected {
        findings.add(Guarantee::NobodyDies, what.clone());
    }
    findings
}

/// The time of day, as log lines have it.
fn time(at: Millis) -> String {
    chrono::DateTime::from_timestamp_millis(at).unwrap_or_default().format("%H:%M:%S%.3f").to_string()
}
