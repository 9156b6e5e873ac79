//! SASL (RFC 4422): a user and a password, proved in one of the ways that Kafka's brokers take.

use std::sync::Arc;

use rsasl::prelude::{Mechname, SASLClient, SASLConfig, Session};

use super::Secret;

/// A user of the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
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
pub enum SaslMechanism {
    /// It is said (RFC 4616): readable for whoever reads the connection, unless that has TLS.
    Plain,
    /// Both sides prove that they know it, with SHA-256 (RFC 7677).
    ScramSha256,
    /// Both sides prove that they know it, with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// The name that brokers know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Sasl {
    /// The client's side of one authentication.
    ///
    /// # Errors
    ///
    /// What the library has against the credentials.
    pub(crate) fn session(&self) -> Result<Session, String> {
        let (username, password) = (self.username.clone(), self.password.reveal().to_owned());
        let credentials: Arc<SASLConfig> =
            SASLConfig::with_credentials(None, username, password).map_err(|error| error.to_string())?;
        let name = Mechname::parse(self.mechanism.name().as_bytes()).map_err(|error| error.to_string())?;
        SASLClient::new(credentials).start_suggested(&[name]).map_err(|error| error.to_string())
    }
}
