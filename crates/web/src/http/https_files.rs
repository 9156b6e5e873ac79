//! The files that HTTPS is made of, and the faults that they can have.

use std::{fmt, path::PathBuf};

/// Where a server's TLS is read from, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsFiles {
    /// Its certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The authorities whose clients may ask; `None` lets everybody.
    pub client_ca: Option<PathBuf>,
}

/// A fault of one of the files, as a clause that its name goes before. All variants are here to stay: an application names
/// its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpsFault {
    /// With the certificate.
    Certificate(String),
    /// With its key.
    Key(String),
    /// With the authorities of clients.
    ClientCa(String),
}

impl fmt::Display for HttpsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(clause) => write!(f, "the certificate {clause}"),
            Self::Key(clause) => write!(f, "the key {clause}"),
            Self::ClientCa(clause) => write!(f, "the file of clients' authorities {clause}"),
        }
    }
}
