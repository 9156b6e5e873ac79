//! A host: a runtime with a clock of its own, which stands or jumps as faults have it.

use std::{cell::Cell, time::Duration};

use highwater_kafka::{ConsumerHandle, group::Lease};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance, sleep_until},
};

use crate::{interposed, world::Millis};

thread_local! {
    /// A time of the running host's clock, and what the lease's clock says then.
    static LEASE_CLOCK: Cell<Option<(Instant, Millis)>> = const { Cell::new(None) };
}

/// The lease's clock of the host that runs: it goes on while the host sleeps.
fn lease_clock() -> i64 {
    let Some((at, says)) = LEASE_CLOCK.get() else { return 0 };
    let since = Instant::now().saturating_duration_since(at);
    i64::try_from((Duration::from_millis(says) + since).as_nanos()).unwrap_or(i64::MAX)
}

/// Gives all leases of the process their hosts' clocks.
pub(crate) fn set_lease_clock() {
    Lease::set_clock(lease_clock);
}

/// A host that may be up.
#[derive(Debug, Default)]
pub(crate) struct Host {
    process: Option<Process>,
    /// How far its lease's clock is ahead.
    lease_ahead: Millis,
    /// When a process is to be started.
    pub(crate) starts_at: Option<Millis>,
}

/// What runs on a host.
#[derive(Debug)]
struct Process {
    runtime: Runtime,
    /// What its clock said first, and the world's time then.
    began: (Instant, Millis),
    /// How long it has run by its own clock.
    local: Millis,
    /// How long its machine has slept.
    slept: Millis,
    stopped: Option<Stopped>,
    member: Option<ConsumerHandle>,
}

#[derive(Debug)]
struct Stopped {
    since: Millis,
    until: Millis,
    /// Whether its clock stands.
    sleeps: bool,
}

impl Host {
    /// Starts a process, in which `run` begins what it does.
    pub(crate) fn start<T>(&mut self, now: Millis, run: impl AsyncFnOnce() -> T) -> T {
        interposed::set_now(now);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without a driver of sockets needs nothing");
        let began = (runtime.block_on(async { Instant::now() }), now);
        let process = Process { runtime, began, local: 0, slept: 0, stopped: None, member: None };
        self.starts_at = None;
        let process = self.process.insert(process);
        process.set_clocks(now, self.lease_ahead);
        process.runtime.block_on(run())
    }

    /// As [`Host::start`], for a member of a group.
    pub(crate) fn start_member(&mut self, now: Millis, run: impl AsyncFnOnce() -> ConsumerHandle) {
        let member = self.start(now, run);
        if let Some(process) = &mut self.process {
            process.member = Some(member);
        }
    }

    /// Calls a function in its runtime.
    pub(crate) fn within<T>(&mut self, now: Millis, act: impl AsyncFnOnce() -> T) -> Option<T> {
        let process = self.process.as_ref()?;
        process.set_clocks(now, self.lease_ahead);
        Some(process.runtime.block_on(act()))
    }

    /// Whether a process runs that is not stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.stopped.is_none())
    }

    /// Runs it for a tick.
    pub(crate) fn run(&mut self, now: Millis, tick: Millis) {
        let Some(process) = &mut self.process else { return };
        if let Some(Stopped { since, until, sleeps }) = process.stopped {
            if now < until {
                return;
            }
            process.stopped = None;
            if sleeps {
                process.slept += now - since;
            } else {
                process.set_clocks(now, self.lease_ahead);
                process.runtime.block_on(advance(Duration::from_millis(now - since)));
                process.local += now - since;
            }
        }
        process.set_clocks(now, self.lease_ahead);
        process.local += tick;
        let until = process.began.0 + Duration::from_millis(process.local);
        process.runtime.block_on(async move { sleep_until(until).await });
    }

    /// Ends its process at once.
    pub(crate) fn kill(&mut self, now: Millis) {
        interposed::set_now(now);
        self.process = None;
    }

    /// Has its member leave the group in order. Returns whether it has one.
    pub(crate) fn leave(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let Some(member) = process.member.take() else { return false };
        process.runtime.spawn(member.stop());
        true
    }

    /// Stops its process for a time; `sleeps` stops its clock, too.
    pub(crate) fn stop(&mut self, now: Millis, during: Millis, sleeps: bool) {
        if let Some(process) = &mut self.process {
            process.stopped = Some(Stopped { since: now, until: now + during, sleeps });
        }
    }

    /// Its lease's clock jumps.
    pub(crate) fn jump(&mut self, by: Millis) {
        self.lease_ahead += by;
    }
}

impl Process {
    fn set_clocks(&self, now: Millis, lease_ahead: Millis) {
        interposed::set_now(now);
        LEASE_CLOCK.set(Some((self.began.0, self.began.1 + self.slept + lease_ahead)));
    }
}
