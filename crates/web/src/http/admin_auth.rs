//! Authorization of operators: checks the admin token, limits guesses, and writes an audit line for each call.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper::{
    StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};
use tokio::time::{Instant, sleep};

use super::{BearerToken, Problem};
use crate::auth::{AUDIT, Audit, Grant, address, refusals};

/// The time for which wrong tokens are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// The most wrong tokens of one address in that time; further ones are not checked.
const MOST_OF_ONE: u32 = 10;
/// The most wrong tokens of all addresses; then only addresses that had the right token are checked.
const MOST_OF_ALL: u32 = 100;
/// The delay of the answer to a wrong token.
const DELAY: Duration = Duration::from_millis(500);

/// Authorizes requests by the admin token.
pub struct AdminAuth {
    /// `None` where only clients with the scope for it operate the service.
    bearer: Option<BearerToken>,
    window: Mutex<FailureWindow>,
    audit: Audit,
}

/// The wrong tokens since the window began. It holds at most [`MOST_OF_ALL`] addresses, and those
/// that had the right token.
#[derive(Debug)]
struct FailureWindow {
    since: Instant,
    of_all: u32,
    of_one: HashMap<Option<IpAddr>, Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    wrong: u32,
    /// The address had the right token.
    known: bool,
    /// The log has said that the address is not checked.
    told: bool,
}

/// The outcome of a check.
enum TokenCheck {
    Admitted,
    Wrong(Problem),
    /// The time until tokens are checked again, and whether the log has not told it yet.
    Closed(Duration, bool),
}

impl AdminAuth {
    /// Authorizes bearers of that token, if there is one.
    pub fn new(bearer: impl Into<Option<BearerToken>>) -> Self {
        let window = FailureWindow { since: Instant::now(), of_all: 0, of_one: HashMap::new() };
        Self { bearer: bearer.into(), window: Mutex::new(window), audit: Audit::default() }
    }

    /// Admits a client with the scope `admin`, or else a request with this `Authorization`. Each call is logged.
    ///
    /// # Errors
    ///
    /// As [`AdminAuth::authorize`].
    pub async fn admit(
        &self,
        grant: &Grant,
        authorization: Option<&HeaderValue>,
        caller: Option<IpAddr>,
        action: &str,
    ) -> Result<(), Problem> {
        let Some(who) = grant.admin() else { return self.authorize(authorization, caller, action).await };
        let address = address(caller);
        log::info!(target: AUDIT, who, address, action, outcome = "admitted"; "{action} by {who}: admitted");
        Ok(())
    }

    /// Authorizes a request by its `Authorization`; else 401, or 429 after too many wrong tokens. Each call is logged, but
    /// only some of those without a token, and of those after too many wrong ones.
    ///
    /// # Errors
    ///
    /// The problem to answer instead.
    pub async fn authorize(
        &self,
        authorization: Option<&HeaderValue>,
        caller: Option<IpAddr>,
        action: &str,
    ) -> Result<(), Problem> {
        let Some(bearer) = &self.bearer else { return Err(refusals::missing()) };
        if authorization.is_none() {
            self.audit.missing(caller, action);
            return bearer.authorize(None);
        }
        let address = address(caller);
        let who = "admin token";
        match self.check(bearer, authorization, caller) {
            TokenCheck::Admitted => {
                log::info!(target: AUDIT, who, address, action, outcome = "admitted"; "{action} by {address}: admitted");
                Ok(())
            }
            TokenCheck::Wrong(problem) => {
                let who = "unknown";
                log::warn!(target: AUDIT, who, address, action, outcome = "refused"; "{action} by {address}: a wrong token");
                sleep(DELAY).await;
                Err(problem)
            }
            TokenCheck::Closed(left, is_news) => {
                if is_news {
                    log::warn!(
                        target: AUDIT, who = "unknown", address, action, outcome = "limited";
                        "{action} by {address}: too many wrong tokens, no more are looked at for {left:.0?}"
                    );
                }
                Err(limited(left))
            }
        }
    }

    fn check(
        &self,
        bearer: &BearerToken,
        authorization: Option<&HeaderValue>,
        caller: Option<IpAddr>,
    ) -> TokenCheck {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = window.since.elapsed();
        if elapsed >= WINDOW {
            (window.since, window.of_all) = (Instant::now(), 0);
            window.of_one.retain(|_, failures| {
                (failures.wrong, failures.told) = (0, false);
                failures.known
            });
        }
        let left = WINDOW.saturating_sub(window.since.elapsed());
        let of_all = window.of_all;
        let network_ = caller.map(network);
        let is_open = match window.of_one.get(&network_) {
            Some(failures) => failures.wrong < MOST_OF_ONE && (failures.known || of_all < MOST_OF_ALL),
            None => of_all < MOST_OF_ALL,
        };
        if !is_open {
            // New addresses are not remembered: their number is unbounded.
            let is_news = window
                .of_one
                .get_mut(&network_)
                .is_some_and(|failures| !std::mem::replace(&mut failures.told, true));
            return TokenCheck::Closed(left, is_news);
        }
        let failures = window.of_one.entry(network_).or_default();
        match bearer.authorize(authorization) {
            Ok(()) => {
                failures.known = true;
                TokenCheck::Admitted
            }
            Err(problem) => {
                failures.wrong += 1;
                window.of_all += 1;
                TokenCheck::Wrong(problem)
            }
        }
    }
}

/// 429: too many wrong tokens came.
pub fn limited(left: Duration) -> Problem {
    let seconds = left.as_secs() + 1;
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens came: none is looked at for a while")
        .with_header(RETRY_AFTER, HeaderValue::from(seconds))
}

/// The network of an IPv6 address, all of which one client has (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// Shows no token.
impl fmt::Debug for AdminAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminAuth(…)")
    }
}
