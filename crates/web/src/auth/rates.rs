//! Token buckets: the rates of requests and events.
//!
//! A bucket holds the amount of one second. Each instance has its own buckets.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::StateStore,
};
use tokio::time::Instant;

/// The most clients or users that have a bucket of their own at one time. A full bucket is forgotten, after a second at
/// most. Until then, further clients share one bucket. A bucket takes some 40 bytes.
const MOST: usize = 100_000;
/// The shortest interval between two searches for full buckets.
const SWEEP: Duration = Duration::from_millis(100);
/// The key of the shared bucket, for clients without a bucket of their own.
const SHARED: u64 = 0;

/// The limits a second, as far as there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// The most requests a second.
    pub requests: Option<NonZeroU32>,
    /// The most events a second.
    pub events: Option<NonZeroU32>,
}

/// The state of a bucket after something was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The amount of a full bucket. It refills by this amount each second.
    pub quota: u32,
    /// The amount that is left.
    pub remaining: u32,
}

/// The reason why a bucket has too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// The bucket has enough after this time; its state now.
    For(Duration, Left),
    /// The amount is more than a full bucket holds, which is this.
    Always(u32),
}

/// Buckets of one size, one for each key.
pub struct Buckets {
    limiter: RateLimiter<u64, States, Since, StateInformationMiddleware>,
    quota: NonZeroU32,
    hasher: RandomState,
    kept: Arc<Mutex<Kept>>,
}

impl Buckets {
    /// Buckets that each refill by this amount a second.
    pub fn new(quota: NonZeroU32) -> Self {
        let clock = Since(Instant::now());
        let kept = Arc::<Mutex<Kept>>::default();
        let states = States { clock: clock.clone(), kept: Arc::clone(&kept) };
        let limiter = RateLimiter::new(Quota::per_second(quota), states, clock);
        Self { limiter, quota, hasher: RandomState::new(), kept }
    }

    /// Takes an amount out of the bucket of this key.
    ///
    /// # Errors
    ///
    /// There is too little in it; nothing is taken.
    pub fn take(&self, key: &str, amount: NonZeroU32) -> Result<Left, Short> {
        match self.limiter.check_key_n(&self.place(key), amount) {
            Ok(Ok(state)) => {
                Ok(Left { quota: self.quota.get(), remaining: state.remaining_burst_capacity() })
            }
            Ok(Err(until)) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                let missing = u32::try_from(wait.as_nanos().div_ceil(self.interval().into()));
                let remaining = amount.get().saturating_sub(missing.unwrap_or(u32::MAX));
                Err(Short::For(wait, Left { quota: self.quota.get(), remaining }))
            }
            Err(_) => Err(Short::Always(self.quota.get())),
        }
    }

    /// Puts back the amount that was taken out of the bucket of that key a moment ago. A bucket that several share gets
    /// nothing back.
    pub fn give_back(&self, key: &str, amount: NonZeroU32) {
        let taken = self.interval() * u64::from(amount.get());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = kept.full_at.get_mut(&self.place(key)) {
            *full_at = full_at.as_u64().saturating_sub(taken).into();
        }
    }

    /// The time in which the bucket refills by one, in the limiter's whole nanoseconds.
    fn interval(&self) -> u64 {
        (1_000_000_000 / u64::from(self.quota.get())).max(1)
    }

    fn place(&self, key: &str) -> u64 {
        self.hasher.hash_one(key).max(SHARED + 1)
    }

    /// The number of buckets.
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).full_at.len()
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// A clock that counts from this instant, by the clock of the runtime.
#[derive(Debug, Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Elapsed;

    fn now(&self) -> Elapsed {
        Elapsed(self.0.elapsed())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Elapsed(Duration);

impl Reference for Elapsed {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl std::ops::Add<Nanos> for Elapsed {
    type Output = Self;

    fn add(self, other: Nanos) -> Self {
        Self(self.0 + Duration::from(other))
    }
}

/// The time at which each bucket is full, for a bounded number of buckets.
#[derive(Debug)]
struct States {
    clock: Since,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    full_at: HashMap<u64, Nanos>,
    swept: Option<Duration>,
}

impl Kept {
    /// The key of the bucket that counts for this key: its own, or the shared one.
    fn place(&mut self, key: u64, now: Duration) -> u64 {
        if self.full_at.len() < MOST || self.full_at.contains_key(&key) {
            return key;
        }
        if self.swept.is_none_or(|swept| now.saturating_sub(swept) >= SWEEP) {
            self.swept = Some(now);
            self.full_at.retain(|_, full_at| Duration::from(*full_at) > now);
        }
        if self.full_at.len() < MOST { key } else { SHARED }
    }
}

impl StateStore for States {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // One insertion changes a bucket: a panic leaves nothing half done.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = kept.place(*key, self.clock.now().0);
        let (measured, full_at) = measure(kept.full_at.get(&key).copied())?;
        kept.full_at.insert(key, full_at);
        Ok(measured)
    }
}
