//! The time for which a broker believes a connection's proof of identity (KIP-368).

use std::time::Duration;

use tokio::time::Instant;

/// The part of a session after which it is renewed, as in Java's `SaslClientAuthenticator`. The rest allows for clocks and
/// networks.
const RENEWED_AFTER: f64 = 0.85;

/// A session of a connection, or of one that was made with the same credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    lifetime: Duration,
    began: Instant,
}

impl Session {
    /// A session that begins now, with that `session_lifetime_ms`; `None` without an end.
    pub(crate) fn begin(lifetime_ms: i64) -> Option<Self> {
        let lifetime = u64::try_from(lifetime_ms).ok().filter(|lifetime| *lifetime > 0)?;
        Some(Self { lifetime: Duration::from_millis(lifetime), began: Instant::now() })
    }

    /// A session of the same length that begins now.
    pub(crate) fn again(self) -> Self {
        Self { began: Instant::now(), ..self }
    }

    /// The session, or its part until the token expires.
    pub(crate) fn within(self, token: Option<Duration>) -> Self {
        let left = token.map_or(self.lifetime, |left| left.min(self.lifetime));
        Self { lifetime: left, ..self }
    }

    /// Whether it is to be renewed before any other request.
    pub(crate) fn is_nearly_over(&self) -> bool {
        self.began.elapsed() >= self.lifetime.mul_f64(RENEWED_AFTER)
    }
}
