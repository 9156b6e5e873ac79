//! One run of the world, in a process of its own.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    faults::{Planned, schedule},
    log_lines,
    trace::Trace,
    watch::{self, MOST_CPU_TIME},
    world::{FAULTS, Outcome},
};

/// Runs the world of a seed. The options: `keep=0,3` leaves out all faults but these, `trace=FILE` writes the trace there,
/// `log` adds what the library logs, after `cpu=60` seconds of CPU time the run counts as one that hangs. Prints the faults and how it went. Returns whether all guarantees held.
pub(crate) fn begin(seed: u64, options: &[&str]) -> Result<bool> {
    let mut faults = schedule(seed, FAULTS.start, FAULTS.end);
    let (mut trace, mut file, mut cpu_time) = (Trace::default(), None, MOST_CPU_TIME);
    for option in options {
        match option.split_once('=') {
            Some(("keep", kept)) => faults = keep(&faults, kept)?,
            Some(("trace", path)) => (trace, file) = (Trace::kept(), Some(path)),
            Some(("cpu", seconds)) => cpu_time = Duration::from_secs(seconds.parse()?),
            None if *option == "log" => log_lines::write_to(&trace),
            _ => bail!("the option {option}"),
        }
    }
    for planned in &faults {
        println!("fault {planned}");
    }
    let Outcome { simulated, violation, figures } = watch::run(seed, &faults, &trace, cpu_time);
    if let Some(file) = file {
        fs::write(file, trace.text()).with_context(|| file.to_owned())?;
    }
    if let Some(violation) = &violation {
        println!("violation {violation}");
    }
    println!(
        "simulated {simulated} ms faults {} acknowledged {} failed {} handled {} rebalances {} truncations {} recreations {}",
        faults.len(),
        figures.acknowledged,
        figures.failed,
        figures.handled,
        figures.rebalances,
        figures.truncations,
        figures.recreations
    );
    Ok(violation.is_none())
}

fn keep(faults: &[Planned], kept: &str) -> Result<Vec<Planned>> {
    let kept = kept.split(',').filter(|index| !index.is_empty()).map(|index| {
        let index: usize = index.parse().with_context(|| format!("the fault {index}"))?;
        faults.get(index).cloned().with_context(|| format!("there is no fault {index}"))
    });
    kept.collect()
}
