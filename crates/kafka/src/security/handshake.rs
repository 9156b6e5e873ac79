//! A broker and this client that do not trust each other: no attempt that follows soon can change that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;

/// Why a connection is refused, by either side, for what the other is or says that it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandshakeError {
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
}

/// How long a broker that was distrusted is left alone. Passwords are mended by people, and brokers count and
/// delay failed authentications.
const PAUSE: Duration = Duration::from_secs(10);

/// Which brokers are left alone for now, and why: whatever asks for one of them is told at once.
#[derive(Debug, Default)]
pub(crate) struct AuthBackoff(Mutex<HashMap<String, Failure>>);

#[derive(Debug)]
struct Failure {
    error: HandshakeError,
    until: Instant,
}

impl AuthBackoff {
    /// Whether that broker may be tried. After a failure one caller may, each time that [`PAUSE`] is over.
    pub(crate) fn check(&self, address: &str) -> Result<(), HandshakeError> {
        let mut failures = self.failures();
        let Some(failure) = failures.get_mut(address) else { return Ok(()) };
        let now = Instant::now();
        if now < failure.until {
            return Err(failure.error.clone());
        }
        failure.until = now + PAUSE;
        Ok(())
    }

    /// That broker was tried: whether it is trusted. What is wrong is logged once.
    pub(crate) fn tried(&self, address: &str, error: Option<&HandshakeError>) {
        let mut failures = self.failures();
        let Some(error) = error else {
            failures.remove(address);
            return;
        };
        let failure = Failure { error: error.clone(), until: Instant::now() + PAUSE };
        let before = failures.insert(address.to_owned(), failure);
        if before.is_none_or(|before| before.error != *error) {
            log::error!("{error}; it is asked again every {PAUSE:?}");
        }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
