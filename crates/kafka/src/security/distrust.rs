//! A broker and this client that do not trust each other: no attempt that follows soon can change that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;

use super::TokenError;

/// Why a connection is refused, by either side, for what the other is or says that it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// No TLS: a certificate is not trusted, or the listener does not speak it.
    #[error("no TLS with {address}: {reason}")]
    Tls {
        /// The broker, `host:port`.
        address: String,
        /// Either side's word.
        reason: String,
    },
    /// The credentials are wrong, or the broker does not take them in this way.
    #[error("{address} refuses user {user}: {reason}")]
    Sasl {
        /// The broker, `host:port`.
        address: String,
        /// Who wanted in.
        user: String,
        /// The broker's word.
        reason: String,
    },
    /// The authorization server gives no token to prove who this is.
    #[error(transparent)]
    Token(TokenError),
}

/// How long a broker that was distrusted is left alone. Passwords are mended by people, and brokers count and
/// delay failed authentications.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// Which brokers are left alone for now, and why: whatever asks for one of them is told at once.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, Refusal>>);

#[derive(Debug)]
struct Refusal {
    distrust: Distrust,
    until: Instant,
}

impl Refusals {
    /// Whether that broker may be tried. After a refusal one caller may, each time that [`LEFT_ALONE`] is over.
    pub(crate) fn check(&self, address: &str) -> Result<(), Distrust> {
        let mut refusals = self.refusals();
        let Some(refusal) = refusals.get_mut(address) else { return Ok(()) };
        let now = Instant::now();
        if now < refusal.until {
            return Err(refusal.distrust.clone());
        }
        refusal.until = now + LEFT_ALONE;
        Ok(())
    }

    /// That broker was tried: whether it is trusted. What is wrong is logged once.
    pub(crate) fn tried(&self, address: &str, distrust: Option<&Distrust>) {
        let mut refusals = self.refusals();
        let Some(distrust) = distrust else {
            refusals.remove(address);
            return;
        };
        let refusal = Refusal { distrust: distrust.clone(), until: Instant::now() + LEFT_ALONE };
        let before = refusals.insert(address.to_owned(), refusal);
        if before.is_none_or(|before| before.distrust != *distrust) {
            log::error!("{distrust}; it is asked again every {LEFT_ALONE:?}");
        }
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<String, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
