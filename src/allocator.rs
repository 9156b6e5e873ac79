//! The allocator, and how what a crowd of clients took goes back to the system when they have left.
//!
//! mimalloc keeps what is freed with the thread that allocated it, until that thread allocates again; a service that has
//! become quiet would keep for good what it needed at its busiest. So, when much was given back, every thread is asked
//! to look through what is its own, at a moment when it has nothing to do.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use highwater_web::http;
use tokio::task::yield_now;

/// musl's own allocator serializes threads; this one is as fast everywhere.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often to see whether much was given back.
const PERIOD: Duration = Duration::from_secs(2);
/// How much that is, in bytes.
const MUCH: u64 = 8 << 20;
/// How often every thread then looks: what it allocated is freed by others, also after it has looked.
const ROUNDS: u32 = 3;

/// Grows when every thread is to look through what is its own.
static ROUND: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: declared as in mimalloc.h, of the library that the allocator above links.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// For a thread that has nothing to do just now.
pub(crate) fn tidy() {
    let round = ROUND.load(Ordering::Relaxed);
    if SEEN.replace(round) != round {
        mi_collect(true);
    }
}

/// Has each of so many threads tidy up after a crowd, for ever.
pub(crate) async fn give_back(threads: usize) {
    let (mut before, mut rounds) = (http::released(), 0);
    loop {
        tokio::time::sleep(PERIOD).await;
        let released = http::released();
        if released - before >= MUCH {
            (before, rounds) = (released, ROUNDS);
        }
        if rounds > 0 {
            rounds -= 1;
            ROUND.fetch_add(1, Ordering::Relaxed);
            // Those that sleep are woken, to fall asleep again.
            for _ in 0..threads {
                tokio::spawn(yield_now());
            }
        }
    }
}
