//! The files of HTTPS, and their possible faults.

use std::{fmt, path::PathBuf};

/// The files of a server's TLS, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsFiles {
    /// The server's certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The authorities of accepted clients; `None` accepts everybody.
    pub client_ca: Option<PathBuf>,
}

/// A fault of one of the files, as a clause that its name goes before. All variants are here to stay: an application names
/// its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpsFault {
    /// A fault of the certificate.
    Certificate(String),
    /// A fault of its key.
    Key(String),
    /// A fault of the authorities of clients.
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
