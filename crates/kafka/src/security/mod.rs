//! How connections to brokers are protected, and who they say they are: TLS and SASL, for rskafka's
//! connections just as for our own.

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
pub use tls::{Tls, TlsFault, TlsFiles};

use rskafka::client::ClientBuilder;

/// What a connection gets beside TCP; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS, under all that is said.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// Who the client says it is, before it says anything else.
    pub sasl: Option<Sasl>,
}

/// What connections are made with just now: certificates and passwords change while the process runs.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<tokio_rustls::rustls::ClientConfig>>,
    password: Option<Secret>,
}

impl Security {
    /// What a connection that is made now is made with.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            #[cfg(feature = "tls")]
            tls: self.tls.as_ref().map(Tls::config),
            password: self.sasl.as_ref().and_then(Sasl::password),
        }
    }

    /// Has rskafka protect its connections likewise.
    pub(crate) fn protect(&self, builder: ClientBuilder, snapshot: &Snapshot) -> ClientBuilder {
        #[cfg(feature = "tls")]
        let builder = match &snapshot.tls {
            Some(tls) => builder.tls_config(std::sync::Arc::clone(tls)),
            None => builder,
        };
        match &self.sasl {
            Some(sasl) => builder.sasl_config(sasl.for_rskafka(snapshot.password.as_ref())),
            None => builder,
        }
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(feature = "tls")]
        let same = match (&self.tls, &other.tls) {
            (Some(one), Some(other)) => std::sync::Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        #[cfg(not(feature = "tls"))]
        let same = true;
        same && self.password == other.password
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot(…)")
    }
}
