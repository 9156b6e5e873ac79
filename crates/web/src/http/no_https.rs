//! HTTPS in a build without the feature `tls`: there is none.

use std::{io, net::IpAddr};

use tokio::net::TcpStream;

use super::{HttpsFault, HttpsFiles};

/// TLS for a server: no value has this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Https {}

impl Https {
    /// # Errors
    ///
    /// None: such a build refuses the settings.
    pub fn read(_: HttpsFiles) -> Result<Self, Vec<HttpsFault>> {
        Err(Vec::new())
    }

    /// Never: there is no certificate.
    pub fn out_of_date(&self) -> Option<String> {
        match *self {}
    }

    pub(super) async fn wrap(&self, _: IpAddr, _: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }

    /// Never.
    pub fn knows_its_clients(&self) -> bool {
        match *self {}
    }
}
