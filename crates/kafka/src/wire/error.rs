//! The errors of a connection to a broker.

use std::{io, time::Duration};

use kafka_protocol::ResponseError;
use thiserror::Error;

use crate::security::HandshakeError;
#[cfg(feature = "tls")]
use crate::security::Tls;

/// A request failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The broker, `host:port`.
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// As [`WireError::Connect`], to an address that a broker advertises (`advertised.listeners`).
    #[error("cannot connect to {address}: {error}")]
    Advertised {
        /// The broker, `host:port`, as it advertises itself.
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// A broker of another cluster (KIP-78) has that address now.
    #[error("{address} is of cluster {found}, and no more of {wanted}")]
    OtherCluster {
        /// The broker, `host:port`.
        address: String,
        /// The id of the cluster that had it before.
        wanted: String,
        /// The id of the cluster that has it now.
        found: String,
    },
    /// TLS or SASL failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// No response within the deadline.
    #[error("{what} was not answered within {after:?}")]
    TimedOut {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {address} broke: {error}")]
    Broken {
        /// The broker, `host:port`.
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// The broker speaks no version of this request that this client speaks.
    #[error("the broker speaks no version of {0} that this client does")]
    Unsupported(&'static str),
    /// The response cannot be decoded.
    #[error("malformed answer to {what}: {reason}")]
    Malformed {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// The fault in it.
        reason: String,
    },
    /// The broker answered with an error code.
    #[error("{what}: {error}")]
    Refused {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// Kafka's error code.
        error: ResponseError,
    },
    /// The broker answered only that the client has to wait for this time (KIP-219).
    #[error("Kafka throttles this client by a quota, for {0:?}")]
    Throttled(Duration),
    /// As [`WireError::Refused`], with a message.
    #[error("{what}: {error}: {said}")]
    Denied {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// Kafka's error code.
        error: ResponseError,
        /// The broker's message.
        said: String,
    },
}

impl WireError {
    /// A response to Metadata names no leader, or no broker.
    pub(crate) const NO_LEADER: Self =
        Self::Refused { what: "Metadata", error: ResponseError::LeaderNotAvailable };

    /// The handshake error behind it, if TLS closed the connection: a broker refuses a client's certificate only after
    /// the handshake (RFC 8446, 4.4.2.4).
    pub(super) fn or_handshake_error(self, address: &str) -> Self {
        #[cfg(feature = "tls")]
        if let Self::Connect { error, .. } | Self::Broken { error, .. } = &self
            && let Some(reason) = Tls::error(error)
        {
            return Self::Handshake(HandshakeError::Tls { address: address.to_owned(), reason });
        }
        #[cfg(not(feature = "tls"))]
        let _ = address;
        self
    }

    /// Whether nothing listens at the address, or the name does not resolve.
    pub(crate) fn is_refused_or_unresolved(&self) -> bool {
        let (Self::Connect { error, .. } | Self::Advertised { error, .. }) = self else { return false };
        error.kind() == io::ErrorKind::ConnectionRefused || is_of_name(error)
    }

    /// Whether a broker of another cluster answers.
    pub(crate) fn is_other_cluster(&self) -> bool {
        matches!(self, Self::OtherCluster { .. })
    }

    /// Kafka's error code, if the broker answered with one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { error, .. } | Self::Denied { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// Whether the broker refused the request for good: a retry does not help. A member with a stale epoch gets the
    /// next one by its heartbeat (KIP-848).
    pub fn is_final(&self) -> bool {
        self.code().is_some_and(|code| !code.is_retriable() && code != ResponseError::StaleMemberEpoch)
    }

    /// `Ok` for code 0, else the error of that code.
    pub fn check(what: &'static str, code: i16) -> Result<(), Self> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(error) => Err(Self::Refused { what, error }),
        }
    }
}

/// Whether a name does not resolve. The standard library has no kind for that, but this text on every Unix.
pub(super) fn is_of_name(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address information")
}
