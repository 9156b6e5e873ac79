//! A world in one process: the library's producers, consumers and groups on a simulated network with the embedded broker, in
//! one thread, on simulated time, under faults. All of it follows from a seed; docs/internals/simulation.md describes it.
//!
//! ```text
//! faults ─▶ world ─▶ hosts: brokers, members, producer ◀─▶ network
//!                      │ calls of handlers, acknowledgements, the brokers' logs and commits
//!                      ▼
//!                    checks
//! ```
//!
//! Without arguments it is a test. `scripts/simulation.sh` has the rest.

#[path = "../../../../tests/chaos/random.rs"]
#[expect(dead_code, reason = "the other test needs more of it")]
mod random;

mod brokers;
mod checks;
mod conditions;
mod episode;
mod faults;
mod handovers;
mod histories;
mod host;
mod interposed;
mod log_lines;
mod members;
mod network;
mod run;
mod trace;
mod watch;
mod world;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use run::Length;

/// Seeds that the test runs each time. One that finds something is added, so that it is not found again. In 11 the
/// topic is made again, in 7 links get slower and break.
const SEEDS: &[u64] = &[
    1,
    2,
    3,
    7,
    11,
    100_000,
    910_128,
    131_789_703_915,
    769_260_828_058,
    451_894_492_270,
    451_894_495_196,
    451_894_498_579,
];

/// Seeds that are run twice, to compare their traces. The groups of the first speak KIP-848's protocol, those of the second the
/// classic one.
const REPEATED: [u64; 2] = [1, 2];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match begin(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulation: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all guarantees hold.
fn begin(arguments: &[String]) -> Result<bool> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["episode", seed, ref options @ ..] => episode::begin(number(seed)?, options),
        ["hours", hours] => run::many(Length::Hours(decimal(hours)?), run::new_seed()?, true),
        ["hours", hours, seed] => run::many(Length::Hours(decimal(hours)?), number(seed)?, true),
        ["minutes", minutes] => run::many(Length::Minutes(decimal(minutes)?), run::new_seed()?, true),
        ["caught", hours, seed] => run::many(Length::Hours(decimal(hours)?), number(seed)?, false),
        ["shrink", seed] => run::shrink(number(seed)?).map(|()| true),
        // As a test of `cargo test`, whose filters are about others.
        _ if arguments.iter().any(|argument| !argument.starts_with('-')) => Ok(true),
        _ => test(),
    }
}

fn decimal(length: &str) -> Result<f64> {
    length.parse().with_context(|| format!("the length {length}"))
}

fn number(seed: &str) -> Result<u64> {
    seed.parse().with_context(|| format!("the seed {seed}"))
}

/// The trace of a seed, which is the same the second time.
fn repeated(seed: u64) -> Result<String> {
    let (one, again) = (run::trace(seed)?, run::trace(seed)?);
    if one != again {
        let differs = one.lines().zip(again.lines()).position(|(one, again)| one != again);
        bail!("the trace of seed {seed} is another the second time, from line {differs:?} on");
    }
    let (lines, protocol) = (one.lines().count(), members::protocol(seed));
    if lines < 1000 {
        bail!("the trace of seed {seed} says nothing: it has {lines} lines");
    }
    println!("simulation: seed {seed} ({protocol:?}) gives the same trace again, {lines} lines");
    Ok(one)
}

fn test() -> Result<bool> {
    let [newer, classic] = REPEATED.map(repeated);
    let (newer, classic) = (newer?, classic?);
    if newer == classic {
        bail!("a trace says nothing: those of {REPEATED:?} are the same");
    }
    for seed in SEEDS {
        if !run::one(*seed)? {
            return Ok(false);
        }
    }
    println!("simulation: {} seeds: ok", SEEDS.len());
    Ok(true)
}
