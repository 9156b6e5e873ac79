//! Origins, hosts and URLs.

use highwater_net::client::Url;
use highwater_web::http::{AllowedOrigins, Authority, HeaderName};

use super::Values;

/// Allowed origins, as browsers send them (RFC 6454, section 6.2).
pub(in crate::config) struct Origins;

impl Values for Origins {
    type Value = AllowedOrigins;

    fn parse(&self, text: &str) -> Option<AllowedOrigins> {
        if text == "*" {
            Some(AllowedOrigins::Any)
        } else {
            TrustedOrigins.parse(text).map(AllowedOrigins::These)
        }
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
pub(in crate::config) struct AwsEndpoint;

impl Values for AwsEndpoint {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        is_origin(text.strip_suffix('/').unwrap_or(text)).then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        "a URL such as http://localhost:8000".into()
    }

    fn is_secret(&self, text: &str) -> bool {
        HttpUrl.is_secret(text)
    }
}

/// Names of headers.
pub(in crate::config) struct HeaderNames;

impl Values for HeaderNames {
    type Value = Vec<HeaderName>;

    fn parse(&self, text: &str) -> Option<Vec<HeaderName>> {
        text.split(',').map(|name| name.trim().parse().ok()).collect()
    }

    fn allowed(&self) -> String {
        "names of headers such as traceparent, with commas between them".into()
    }
}

/// A URL for requests over HTTP.
pub(in crate::config) struct HttpUrl;

impl Values for HttpUrl {
    type Value = Url;

    fn parse(&self, text: &str) -> Option<Url> {
        Url::parse(text)
    }

    fn allowed(&self) -> String {
        "a URL without a user, such as https://login.example.org/oauth2/token".into()
    }

    /// A user's password and a query may be secrets.
    fn is_secret(&self, text: &str) -> bool {
        text.contains(['@', '?'])
    }
}
