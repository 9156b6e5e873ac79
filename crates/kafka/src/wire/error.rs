//! What can go wrong between us and a broker.

use std::{io, time::Duration};

use kafka_protocol::ResponseError;
use thiserror::Error;

use crate::security::HandshakeError;
#[cfg(feature = "tls")]
use crate::security::Tls;

/// A call that did not succeed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The broker, `host:port`.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// As [`WireError::Connect`], to an address that the cluster named and no setting of ours.
    #[error("cannot connect to {address}: {source}")]
    Advertised {
        /// The broker, `host:port`, as it advertises itself.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// What answers there is a broker of another cluster: an address that was given to somebody else.
    #[error("{address} is of cluster {found}, and no more of {wanted}")]
    OtherCluster {
        /// The broker, `host:port`.
        address: String,
        /// The id of the cluster that it was of.
        wanted: String,
        /// The id of the cluster that it says it is of.
        found: String,
    },
    /// The broker and this client do not trust each other.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// No answer within the deadline.
    #[error("{what} was not answered within {after:?}")]
    TimedOut {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {address} broke: {source}")]
    Broken {
        /// The broker, `host:port`.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// The broker does not speak a version of this request that we do.
    #[error("the broker speaks no version of {0} that this client does")]
    Unsupported(&'static str),
    /// Bytes that are not an answer to what was asked.
    #[error("malformed answer to {what}: {reason}")]
    Malformed {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The broker answered with an error.
    #[error("{what}: {error}")]
    Refused {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// Kafka's error.
        error: ResponseError,
    },
    /// The broker answered nothing but that the client is to wait so long.
    #[error("Kafka throttles this client by a quota, for {0:?}")]
    Throttled(Duration),
    /// As [`WireError::Refused`], and the broker says why.
    #[error("{what}: {error}: {said}")]
    Denied {
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// Kafka's error.
        error: ResponseError,
        /// The broker's word.
        said: String,
    },
}

impl WireError {
    /// The distrust behind it, where TLS ended the connection: a broker says what it has against a client's
    /// certificate only after the handshake (RFC 8446, 4.4.2.4).
    pub(super) fn or_handshake_error(self, address: &str) -> Self {
        #[cfg(feature = "tls")]
        if let Self::Connect { source, .. } | Self::Broken { source, .. } = &self
            && let Some(reason) = Tls::error(source)
        {
            return Self::Handshake(HandshakeError::Tls { address: address.to_owned(), reason });
        }
        #[cfg(not(feature = "tls"))]
        let _ = address;
        self
    }

    /// Whether nothing is there that could answer: nothing listens, or the name is of nobody.
    pub(crate) fn is_nobody_there(&self) -> bool {
        let (Self::Connect { source, .. } | Self::Advertised { source, .. }) = self else { return false };
        source.kind() == io::ErrorKind::ConnectionRefused || is_of_name(source)
    }

    /// Whether a broker answers, and is of another cluster.
    pub(crate) fn is_of_another(&self) -> bool {
        matches!(self, Self::OtherCluster { .. })
    }

    /// Kafka's error, where it is one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { error, .. } | Self::Denied { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// Whether the broker refused it for good: asking again would change nothing. A member whose epoch is
    /// stale hears of the next one by its heartbeat (KIP-848).
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

/// Whether a name does not resolve. The standard library has no kind for it, and this text on every Unix.
pub(super) fn is_of_name(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address information")
}
