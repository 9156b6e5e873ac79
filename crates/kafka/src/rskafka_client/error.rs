//! rskafka's errors, translated.

use std::{error::Error as StdError, fmt, time::Duration};

use rskafka::client::error::{Error as RskafkaError, ProtocolError};
use thiserror::Error;

use crate::{security::HandshakeError, wire::WireError};

/// A call through rskafka failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// No response within the deadline.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// TLS or SASL failed with the broker.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The broker cannot be reached.
    #[error("{}", .0.explained())]
    Unreachable(WireError),
    /// rskafka failed, or Kafka refused the request.
    #[error(transparent)]
    Failed(ClientError),
}

/// An error of rskafka's. It shows the innermost one: its retry loop wraps them.
pub struct ClientError(RskafkaError);

/// A broker was not found, or did not answer, on a connection of our own.
impl From<WireError> for CallError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Handshake(error) => Self::Handshake(error),
            error => Self::Unreachable(error),
        }
    }
}

impl CallError {
    pub(super) fn failed(error: RskafkaError) -> Self {
        Self::Failed(ClientError(error))
    }

    /// Kafka's error code, if Kafka refused the request.
    pub(super) fn protocol(&self) -> Option<ProtocolError> {
        match self.innermost()? {
            RskafkaError::ServerError { protocol_error, .. } => Some(*protocol_error),
            _ => None,
        }
    }

    fn innermost(&self) -> Option<&RskafkaError> {
        match self {
            Self::Failed(error) => Some(error.innermost()),
            _ => None,
        }
    }
}

impl ClientError {
    fn innermost(&self) -> &RskafkaError {
        let mut found = &self.0;
        let mut source = StdError::source(found);
        while let Some(error) = source {
            if let Some(inner) = error.downcast_ref::<RskafkaError>() {
                found = inner;
            }
            source = error.source();
        }
        found
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.innermost(), f)
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.innermost().source()
    }
}
