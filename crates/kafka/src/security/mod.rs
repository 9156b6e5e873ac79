//! How connections to brokers are protected, and who they say they are: TLS and SASL, for rskafka's
//! connections just as for our own.

mod handshake;
mod sasl;
mod secret;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use handshake::AuthBackoff;
pub use handshake::HandshakeError;
pub use sasl::{Sasl, SaslMechanism};
pub use secret::Secret;
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

impl Security {
    /// Has rskafka protect its connections likewise.
    pub(crate) fn protect(&self, builder: ClientBuilder) -> ClientBuilder {
        #[cfg(feature = "tls")]
        let builder = match &self.tls {
            Some(tls) => builder.tls_config(tls.config()),
            None => builder,
        };
        match &self.sasl {
            Some(sasl) => builder.sasl_config(sasl.for_rskafka()),
            None => builder,
        }
    }
}
