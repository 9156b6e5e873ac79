//! Many runs, each in a process of its own, and what is left of the faults of one that breaks a guarantee.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    checks::Guarantee,
    faults::schedule,
    watch::LESS_CPU_TIME,
    world::{FAULTS, Millis},
};

/// How a run in another process went.
struct Ran {
    output: String,
    violation: Option<String>,
    simulated: Millis,
}

fn run(seed: u64, options: &[String]) -> Result<Ran> {
    let program = env::current_exe().context("this program")?;
    let ran = Command::new(program).arg("episode").arg(seed.to_string()).args(options).output()?;
    let mut output = String::from_utf8_lossy(&ran.stdout).into_owned();
    output.push_str(&String::from_utf8_lossy(&ran.stderr));
    let lines = || output.lines();
    let violation = lines().find_map(|line| line.strip_prefix("violation ")).map(str::to_owned);
    let simulated = lines().find_map(|line| line.strip_prefix("simulated ")?.split(' ').next()?.parse().ok());
    match simulated {
        Some(simulated) => Ok(Ran { violation, simulated, output }),
        // It aborted, or something killed it.
        None if ran.status.code().is_none() => {
            let violation = Some(format!("{:?}: the process ended by {}", Guarantee::NoPanic, ran.status));
            Ok(Ran { violation, simulated: 0, output })
        }
        None => bail!("seed {seed}: {output}"),
    }
}

/// The trace of a seed.
pub(crate) fn trace(seed: u64) -> Result<String> {
    let directory = env::temp_dir();
    let file = directory.join(format!("highwater-simulation-{}-{seed}.trace", std::process::id()));
    run(seed, &[format!("trace={}", file.display())])?;
    let trace = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    Ok(trace)
}

/// Runs one seed. Returns whether all guarantees held; if not, tells what is left of its faults.
pub(crate) fn one(seed: u64) -> Result<bool> {
    let ran = run(seed, &[])?;
    if ran.violation.is_some() {
        shrink(seed)?;
    }
    Ok(ran.violation.is_none())
}

/// A seed that nobody has chosen.
pub(crate) fn new_seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(now.as_nanos() as u64 % 1_000_000_000_000)
}

/// How long seeds are run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// So many simulated hours.
    Hours(f64),
    /// So many real minutes.
    Minutes(f64),
}

/// Runs seeds from that one on, for so long or until a guarantee is broken. Then `shrinks` tells which faults that takes.
pub(crate) fn many(length: Length, first: u64, shrinks: bool) -> Result<bool> {
    println!("simulation: {length:?}, from seed {first} on");
    let began = Instant::now();
    let mut simulated = Duration::ZERO;
    for seed in first.. {
        let ran = run(seed, &[])?;
        simulated += Duration::from_millis(ran.simulated);
        let so_far = simulated.as_secs_f64() / 3600.0;
        if let Some(violation) = ran.violation {
            println!("simulation: seed {seed}, after {so_far:.2} hours: {violation}");
            if shrinks {
                shrink(seed)?;
            }
            return Ok(false);
        }
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        let is_over = match length {
            Length::Hours(hours) => so_far >= hours,
            Length::Minutes(most) => minutes >= most,
        };
        if is_over {
            println!(
                "simulation: {so_far:.1} hours in {} runs, all guarantees held; {:.1} hours a minute",
                seed - first + 1,
                so_far / minutes
            );
            return Ok(true);
        }
    }
    Ok(true)
}

/// Leaves out the faults of a seed that its violation does not need, and prints what is left.
pub(crate) fn shrink(seed: u64) -> Result<()> {
    let mut kept: Vec<usize> = (0..schedule(seed, FAULTS.start, FAULTS.end).len()).collect();
    let option = |kept: &[usize]| {
        let kept: Vec<String> = kept.iter().map(usize::to_string).collect();
        format!("keep={}", kept.join(","))
    };
    let again = |kept: &[usize], limit: Option<&str>| {
        let options = [Some(option(kept)), limit.map(str::to_owned)];
        run(seed, &options.into_iter().flatten().collect::<Vec<_>>())
    };
    let mut last = again(&kept, None)?;
    let kind =
        |ran: &Ran| ran.violation.as_ref().and_then(|what| what.split([' ', ':']).next().map(str::to_owned));
    let Some(wanted) = kind(&last) else { bail!("seed {seed} breaks no guarantee") };
    // A run that hangs takes all the time that it gets.
    let less = format!("cpu={}", LESS_CPU_TIME.as_secs());
    let limit = (wanted == format!("{:?}", Guarantee::NoHang)).then_some(less.as_str());
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(start..(start + size).min(kept.len()));
            let ran = again(&fewer, limit)?;
            if kind(&ran).as_ref() == Some(&wanted) {
                (kept, last) = (fewer, ran);
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    println!("SEED {seed} breaks a guarantee. With these faults alone ({}):", option(&kept));
    print!("{}", last.output);
    Ok(())
}
