//! What a system tells a process anew in each run, told by the seed: random bytes and the time.
//!
//! Both come from C functions that std and the crates below it call. These here stand before the system's, as madsim has
//! it. On a thread of a simulation they know the seed and the simulated time: so follow the keys of every `HashMap`, UUIDs,
//! the jitter of backoffs, the order in which `tokio::select!` looks at its branches, timestamps of records. All other
//! threads get what the system says.

use std::{
    cell::Cell,
    ffi::c_int,
    fs::File,
    io::Read,
    slice,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime as system_time};

use crate::{random::Random, world::Millis};

thread_local! {
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    static NOW: Cell<Option<Millis>> = const { Cell::new(None) };
}

/// How far the simulation of this process is, for all threads.
static REACHED: AtomicU64 = AtomicU64::new(0);

/// The simulated 2026-01-01, in seconds since 1970.
const BEGINNING: i64 = 1_767_225_600;

/// This thread's random bytes follow from the seed from now on, and its time begins.
pub(crate) fn begin(seed: u64) {
    RANDOM.set(Some(seed));
    set_now(0);
}

/// Sets this thread's time.
pub(crate) fn set_now(now: Millis) {
    NOW.set(Some(now));
    REACHED.store(now, Ordering::Relaxed);
}

/// The time that the simulation of this process has reached.
pub(crate) fn reached() -> Millis {
    REACHED.load(Ordering::Relaxed)
}

/// The CPU time of this process.
pub(crate) fn cpu_time() -> Duration {
    let taken = system_time(ClockId::ProcessCPUTime);
    Duration::new(taken.tv_sec.unsigned_abs(), taken.tv_nsec as u32)
}

#[repr(C)]
struct TimeSpec {
    seconds: i64,
    nanos: i64,
}

#[expect(
    unsafe_code,
    reason = "the one way to stand before a function of C, which fills the caller's buffer"
)]
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length == 0 {
        return 0;
    }
    // SAFETY: getrandom(2) is given a buffer of that length to write to.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer, length) };
    match RANDOM.get() {
        Some(seed) => {
            let mut random = Random::named(seed, "the system's random bytes");
            for chunk in buffer.chunks_mut(size_of::<u64>()) {
                chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
            }
            RANDOM.set(Some(random.next()));
        }
        None => {
            let filled = File::open("/dev/urandom").and_then(|mut file| file.read_exact(buffer));
            if filled.is_err() {
                return -1;
            }
        }
    }
    length as isize
}

#[expect(
    unsafe_code,
    reason = "the one way to stand before a function of C, which fills the caller's struct"
)]
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int {
    let told = match NOW.get() {
        Some(now) => {
            let now = now as i64;
            TimeSpec { seconds: BEGINNING + now / 1000, nanos: now % 1000 * 1_000_000 }
        }
        None => {
            let clock = match clock {
                0 => ClockId::Realtime,
                1 => ClockId::Monotonic,
                2 => ClockId::ProcessCPUTime,
                3 => ClockId::ThreadCPUTime,
                4 => ClockId::MonotonicRaw,
                5 => ClockId::RealtimeCoarse,
                6 => ClockId::MonotonicCoarse,
                7 => ClockId::Boottime,
                _ => return -1,
            };
            let told = system_time(clock);
            TimeSpec { seconds: told.tv_sec, nanos: told.tv_nsec }
        }
    };
    // SAFETY: clock_gettime(2) is given a timespec to write to.
    unsafe { time.write(told) };
    0
}
