//! The graceful stop: one request, components that finish, and a time-out.
//!
//! SIGTERM, SIGINT or SIGHUP requests a stop, and the components of the service finish their work. Before the stop the
//! service [drains](Stage::Draining) for a set time, so that load balancers stop sending clients that would be refused. A
//! second signal ends the process at once, and so does the time-out. A separate thread watches both, so the process ends
//! even where every executor thread is stuck.

use std::{
    fs, io, process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::sleep,
};

/// A stop that may be requested; clones share it and are cheap.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stage: watch::Sender<Stage>,
    unfinished: Arc<Mutex<Vec<&'static str>>>,
}

/// The stage of a service's life. It never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// No stop is requested.
    #[default]
    Running,
    /// `/ready` is 503, for load balancers to see; everything else is served as before.
    Draining,
    /// The same, but each answer closes its connection, so that clients reconnect elsewhere.
    Closing,
    /// The stop: new work is refused, and work in progress is finished.
    Stopping,
}

impl Shutdown {
    /// A stop that is not requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop, without a drain before it. A repeated request changes nothing.
    pub fn request(&self) {
        self.advance(Stage::Stopping);
    }

    /// Advances to that stage, unless it is reached already.
    pub fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let goes_on = *now < stage;
            *now = stage.max(*now);
            goes_on
        });
    }

    /// Waits until that stage is reached; for ever, if it never is.
    pub async fn reached(&self, stage: Stage) {
        // This value owns the sender, which lives as long as the wait.
        drop(self.stage.subscribe().wait_for(|now| *now >= stage).await);
    }

    /// Waits until the stop is requested; for ever, if it never is.
    pub async fn requested(&self) {
        self.reached(Stage::Stopping).await;
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Whether the stop is requested.
    pub fn is_requested(&self) -> bool {
        self.stage() == Stage::Stopping
    }

    /// Names a component that the stop waits for until the returned value is dropped. The name completes
    /// "still unfinished: ".
    #[must_use = "the component is finished when this is dropped"]
    pub fn component(&self, name: &'static str) -> Component {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Component { name, unfinished: Arc::clone(&self.unfinished) }
    }

    /// The components that are not finished, in the order in which they were named.
    pub fn unfinished(&self) -> Vec<&'static str> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A component that the stop waits for; dropped when it is finished.
#[derive(Debug)]
pub struct Component {
    name: &'static str,
    unfinished: Arc<Mutex<Vec<&'static str>>>,
}

impl Drop for Component {
    fn drop(&mut self) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = unfinished.iter().position(|name| *name == self.name) {
            unfinished.remove(at);
        }
    }
}

/// Requests the stop at the first SIGTERM, SIGINT or SIGHUP after a drain of that length, half of which is
/// [`Stage::Closing`]. A SIGHUP that `nohup` ignores stays ignored. The second signal ends the process with status 128 plus
/// its number; where drain and stop take longer than the time-out, the process ends with status 1.
///
/// # Errors
///
/// The signal handlers or the thread cannot be set up.
pub fn watch_signals(shutdown: Shutdown, drain: Duration, timeout: Duration) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _context = runtime.enter();
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let hangup = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup())).transpose()?;
        Signals { terminate: terminate?, interrupt: interrupt?, hangup }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || watch(&runtime, signals, &shutdown, drain, timeout))?;
    Ok(())
}

/// Whether this process was started with SIGHUP ignored: the lowest bit of `SigIgn`, proc(5).
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// The next one: its name and number.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
            Some(_) = hung_up(&mut self.hangup) => ("SIGHUP", SignalKind::hangup().as_raw_value()),
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) -> Option<()> {
    hangup.as_mut()?.recv().await
}

fn watch(runtime: &Runtime, mut signals: Signals, shutdown: &Shutdown, drain: Duration, timeout: Duration) {
    let code = runtime.block_on(async {
        let (signal, _) = signals.next().await;
        log::info!(signal; "stopping; a second signal stops at once");
        let stopping = async {
            if !drain.is_zero() {
                log::info!("not ready any more, and served as ever for {drain:?}");
                shutdown.advance(Stage::Draining);
                sleep(drain / 2).await;
                shutdown.advance(Stage::Closing);
                sleep(drain / 2).await;
            }
            shutdown.request();
            sleep(timeout.saturating_sub(drain)).await;
        };
        tokio::select! {
            (signal, number) = signals.next() => {
                log::warn!(signal; "stopped at once");
                128 + number
            }
            () = stopping => {
                let unfinished = shutdown.unfinished().join(", ");
                log::error!(unfinished; "not stopped within {timeout:?}");
                1
            }
        }
    });
    log::logger().flush();
    process::exit(code);
}
