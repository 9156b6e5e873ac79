//! Addresses on the web.

use highwater_web::http::Cors;

use super::Values;

/// Sites whose pages may ask: origins as browsers send them (RFC 6454, section 6.2).
pub(in crate::config) struct Origins;

impl Values for Origins {
    type Value = Cors;

    fn parse(&self, text: &str) -> Option<Cors> {
        if text == "*" {
            return Some(Cors::Any);
        }
        let origins = text.split(',').map(str::trim);
        origins
            .map(|origin| is_origin(origin).then(|| origin.to_owned()))
            .collect::<Option<_>>()
            .map(Cors::Origins)
    }

    fn allowed(&self) -> String {
        "*, or origins such as https://example.org with commas between them".into()
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(fine)
}

/// Where a service of AWS is.
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
