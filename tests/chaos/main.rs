//! The test of the guarantees: instances of the service on a real cluster, random faults from a seed, and a recorder
//! beside them. `scripts/chaos.sh` builds it, starts the cluster and runs it; docs/guarantees.md describes it.
//!
//! ```text
//! schedule ─▶ faults ─▶ instances, proxies, brokers
//!   clients, streams, transactions, malformed ─▶ history ◀─ instances' log lines
//!                                                   │
//!            Kafka's logs, listings ─▶ evidence ─▶ checks ─▶ report
//! ```

mod addresses;
mod admin;
mod batch;
mod brokers;
mod checks;
mod clients;
mod commits;
mod database;
mod database_link;
mod events;
mod evidence;
mod faults;
mod gate;
mod history;
mod instance;
mod logs;
mod malformed;
mod options;
mod proxy;
mod quiet;
mod random;
mod replays;
mod report;
mod schedule;
mod stage;
mod streams;
mod transactions;
mod unclean;

use std::{fs, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use history::History;
use options::{Options, Protocol};
use report::Report;
use schedule::{Fault, Round, Schedule};
use stage::Stage;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the run could not be finished: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool> {
    let options = Options::read()?;
    fs::create_dir_all(&options.directory).context("the directory")?;
    let history = Arc::new(History::begin(&options.directory)?);
    let replay = format!("SEED={}", options.seed);
    history.tell(format_args!("{replay}, {options:?}"));
    let mut report = Report::default();
    let began = Instant::now();
    let stage = Stage::set(options.clone(), Arc::clone(&history)).await?;
    play(&stage, &mut report, began).await?;
    report.length = began.elapsed();
    report.figures = history.known().figures.clone();
    report.loss = stage.loss().await?;
    history.tell(format_args!("the run:\n{report}"));
    let verdict = report.verdict(&options);
    history.tell(format_args!(
        "{verdict} ({replay}, Kafka {}, {}, {}; logs in {})",
        options.kafka_version,
        options.protocol.name(),
        options.store(),
        options.directory.display()
    ));
    history.flush();
    Ok(report.is_as_expected(&options))
}

async fn play(stage: &Stage, report: &mut Report, began: Instant) -> Result<()> {
    let options = &stage.options;
    stage.recovered_at_first().await?;
    stage.write();
    let mut schedule = Schedule::draw(options);
    while began.elapsed() < options.length {
        let round = match (report.rounds, options.protocol) {
            // Independent of the drawn kinds, or the run would test only the protocol that it began with.
            (0, Protocol::Consumer) => upgrade(),
            _ => schedule.next(),
        };
        report.rounds += 1;
        stage.history.tell(format_args!("round {}", report.rounds));
        stage.disturb(&round).await;
        if !quiet(stage, report).await? {
            return Ok(());
        }
        if round.recreate {
            stage.recreate().await?;
        }
        stage.write();
    }
    if options.unclean_election {
        stage.history.tell("the unclean election");
        stage.elect_uncleanly().await?;
        quiet(stage, report).await?;
    }
    Ok(())
}

/// The live upgrade from the classic protocol, under load.
fn upgrade() -> Round {
    Round {
        faults: vec![(std::time::Duration::ZERO, Fault::Roll { to: Protocol::Consumer })],
        recreate: false,
    }
}

/// Whether everything held so far.
async fn quiet(stage: &Stage, report: &mut Report) -> Result<bool> {
    let quiet = stage.quiet_point().await?;
    let mut findings = quiet.findings;
    stage.history.tell(format_args!(
        "quiet point: recovered after {:.1} s, {} events stored, {} violations",
        quiet.recovery.as_secs_f64(),
        quiet.stored,
        findings.violations.len()
    ));
    report.quiet_points += 1;
    report.recoveries.push(quiet.recovery);
    report.stored = quiet.stored;
    report.spanning = findings.spanning;
    report.repeated = findings.repeated;
    report.undecided = findings.undecided;
    report.overtaken = findings.overtaken;
    report.violations.append(&mut findings.violations);
    Ok(report.violations.is_empty())
}
