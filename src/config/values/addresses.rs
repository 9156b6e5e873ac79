//! Where something is: addresses, and files of this machine.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use super::{Values, digits};

/// An address of this machine.
pub(in crate::config) struct Host;

impl Values for Host {
    type Value = IpAddr;

    fn parse(&self, text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "an IP address such as 0.0.0.0, 127.0.0.1 or ::".into()
    }
}

/// Bootstrap addresses.
pub(in crate::config) struct Brokers;

impl Values for Brokers {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        text.split(',').map(str::trim).map(|broker| is_broker(broker).then(|| broker.to_owned())).collect()
    }

    fn allowed(&self) -> String {
        "host:port, or several with commas between them; an IPv6 address stands in brackets".into()
    }
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(in_name)
        }
    };
    is_host && digits(port).is_some_and(|port| (1..=65_535).contains(&port))
}

/// A file to be read at the start.
pub(in crate::config) struct File;

impl Values for File {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }

    fn allowed(&self) -> String {
        "the path of a file that can be read".into()
    }
}
