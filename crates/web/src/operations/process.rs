//! Metrics of the process, by the names that Prometheus' client libraries use.

use std::{fs, time::Duration};

use prometheus::{Gauge, Opts, Registry, Result};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Adds the metrics that the system provides, and leaves the others out.
pub(super) fn add_to(registry: &Registry) -> Result<()> {
    let ticks = |count: u64| Duration::from_secs(count).as_secs_f64() / clock_ticks_per_second() as f64;
    let stat = stat();
    let started = stat.as_ref().zip(booted()).map(|(stat, booted)| booted as f64 + ticks(stat.start));
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory that is in use, in bytes.",
            stat.as_ref().map(|stat| (stat.resident_pages * page_size() as u64) as f64),
        ),
        (
            "process_virtual_memory_bytes",
            "Memory that is reserved, in bytes.",
            stat.as_ref().map(|stat| stat.virtual_bytes as f64),
        ),
        (
            "process_open_fds",
            "Open file descriptors.",
            // The descriptor that counts them is not counted.
            fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as f64),
        ),
        ("process_max_fds", "The most of them.", getrlimit(Resource::Nofile).current.map(|most| most as f64)),
        ("process_threads", "Threads.", stat.as_ref().map(|stat| stat.threads as f64)),
        ("process_start_time_seconds", "When the process started, in seconds since 1970.", started),
    ] {
        if let Some(value) = value {
            let gauge = Gauge::with_opts(Opts::new(name, help))?;
            gauge.set(value);
            registry.register(Box::new(gauge))?;
        }
    }
    if let Some(stat) = stat {
        let opts = Opts::new(
            "process_cpu_seconds_total",
            "Seconds of CPU, of the program and of the system for it.",
        );
        let cpu = prometheus::Counter::with_opts(opts)?;
        cpu.inc_by(ticks(stat.cpu));
        registry.register(Box::new(cpu))?;
    }
    Ok(())
}

/// The used fields of `/proc/self/stat`, proc_pid_stat(5).
struct Stat {
    cpu: u64,
    threads: u64,
    /// The start of the process, in ticks since the machine started.
    start: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn stat() -> Option<Stat> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name with any characters; the third follows its last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu: field(14)? + field(15)?,
        threads: field(20)?,
        start: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// The start of the machine, in seconds since 1970.
fn booted() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
