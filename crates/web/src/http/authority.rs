//! A host and a port, as in targets, `Host` and `Origin`: RFC 3986, section 3.2, without a user.

use std::net::{IpAddr, Ipv6Addr};

use hyper::{Request, header::HOST};

/// A host, and a port where one is given.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// A name without the root's dot at its end, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// `None` for the port of the scheme.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses the text; `None` for a bad host or port.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (&text[..address.len() + 2], port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                host.bytes().all(is_of_a_name).then_some((host, port))?
            }
        };
        let port = match port.strip_prefix(':') {
            None if !port.is_empty() => return None,
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { host: host.strip_suffix('.').unwrap_or(host), port })
    }

    /// The authority that a request names: that of an absolute target, else that of `Host` (RFC 9112, section
    /// 3.2.2).
    pub fn from_request<B>(request: &'a Request<B>) -> Option<Self> {
        match request.uri().authority() {
            Some(authority) => Self::parse(authority.as_str()),
            None => Self::parse(request.headers().get(HOST)?.to_str().ok()?),
        }
    }

    /// The address of a host that is no name.
    pub fn address(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(self.host);
        bare.parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    /// Whether the host always is this machine itself: RFC 6761, section 6.3.
    pub fn is_loopback(&self) -> bool {
        let top = self.host.rsplit('.').next().unwrap_or_default();
        top.eq_ignore_ascii_case("localhost") || self.address().is_some_and(|address| address.is_loopback())
    }
}

/// The characters of `reg-name`: unreserved, percent-encoded and sub-delims.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}
