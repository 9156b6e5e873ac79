//! Origins, hosts and URLs.

use highwater_net::client::Url;
use highwater_web::http::{Authority, Cors};

use super::Values;

/// Allowed origins, as browsers send them (RFC 6454, section 6.2).
pub(in crate::config) struct Origins;

impl Values for Origins {
    type Value = Cors;

    fn parse(&self, text: &str) -> Option<Cors> {
        if text == "*" { Some(Cors::Any) } else { TrustedOrigins.parse(text).map(Cors::Origins) }
    }

    fn allowed(&self) -> String {
        "*, or origins such as https://example.org with commas between them".into()
    }
}

/// A list of origins, without `*`.
pub(in crate::config) struct TrustedOrigins;

impl Values for TrustedOrigins {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        let origins = text.split(',').map(str::trim);
        origins.map(|origin| is_origin(origin).then(|| origin.to_owned())).collect()
    }

    fn allowed(&self) -> String {
        "origins such as https://example.org with commas between them".into()
    }
}

/// Host names of requests, without regard to the port.
pub(in crate::config) struct HostNames;

impl Values for HostNames {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        let hosts = text.split(',').map(|host| Authority::parse(host.trim()).map(|it| it.host.to_owned()));
        hosts.map(|host| host.filter(|host| !host.is_empty() && !host.contains('*'))).collect()
    }

    fn allowed(&self) -> String {
        "names of hosts, or addresses, with commas between them".into()
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(fine)
}

/// The URL of a service of AWS.
pub(in crate::config) struct Endpoint;

impl Values for Endpoint {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        is_origin(text.strip_suffix('/').unwrap_or(text)).then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        "a URL such as http://localhost:8000".into()
    }
}

/// Where something is asked over HTTP.
pub(in crate::config) struct HttpUrl;

impl Values for HttpUrl {
    type Value = Url;

    fn parse(&self, text: &str) -> Option<Url> {
        Url::parse(text)
    }

    fn allowed(&self) -> String {
        "a URL such as https://login.example.org/oauth2/token".into()
    }
}
