//! What can go wrong between us and a broker.

use std::{io, time::Duration};

use kafka_protocol::ResponseError;
use thiserror::Error;

/// A call that did not succeed.
#[derive(Debug, Error)]
pub enum WireError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The broker, `host:port`.
        address: String,
        /// The system's word.
        source: io::Error,
    },
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
}

impl WireError {
    /// Kafka's error, where it is one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { error, .. } => Some(*error),
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
