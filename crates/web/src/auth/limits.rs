//! The limits of requests and events. Clients learn of them by 429 with `Retry-After`, `RateLimit-Policy` and `RateLimit`
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
    /// The limit of each client: a key, or a token's subject.
    pub client: Rates,
    /// The limit of each userId.
    pub user: Rates,
    /// The limit of all clients together.
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
    /// The policies in the head of each answer. The limit of all together is not told before it is used up.
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
        let of_client = client.map(|client| self.of_client(client, Policy::Client, NonZeroU32::MIN));
        let of_all = Part { buckets: self.total.requests.as_ref(), ..Part::new("", Policy::Total) };
        take(of_client.into_iter().chain([of_all]), told)
    }

    /// Takes a request for that user.
    ///
    /// # Errors
    ///
    /// 429.
    pub(super) fn take_user_request(&self, user: &str, told: &Told) -> Result<(), Problem> {
        take(std::iter::once(self.user_request(user)), told)
    }

    /// Takes events of that client. It takes from the client's own bucket first, so that a client without events left uses
    /// up no user's. The request may be for one user.
    ///
    /// # Errors
    ///
    /// 429; nothing is taken.
    pub(super) fn take_events<'u>(
        &self,
        client: Option<&Principal>,
        request: Option<&str>,
        users: impl Iterator<Item = (&'u str, NonZeroU32)> + Clone,
        events: NonZeroU32,
        told: &Told,
    ) -> Result<(), Problem> {
        let of_client = client.map(|client| self.of_client(client, Policy::ClientEvents, events));
        let request = request.map(|user| self.user_request(user));
        let of_users = users.map(|(user, amount)| Part {
            buckets: self.user.events.as_ref(),
            amount,
            ..Part::new(user, Policy::UserEvents)
        });
        let of_all = Part {
            buckets: self.total.events.as_ref(),
            amount: events,
            ..Part::new("", Policy::TotalEvents)
        };
        take(of_client.into_iter().chain(request).chain(of_users).chain([of_all]), told)
    }

    fn user_request<'a>(&'a self, user: &'a str) -> Part<'a> {
        Part { buckets: self.user.requests.as_ref(), ..Part::new(user, Policy::User) }
    }

    /// A key's own limits replace those of all clients.
    fn of_client<'a>(&'a self, client: &'a Principal, policy: Policy, amount: NonZeroU32) -> Part<'a> {
        let pair = client.limits().unwrap_or(&self.client);
        let buckets = if policy == Policy::Client { &pair.requests } else { &pair.events };
        Part { buckets: buckets.as_ref(), key: client.id(), amount, policy }
    }
}

/// An amount for one bucket, if there is a limit.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    buckets: Option<&'a Buckets>,
    key: &'a str,
    amount: NonZeroU32,
    policy: Policy,
}

impl<'a> Part<'a> {
    /// An amount of one, without a limit.
    fn new(key: &'a str, policy: Policy) -> Self {
        Self { buckets: None, key, amount: NonZeroU32::MIN, policy }
    }
}

/// Takes all of the parts, or none: a refused request uses nothing up.
fn take<'a>(parts: impl Iterator<Item = Part<'a>> + Clone, told: &Told) -> Result<(), Problem> {
    for (taken, Part { buckets, key, amount, policy }) in parts.clone().enumerate() {
        let Some(buckets) = buckets else { continue };
        let short = match buckets.take(key, amount) {
            Ok(left) => {
                told.note(policy, left);
                continue;
            }
            Err(short) => short,
        };
        for Part { buckets, key, amount, policy } in parts.take(taken) {
            if let Some(buckets) = buckets {
                buckets.give_back(key, amount);
                told.forget(policy);
            }
        }
        if let Short::For(_, left) = short {
            told.note(policy, left);
        }
        return Err(limited(policy, short));
    }
    Ok(())
}

/// 429.
fn limited(policy: Policy, short: Short) -> Problem {
    let (name, unit) = (policy.name(), policy.unit());
    let problem = |detail: String| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_member("violated-policies", vec![name.to_owned()])
    };
    match short {
        Short::For(wait, _) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            problem(format!("too many {unit} a second: the limit \"{name}\" is used up for now"))
                .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        }
        Short::Always(quota) => problem(format!(
            "the limit \"{name}\" never takes more than {quota} {unit} at one time: send fewer"
        )),
    }
}

/// The 429 of the OpenAPI document.
pub(crate) fn example() -> Problem {
    limited(Policy::Client, Short::For(Duration::from_millis(20), Left { quota: 100, remaining: 0 }))
}

/// The limits for the head of an answer.
#[derive(Debug, Default)]
pub(crate) struct Told([AtomicU64; Policy::TOLD.len()]);

impl Told {
    /// Notes a bucket. Where several buckets have the same policy, as in a batch, the emptiest counts.
    fn note(&self, policy: Policy, left: Left) {
        let noted = u64::from(left.quota) << 32 | u64::from(left.remaining);
        if let Some(place) = self.0.get(policy as usize) {
            let before = place.load(Ordering::Relaxed);
            if before == 0 || noted < before {
                place.store(noted, Ordering::Relaxed);
            }
        }
    }

    fn forget(&self, policy: Policy) {
        if let Some(place) = self.0.get(policy as usize) {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// Adds the limits to the head of an answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        // Most requests have no limit, and no cost here.
        if self.0.iter().any(|place| place.load(Ordering::Relaxed) != 0) {
            headers.extend(self.fields());
        }
    }

    /// Adds the limits to the head of a refusal.
    pub(super) fn on(&self, problem: Problem) -> Problem {
        self.fields().fold(problem, |problem, (name, value)| problem.with_header(name, value))
    }

    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
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
        let told = [(POLICY, policies), (LIMIT, limits)].into_iter().filter(|(_, text)| !text.is_empty());
        told.filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)))
    }
}
