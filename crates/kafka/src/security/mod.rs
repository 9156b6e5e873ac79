//! TLS and SASL of the connections to brokers, rskafka's and our own.

mod credential;
mod handshake;
mod oauth;
mod sasl;
mod secret;
mod session;
#[cfg(feature = "tls")]
mod tls;

pub use credential::Credential;
pub(crate) use handshake::AuthBackoff;
pub use handshake::HandshakeError;
pub use oauth::{OauthBearer, TokenError, TokenRequest};
pub(crate) use sasl::SessionFault;
pub use sasl::{Sasl, SaslMechanism};
pub use secret::Secret;
pub(crate) use session::Session;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsFileError, TlsFiles};

/// The security of connections. By default they have none: `PLAINTEXT` in Kafka's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Security {
    /// TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// The user as which each connection authenticates.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// Sets [`Security::tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Sets [`Security::sasl`].
    #[must_use]
    pub fn with_sasl(mut self, sasl: Option<Sasl>) -> Self {
        self.sasl = sasl;
        self
    }
}
