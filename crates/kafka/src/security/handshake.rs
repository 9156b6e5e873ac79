//! Failed TLS and SASL handshakes, and the pause after one.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;

use super::TokenError;

/// TLS or SASL failed. A retry soon after does not help: somebody has to change a setting. The error is kept for the next
/// connections and compared with the next error, so it has its cause in words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A certificate is not trusted, or the listener does not speak TLS.
    #[error("no TLS with {address}: {reason}")]
    #[non_exhaustive]
    Tls {
        /// The broker, `host:port`.
        address: String,
        /// The message of either side.
        reason: String,
    },
    /// The broker refuses the credentials or the mechanism.
    #[error("{address} refuses user {user}: {reason}")]
    #[non_exhaustive]
    Sasl {
        /// The broker, `host:port`.
        address: String,
        /// The user's name.
        user: String,
        /// The broker's message.
        reason: String,
    },
    /// The authorization server gives no token for OAUTHBEARER.
    #[error(transparent)]
    Token(TokenError),
}

/// The pause after a failed handshake. Brokers count and delay failed authentications.
const PAUSE: Duration = Duration::from_secs(10);

/// The brokers with which a handshake failed a moment ago. A connection to one of them fails at once.
#[derive(Debug, Default)]
pub(crate) struct AuthBackoff(Mutex<HashMap<String, Failure>>);

#[derive(Debug)]
struct Failure {
    error: HandshakeError,
    until: Instant,
}

impl AuthBackoff {
    /// Whether the broker may be tried. After a failure one caller may, each time that [`PAUSE`] is over.
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

    /// Records the result of a handshake. An error is logged when it is new.
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
