//! A run is watched: one that panics or hangs is one that breaks a guarantee, so that its seed is named and its faults are
//! shrunk.

use std::{
    convert::Infallible,
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    checks::{Figures, Guarantee, Violation},
    faults::Planned,
    interposed::{cpu_time, reached},
    trace::Trace,
    world::{self, Outcome},
};

/// A run that takes so much CPU time hangs: it is a hundred times what the longest take. Real time says nothing where the
/// machine has other work.
pub(crate) const MOST_CPU_TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 600 } else { 60 });
/// As [`MOST_CPU_TIME`], for a run of which it is known that others of its seed hang.
pub(crate) const LESS_CPU_TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 6 });
/// A run that has not ended after so much real time waits for something that does not come.
const MOST_TIME: Duration = Duration::from_secs(3_600);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the world of a seed in a thread, which is left behind if it hangs: the process has to end then.
pub(crate) fn run(seed: u64, faults: &[Planned], trace: &Trace, most_cpu_time: Duration) -> Outcome {
    let panicked = note_panics();
    let (runs, ended) = channel::<Infallible>();
    let (faults, kept) = (faults.to_vec(), trace.clone());
    let world = thread::spawn(move || {
        let _runs = runs;
        world::run(seed, &faults, kept)
    });
    let began = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
        let (took, lasted) = (cpu_time(), began.elapsed());
        if took > most_cpu_time || lasted > MOST_TIME {
            let took = (took.as_secs(), lasted.as_secs());
            return broken(Guarantee::NoHang, format!("{} s of CPU time, {} s in all", took.0, took.1));
        }
    }
    let outcome = world.join();
    // Also that of a task, which the world outlives.
    let panicked = panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (outcome, panicked) {
        (Ok(outcome), None) => outcome,
        (Ok(outcome), violation) => Outcome { violation, ..outcome },
        (Err(_), violation) => {
            let outcome = broken(Guarantee::NoPanic, "a panic".to_owned());
            Outcome { violation: violation.or(outcome.violation.clone()), ..outcome }
        }
    }
}

/// The first panic of this process, in any of its threads and tasks.
fn note_panics() -> Arc<Mutex<Option<Violation>>> {
    let first = Arc::new(Mutex::new(None));
    let (noted, tells) = (Arc::clone(&first), panic::take_hook());
    panic::set_hook(Box::new(move |panicked| {
        let what = panicked.to_string().replace('\n', " ");
        let violation = Violation { guarantee: Guarantee::NoPanic, at: reached(), what };
        noted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(violation);
        tells(panicked);
    }));
    first
}

fn broken(guarantee: Guarantee, what: String) -> Outcome {
    let at = reached();
    let violation = Some(Violation { guarantee, at, what });
    Outcome { simulated: at, violation, figures: Figures::default() }
}
