//! SASL (RFC 4422): the client proves its identity by one of the mechanisms of Kafka's brokers.

use std::{sync::Arc, time::Duration};

use rsasl::{
    callback::{Context, Request, SessionCallback, SessionData},
    prelude::{Mechname, SASLClient, SASLConfig, Session, SessionError},
    property::{OAuthBearerKV, OAuthBearerToken},
};

use super::{Credential, OauthBearer, Secret, TokenError};

/// The client's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sasl {
    /// A user of the brokers, with a password.
    User {
        /// The mechanism that proves the password.
        mechanism: SaslMechanism,
        /// The user's name.
        username: String,
        /// The user's password.
        password: Credential,
    },
    /// The subject of a token that an authorization server gives (OAUTHBEARER: RFC 7628, KIP-255).
    OauthBearer(Arc<OauthBearer>),
}

/// A mechanism that proves a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// `PLAIN` (RFC 4616): the password is sent, readable without TLS.
    Plain,
    /// `SCRAM-SHA-256` (RFC 7677): both sides prove that they know the password.
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
    /// A user of the brokers, with a password.
    pub fn with_password(
        mechanism: SaslMechanism,
        username: impl Into<String>,
        password: Credential,
    ) -> Self {
        Self::User { mechanism, username: username.into(), password }
    }

    /// The name of the mechanism, as brokers know it.
    pub(crate) fn mechanism(&self) -> &'static str {
        match self {
            Self::User { mechanism, .. } => mechanism.name(),
            Self::OauthBearer(_) => "OAUTHBEARER",
        }
    }

    /// The user, or the client's name at the authorization server.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::User { username, .. } => username,
            Self::OauthBearer(oauth) => oauth.client_id(),
        }
    }

    /// The current password, if there is one.
    pub(crate) fn password(&self) -> Option<Secret> {
        match self {
            Self::User { password, .. } => Some(password.current()),
            Self::OauthBearer(_) => None,
        }
    }

    /// The remaining validity of the token for a connection that is made now, if there is one.
    pub(crate) fn token_left(&self) -> Option<Duration> {
        match self {
            Self::User { .. } => None,
            Self::OauthBearer(oauth) => oauth.left(),
        }
    }

    /// The client's side of one authentication. It asks for a token if the last one is not valid for long.
    ///
    /// # Errors
    ///
    /// There is no token, or the library refuses the credentials.
    pub(crate) async fn session(&self) -> Result<Session, SessionFault> {
        let config = match self {
            Self::User { username, password, .. } => {
                let password = password.current().reveal().to_owned();
                SASLConfig::with_credentials(None, username.clone(), password)
            }
            Self::OauthBearer(oauth) => {
                let token = oauth.token().await.map_err(SessionFault::Token)?;
                let bearer = Bearer { token, extensions: oauth.extensions().to_vec() };
                SASLConfig::builder().with_default_mechanisms().with_callback(bearer)
            }
        };
        let config = config.map_err(|error| SessionFault::Credentials(error.to_string()))?;
        let name = Mechname::parse(self.mechanism().as_bytes())
            .map_err(|error| SessionFault::Credentials(error.to_string()))?;
        SASLClient::new(config)
            .start_suggested(&[name])
            .map_err(|error| SessionFault::Credentials(error.to_string()))
    }
}

/// The reason why an authentication cannot begin.
#[derive(Debug)]
pub(crate) enum SessionFault {
    /// The authorization server gives no token.
    Token(TokenError),
    /// The credentials cannot be sent.
    Credentials(String),
}

/// The client's first message, as the library asks for it.
struct Bearer {
    token: Secret,
    extensions: Vec<(String, String)>,
}

impl SessionCallback for Bearer {
    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let extensions: Vec<_> =
            self.extensions.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        request.satisfy::<OAuthBearerKV>(&extensions)?.satisfy::<OAuthBearerToken>(self.token.reveal())?;
        Ok(())
    }
}
