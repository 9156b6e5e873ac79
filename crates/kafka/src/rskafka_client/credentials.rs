//! TLS and SASL, as rskafka takes them.

use rskafka::client::{ClientBuilder, Credentials, SaslConfig};

use crate::security::{Sasl, SaslMechanism, Security};

/// Secures the connections of the client that `builder` builds.
pub(super) fn secure(builder: ClientBuilder, security: &Security) -> ClientBuilder {
    #[cfg(feature = "tls")]
    let builder = match &security.tls {
        Some(tls) => builder.tls_config(tls.client_config()),
        None => builder,
    };
    match &security.sasl {
        Some(sasl) => builder.sasl_config(sasl_config(sasl)),
        None => builder,
    }
}

/// The `Debug` of the result shows the password: nothing but rskafka may have it.
fn sasl_config(sasl: &Sasl) -> SaslConfig {
    let credentials = Credentials::new(sasl.username.clone(), sasl.password.reveal().to_owned());
    match sasl.mechanism {
        SaslMechanism::Plain => SaslConfig::Plain(credentials),
        SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
        SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
    }
}
