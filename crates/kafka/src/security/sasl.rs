//! SASL (RFC 4422): the mechanisms with a password that Kafka's brokers take.

use std::sync::Arc;

use rsasl::prelude::{Mechname, SASLClient, SASLConfig, Session};

use super::Secret;

/// A user of the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: Secret,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// `PLAIN` (RFC 4616): the password is sent, readable without TLS.
    Plain,
    /// `SCRAM-SHA-256` (RFC 7677): both sides prove that they know it.
    ScramSha256,
    /// `SCRAM-SHA-512`: the same with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Its registered name, as brokers spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Sasl {
    /// That user.
    pub fn new(mechanism: SaslMechanism, username: impl Into<String>, password: Secret) -> Self {
        Self { mechanism, username: username.into(), password }
    }

    /// The client's side of one authentication.
    ///
    /// # Errors
    ///
    /// rsasl does not take the credentials.
    pub(crate) fn session(&self) -> Result<Session, String> {
        let (username, password) = (self.username.clone(), self.password.reveal().to_owned());
        let credentials: Arc<SASLConfig> =
            SASLConfig::with_credentials(None, username, password).map_err(|error| error.to_string())?;
        let name = Mechname::parse(self.mechanism.name().as_bytes()).map_err(|error| error.to_string())?;
        SASLClient::new(credentials).start_suggested(&[name]).map_err(|error| error.to_string())
    }
}
