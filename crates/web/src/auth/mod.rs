//! The rights of clients, and their limits.
//!
//! [`AccessGate`] stands before a service's routes. A credential is checked first: an API key ([`KeyFile`]) or a token of an
//! issuer ([`JwtConfig`]). The rights of its client ([`Scope`]) are held against the need of the route ([`Need`], in the
//! service's [`Paths`](crate::http::Paths)). The number of its requests is held against limits ([`LimitConfig`]). A route
//! asks its [`Grant`] about all that needs more than that to be decided, such as whose event a body is.

mod audit;
pub mod cli;
mod counts;
mod credential;
mod crypto;
mod gate;
mod grant;
mod jwks;
mod jwt;
mod keys;
mod last_client;
mod limits;
mod principal;
mod rates;
pub(crate) mod refusals;
mod scope;

pub(crate) use audit::{AUDIT, Audit, address};
pub use gate::AccessGate;
pub(crate) use gate::{AccessDecision, Attempt};
pub use grant::{Grant, Reads, grant};
pub use jwks::KeySource;
pub use jwt::{JwtConfig, check_jwks};
pub use keys::KeyFile;
pub(crate) use last_client::LastClient;
pub use limits::LimitConfig;
pub(crate) use limits::example as limited;
pub use principal::Principal;
pub use rates::{Buckets, Left, Rates, Short};
pub use scope::{Need, Scope, Scopes};

/// The accepted clients, and their limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthConfig {
    /// The file of API keys, whose holders are clients.
    pub keys: Option<KeyFile>,
    /// The issuer whose tokens make a client.
    pub jwt: Option<JwtConfig>,
    /// Whether there is an admin token.
    pub has_admin_token: bool,
    /// The limits of clients.
    pub limits: LimitConfig,
}

impl AuthConfig {
    /// Whether clients are authenticated.
    pub fn is_on(&self) -> bool {
        self.keys.is_some() || self.jwt.is_some()
    }
}
