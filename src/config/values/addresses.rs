//! Network addresses and file paths.

use std::{
    net::{IpAddr, Ipv6Addr, ToSocketAddrs as _},
    path::PathBuf,
};

use highwater_web::http::Network;

use super::{Values, digits};

/// An address of this machine, or its name.
pub(in crate::config) struct Host;

impl Values for Host {
    type Value = IpAddr;

    fn parse(&self, text: &str) -> Option<IpAddr> {
        text.parse().ok().or_else(|| resolved(text))
    }

    fn allowed(&self) -> String {
        "an IP address such as 0.0.0.0, 127.0.0.1 or ::, or a name that has one".into()
    }
}

/// The address of a name. Among several, the first IPv4 address counts, which every client can reach.
fn resolved(name: &str) -> Option<IpAddr> {
    // A malformed address is not looked up as a name.
    let is_name = name.contains(|c: char| c.is_ascii_alphabetic()) && is_host_name(name);
    let found = is_name.then(|| (name, 0).to_socket_addrs().ok()).flatten()?;
    let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

fn is_host_name(text: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(in_name)
}

/// Addresses and networks.
pub(in crate::config) struct Networks;

impl Values for Networks {
    type Value = Vec<Network>;

    fn parse(&self, text: &str) -> Option<Vec<Network>> {
        text.split(',').map(|network| network.trim().parse().ok()).collect()
    }

    fn allowed(&self) -> String {
        "IP addresses or networks such as 10.0.0.0/8, with commas between them".into()
    }
}

/// Bootstrap addresses, `host:port`.
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
        None => is_host_name(host),
    };
    is_host && digits(port).is_some_and(|port| (1..=65_535).contains(&port))
}

/// The path of a folder.
pub(in crate::config) struct Folder;

impl Values for Folder {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Option<PathBuf> {
        File.parse(text)
    }

    fn allowed(&self) -> String {
        "the path of a folder that can be read".into()
    }
}

/// The path of a file.
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
