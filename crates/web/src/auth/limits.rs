//! The limits of requests and events, and how a client is told: 429 with `Retry-After`, `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11).

use std::{
    fmt::Write as _,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, HeaderValue, RETRY_AFTER},
};

use super::{
    principal::Principal,
    rates::{Buckets, Left, Rates, Short},
};
use crate::http::Problem;

pub(crate) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The limits of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitConfig {
    /// Of each client: a key, or a token's subject.
    pub client: Rates,
    /// Of each userId.
    pub user: Rates,
    /// Of all together.
    pub total: Rates,
}

/// The kind of a limit: requests or events, of a client, of a user or of all together. Each policy is named by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Client,
    ClientEvents,
    User,
    UserEvents,
    Total,
    TotalEvents,
}

impl Policy {
    /// Those that a client is told of in each answer. The limit of all together is nobody's business before it is used up.
    const TOLD: [Self; 4] = [Self::Client, Self::ClientEvents, Self::User, Self::UserEvents];

    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientEvents => "client-events",
            Self::User => "user",
            Self::UserEvents => "user-events",
            Self::Total => "total",
            Self::TotalEvents => "total-events",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Client | Self::User | Self::Total => "requests",
            Self::ClientEvents | Self::UserEvents | Self::TotalEvents => "events",
        }
    }
}

/// The buckets of requests and of events.
#[derive(Debug, Default)]
pub(super) struct Pair {
    requests: Option<Buckets>,
    events: Option<Buckets>,
}

impl Pair {
    pub(super) fn new(rates: Rates) -> Self {
        Self { requests: rates.requests.map(Buckets::new), events: rates.events.map(Buckets::new) }
    }

    fn is_empty(&self) -> bool {
        self.requests.is_none() && self.events.is_none()
    }
}

/// All buckets of an instance.
#[derive(Debug)]
pub(super) struct Limits {
    client: Pair,
    user: Pair,
    total: Pair,
}

impl Limits {
    pub(super) fn new(config: &LimitConfig) -> Self {
        Self {
            client: Pair::new(config.client),
            user: Pair::new(config.user),
            total: Pair::new(config.total),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.client.is_empty() && self.user.is_empty() && self.total.is_empty()
    }

    /// Takes a request of that client.
    ///
    /// # Errors
    ///
    /// 429.
    pub(super) fn take_request(&self, client: Option<&Principal>, told: &Told) -> Result<(), Problem> {
        if let Some(client) = client {
            take(self.of(client).requests.as_ref(), client.id(), NonZeroU32::MIN, Policy::Client, told)?;
        }
        take(self.total.requests.as_ref(), "", NonZeroU32::MIN, Policy::Total, told)
    }

    /// Takes a request for that user.
    ///
    /// # Errors
    ///
    /// 429.
    pub(super) fn take_user_request(&self, user: &str, told: &Told) -> Result<(), Problem> {
        take(self.user.requests.as_ref(), user, NonZeroU32::MIN, Policy::User, told)
    }

    /// Takes events for that user.
    ///
    /// # Errors
    ///
    /// 429.
    pub(super) fn take_user_events(
        &self,
        user: &str,
        events: NonZeroU32,
        told: &Told,
    ) -> Result<(), Problem> {
        take(self.user.events.as_ref(), user, events, Policy::UserEvents, told)
    }

    /// Takes events of that client.
    ///
    /// # Errors
    ///
    /// 429.
    pub(super) fn take_events(
        &self,
        client: Option<&Principal>,
        events: NonZeroU32,
        told: &Told,
    ) -> Result<(), Problem> {
        if let Some(client) = client {
            take(self.of(client).events.as_ref(), client.id(), events, Policy::ClientEvents, told)?;
        }
        take(self.total.events.as_ref(), "", events, Policy::TotalEvents, told)
    }

    /// A key's own limits go before those of all clients.
    fn of<'a>(&'a self, client: &'a Principal) -> &'a Pair {
        client.limits().unwrap_or(&self.client)
    }
}

fn take(
    buckets: Option<&Buckets>,
    key: &str,
    amount: NonZeroU32,
    policy: Policy,
    told: &Told,
) -> Result<(), Problem> {
    let Some(buckets) = buckets else { return Ok(()) };
    match buckets.take(key, amount) {
        Ok(left) => {
            told.note(policy, left);
            Ok(())
        }
        Err(short) => Err(limited(policy, short)),
    }
}

/// 429.
fn limited(policy: Policy, short: Short) -> Problem {
    let (name, unit) = (policy.name(), policy.unit());
    let problem = |detail: String| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_member("violated-policies", vec![name.to_owned()])
    };
    match short {
        Short::For(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            problem(format!("too many {unit} a second: the limit \"{name}\" is used up for now"))
                .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        }
        Short::Always(quota) => problem(format!(
            "the limit \"{name}\" never takes more than {quota} {unit} at one time: send fewer"
        )),
    }
}

/// A 429 as it is described.
pub(crate) fn example() -> Problem {
    limited(Policy::Client, Short::For(Duration::from_millis(20)))
}

/// The limits that the answer to a request tells of.
#[derive(Debug, Default)]
pub(crate) struct Told([AtomicU64; Policy::TOLD.len()]);

impl Told {
    fn note(&self, policy: Policy, left: Left) {
        if let Some(place) = self.0.get(policy as usize) {
            place.store(u64::from(left.quota) << 32 | u64::from(left.remaining), Ordering::Relaxed);
        }
    }

    /// Says it in the head of the answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let (mut policies, mut limits) = (String::new(), String::new());
        for (policy, place) in Policy::TOLD.into_iter().zip(&self.0) {
            let noted = place.load(Ordering::Relaxed);
            let (quota, remaining) = (noted >> 32, noted & u64::from(u32::MAX));
            if quota == 0 {
                continue;
            }
            let comma = if policies.is_empty() { "" } else { ", " };
            let (name, unit) = (policy.name(), policy.unit());
            // Writing to a text cannot fail.
            let _ = write!(policies, "{comma}\"{name}\";q={quota};qu=\"{unit}\";w=1");
            let _ = write!(limits, "{comma}\"{name}\";r={remaining};t=1");
        }
        for (header, text) in [(POLICY, policies), (LIMIT, limits)] {
            if let Ok(value) = HeaderValue::try_from(text)
                && !value.is_empty()
            {
                headers.insert(header, value);
            }
        }
    }
}
