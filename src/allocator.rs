//! The allocator, and the return of memory to the system after a burst of clients.
//!
//! mimalloc keeps freed memory with the thread that allocated it, until that thread allocates again. So a service that has
//! become quiet would keep the memory of its busiest time. After much memory was freed, each idle thread therefore calls
//! mimalloc's collect function.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use highwater_web::http;
use tokio::task::yield_now;

/// mimalloc, since musl's allocator serializes threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The interval between two checks of the freed memory.
const PERIOD: Duration = Duration::from_secs(2);
/// The freed memory that starts a collection, in bytes.
const THRESHOLD: u64 = 8 << 20;
/// The number of collections of each thread, since other threads free its memory later, too.
const ROUNDS: u32 = 3;

/// The number of the current collection.
static ROUND: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: declared as in mimalloc.h, of the library that the allocator above links.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Collects this thread's freed memory if a collection is due. An idle thread calls it.
pub(crate) fn collect_if_due() {
    let round = ROUND.load(Ordering::Relaxed);
    if SEEN.replace(round) != round {
        mi_collect(true);
    }
}

/// Starts collections in this many threads after a burst, for ever.
pub(crate) async fn return_memory(threads: usize) {
    let (mut before, mut rounds) = (http::released(), 0);
    loop {
        tokio::time::sleep(PERIOD).await;
        let released = http::released();
        if released - before >= THRESHOLD {
            (before, rounds) = (released, ROUNDS);
        }
        if rounds > 0 {
            rounds -= 1;
            ROUND.fetch_add(1, Ordering::Relaxed);
            // Wakes sleeping threads, which collect before they sleep again.
            for _ in 0..threads {
                tokio::spawn(yield_now());
            }
        }
    }
}
