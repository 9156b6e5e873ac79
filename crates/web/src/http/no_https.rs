//! HTTPS in a build without the feature `tls`: there is none.

use std::{io, net::IpAddr, path::PathBuf};

use tokio::net::TcpStream;

/// Where a server's TLS would be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsFiles {
    /// Its certificate.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The authorities whose clients may ask.
    pub client_ca: Option<PathBuf>,
}

/// A fault that one of the files would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpsFault {
    /// With the certificate.
    Certificate(String),
    /// With its key.
    Key(String),
    /// With the authorities of clients.
    ClientCa(String),
}

/// TLS for a server: no value has this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Https {}

impl Https {
    /// # Errors
    ///
    /// None that has not been told: the settings are refused in such a build.
    pub fn read(_: HttpsFiles) -> Result<Self, Vec<HttpsFault>> {
        Err(Vec::new())
    }

    /// Of no certificate.
    pub fn out_of_date(&self) -> Option<String> {
        match *self {}
    }

    pub(super) async fn wrap(&self, _: IpAddr, _: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }

    /// Of no client.
    pub fn knows_its_clients(&self) -> bool {
        match *self {}
    }
}
