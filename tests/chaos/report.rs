//! The report of a run: its figures, and the guarantees that were broken.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::{
    checks::{Guarantee, Violation},
    history::Figures,
    options::{Options, Sabotage},
    unclean::Loss,
};

/// How many violations of one guarantee are written out.
const WRITTEN_OUT: usize = 5;

/// A run's result.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rounds: usize,
    pub(crate) quiet_points: usize,
    pub(crate) length: Duration,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) figures: Figures,
    pub(crate) stored: usize,
    pub(crate) spanning: usize,
    pub(crate) repeated: usize,
    pub(crate) undecided: usize,
    pub(crate) overtaken: usize,
    pub(crate) loss: Option<Loss>,
    pub(crate) violations: Vec<Violation>,
}

impl Report {
    fn broken(&self) -> BTreeSet<Guarantee> {
        self.violations.iter().map(|violation| violation.guarantee).collect()
    }

    /// Whether the run showed what it should: nothing, or the deliberate fault and nothing else.
    pub(crate) fn is_as_expected(&self, options: &Options) -> bool {
        let expected = options.sabotage.map(reveals).unwrap_or_default();
        self.broken() == expected.iter().copied().collect()
    }

    /// For whoever reads the last lines first.
    pub(crate) fn verdict(&self, options: &Options) -> String {
        let broken = names(&self.broken());
        match (options.sabotage, self.is_as_expected(options)) {
            (None, true) => "every guarantee held".to_owned(),
            (None, false) => format!("BROKEN: {broken}"),
            (Some(sabotage), true) => format!("CAUGHT: {} is reported as \"{broken}\"", sabotage.name()),
            (Some(sabotage), false) => format!(
                "NOT CAUGHT: {} is to be reported as \"{}\" and nothing else; reported: \"{broken}\"",
                sabotage.name(),
                names(reveals(sabotage))
            ),
        }
    }
}

/// The guarantees that a deliberate fault breaks.
fn reveals(sabotage: Sabotage) -> &'static [Guarantee] {
    match sabotage {
        Sabotage::CommitBeforeProcessing | Sabotage::WatermarkOffByOne => &[Guarantee::OffsetsNeverAhead],
        Sabotage::NoAdmission | Sabotage::NoUniqueId => &[Guarantee::NothingTwice],
        Sabotage::RetryWithNewNumbers => &[Guarantee::NoCopies],
        Sabotage::NoFencing => &[Guarantee::NoWorkOfTheFenced],
        Sabotage::AckBeforeKafka | Sabotage::ReceiptBeforeKafka | Sabotage::SwapWithoutCatchingUp => {
            &[Guarantee::NothingLost]
        }
        Sabotage::PositionBeforeEvents => &[Guarantee::NothingLost, Guarantee::OffsetsNeverAhead],
    }
}

fn names<'a>(guarantees: impl IntoIterator<Item = &'a Guarantee>) -> String {
    let names: Vec<String> = guarantees.into_iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let (committed, aborted, given_up) = figures.transactions;
        let seconds = |length: &Duration| format!("{:.1}", length.as_secs_f64());
        let slowest = self.recoveries.iter().max().map(seconds).unwrap_or_default();
        writeln!(
            f,
            "  ran                    {} s, {} rounds, {} faults, {} quiet points",
            seconds(&self.length),
            self.rounds,
            figures.faults,
            self.quiet_points
        )?;
        writeln!(
            f,
            "  acknowledged           {} events, {} of them more than once on purpose or by chance",
            figures.acknowledged, figures.duplicates
        )?;
        writeln!(
            f,
            "  not acknowledged       {} times (posted again with the same eventId)",
            figures.refused
        )?;
        let (streams, broken_off) = figures.streams;
        writeln!(
            f,
            "  streams                {streams}, {broken_off} of them broken off by the client; {} events acknowledged by \
             their receipts",
            figures.receipts
        )?;
        writeln!(f, "  slowest event          {:.1} s until acknowledged", figures.slowest as f64 / 1000.0)?;
        writeln!(
            f,
            "  transactions           {committed} committed, {aborted} aborted, {given_up} given up"
        )?;
        writeln!(f, "  malformed records      {}", figures.malformed)?;
        writeln!(f, "  rebuilt and swapped    {}", figures.rebuilds)?;
        writeln!(
            f,
            "  processed              {} lines of all instances; {} events stored at the end",
            figures.processed, self.stored
        )?;
        writeln!(
            f,
            "  recovery               {slowest} s at most; each: {}",
            self.recoveries.iter().map(seconds).collect::<Vec<_>>().join(" ")
        )?;
        writeln!(
            f,
            "  copies in the log      {}, all of posts that were sent again unless it says BROKEN",
            self.repeated
        )?;
        writeln!(
            f,
            "  posted again while partitions were added: {}; undecided by a kill: {}; commits overtaken unanswered: {}",
            self.spanning, self.undecided, self.overtaken
        )?;
        if let Some(loss) = &self.loss {
            let election = &loss.election;
            writeln!(
                f,
                "  unclean election       of partition {}: offsets {} to {} are gone, and with them {} acknowledged \
                 events, {} of which had been processed; not counted as broken",
                election.partition, election.lost.start, election.lost.end, loss.events, loss.processed
            )?;
        }
        for guarantee in self.broken() {
            let of_it: Vec<_> = self.violations.iter().filter(|found| found.guarantee == guarantee).collect();
            writeln!(f, "  BROKEN: {guarantee}, {} times", of_it.len())?;
            for violation in of_it.iter().take(WRITTEN_OUT) {
                writeln!(f, "    {}", violation.what)?;
            }
        }
        Ok(())
    }
}
