//! Finds the client of a request that came through proxies.

use std::{net::IpAddr, str::FromStr};

use hyper::HeaderMap;

/// An address, or all addresses with the same beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// The number of leading bits that are the network's.
    prefix: u32,
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        let (own, other, length) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        (own ^ other).checked_shr(length - self.prefix).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = ();

    /// Parses an address such as `10.0.0.1`, or CIDR such as `10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| ()))?;
        if prefix <= longest { Ok(Self { address, prefix }) } else { Err(()) }
    }
}

/// The address of a request's client. Each proxy adds its own client to the end of `X-Forwarded-For`. Read from the end, the
/// first address that is no trusted proxy is the client. Anybody may have written those before it.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    if trusted.is_empty() {
        return peer.to_canonical();
    }
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let fields = headers.get_all("x-forwarded-for").iter().rev();
    let mut hops = fields.flat_map(|field| field.to_str().unwrap_or_default().rsplit(','));
    let mut client = peer.to_canonical();
    while is_trusted(client)
        && let Some(before) = hops.next().and_then(hop)
    {
        client = before;
    }
    client
}

/// The address of an entry. Some proxies add the port.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare =
        text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(address, _)| address);
    let with_port = || bare.rsplit_once(':').and_then(|(address, _)| address.parse().ok());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}
