//! TLS and SASL in the form that rskafka takes.

use std::sync::Arc;

use rskafka::client::{ClientBuilder, Credentials, OauthBearerCredentials, SaslConfig};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;

#[cfg(feature = "tls")]
use crate::security::Tls;
use crate::security::{Sasl, SaslMechanism, Secret, Security};

/// The current credentials for a client. Certificates and passwords change while the process runs.
#[derive(Clone)]
pub(super) struct Snapshot {
    #[cfg(feature = "tls")]
    tls: Option<Arc<ClientConfig>>,
    password: Option<Secret>,
}

impl Snapshot {
    pub(super) fn of(security: &Security) -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: security.tls.as_ref().map(Tls::client_config),
            password: security.sasl.as_ref().and_then(Sasl::password),
        }
    }

    /// Secures the connections of the client that `builder` builds.
    pub(super) fn secure(&self, builder: ClientBuilder, security: &Security) -> ClientBuilder {
        #[cfg(feature = "tls")]
        let builder = match &self.tls {
            Some(tls) => builder.tls_config(Arc::clone(tls)),
            None => builder,
        };
        match &security.sasl {
            Some(sasl) => builder.sasl_config(sasl_config(sasl, self.password.as_ref())),
            None => builder,
        }
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(feature = "tls")]
        let same = match (&self.tls, &other.tls) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        #[cfg(not(feature = "tls"))]
        let same = true;
        same && self.password == other.password
    }
}

/// The `Debug` of the result shows the password: nothing but rskafka may have it.
fn sasl_config(sasl: &Sasl, password: Option<&Secret>) -> SaslConfig {
    match sasl {
        Sasl::User { mechanism, username, .. } => {
            let password = password.map(Secret::reveal).unwrap_or_default().to_owned();
            let credentials = Credentials::new(username.clone(), password);
            match mechanism {
                SaslMechanism::Plain => SaslConfig::Plain(credentials),
                SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            }
        }
        Sasl::OauthBearer(oauth) => {
            let bearer_kvs = oauth.extensions().to_vec();
            let oauth = Arc::clone(oauth);
            SaslConfig::Oauthbearer(OauthBearerCredentials {
                callback: Arc::new(move || {
                    let oauth = Arc::clone(&oauth);
                    Box::pin(async move { Ok(oauth.token().await?.reveal().to_owned()) })
                }),
                authz_id: None,
                bearer_kvs,
            })
        }
    }
}
