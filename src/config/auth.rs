//! Who is let in, and how often: settings that mean something only together.

use std::time::Duration;

use highwater_web::{
    auth::{AuthConfig, JwtConfig, KeyFile, KeySource, LimitConfig, check_jwks},
    http::Fetcher,
};

use super::{
    Service,
    reader::Reader,
    table::{
        API_KEYS_FILE, AUTH, JWT_AUDIENCE, JWT_CA, JWT_ISSUER, JWT_JWKS, JWT_LEEWAY, LIMIT_CLIENT,
        LIMIT_TOTAL, LIMIT_USER,
    },
};

/// The largest document of an issuer, in bytes.
const LARGEST: usize = 1 << 20;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads all of them, and the files that they name.
pub(super) fn read(
    reader: &mut Reader<impl Fn(&str) -> Option<String>>,
    service: &Service,
    has_admin_token: bool,
) -> AuthConfig {
    if !service.serves() {
        return AuthConfig::default();
    }
    let methods = reader.value(&AUTH);
    let named = (AUTH.variable, reader.text(&AUTH));
    let limits = LimitConfig {
        client: reader.value(&LIMIT_CLIENT).unwrap_or_default(),
        user: reader.value(&LIMIT_USER).unwrap_or_default(),
        total: reader.value(&LIMIT_TOTAL).unwrap_or_default(),
    };
    let others = [
        (methods.api_key, API_KEYS_FILE.variable, reader.text(&API_KEYS_FILE)),
        (methods.jwt, JWT_ISSUER.variable, reader.text(&JWT_ISSUER)),
        (methods.jwt, JWT_JWKS.variable, reader.text(&JWT_JWKS)),
        (methods.jwt, JWT_AUDIENCE.variable, reader.text(&JWT_AUDIENCE)),
        (methods.jwt, JWT_CA.variable, reader.text(&JWT_CA)),
        (methods.api_key || methods.jwt, LIMIT_CLIENT.variable, reader.text(&LIMIT_CLIENT)),
    ];
    // Without a method nothing is known of what belongs to it.
    if !reader.is_at_fault(AUTH.variable) {
        for (fits, variable, text) in others {
            let rule = format!("has no meaning with {}={}", named.0, named.1);
            reader.require(fits || text.is_empty(), &[(variable, text)], &rule);
        }
    }
    let path = reader.value(&API_KEYS_FILE);
    let keys = if methods.api_key {
        let file = (API_KEYS_FILE.variable, reader.text(&API_KEYS_FILE));
        reader.require(path.is_some(), std::slice::from_ref(&file), &format!("must be set for {}", named.1));
        let read = path.map(|path| KeyFile::read(&path));
        read.and_then(|read| read.map_err(|rule| reader.require(false, &[file], &rule)).ok())
    } else {
        None
    };
    let jwt = jwt(reader, &named.1).filter(|_| methods.jwt);
    AuthConfig { keys, jwt, has_admin_token, limits }
}

fn jwt(reader: &mut Reader<impl Fn(&str) -> Option<String>>, methods: &str) -> Option<JwtConfig> {
    let issuer = reader.value(&JWT_ISSUER);
    let audience = reader.value(&JWT_AUDIENCE);
    let keys = reader.value(&JWT_JWKS);
    let leeway = reader.value(&JWT_LEEWAY);
    let ca = reader.value(&JWT_CA);
    if !methods.split(',').any(|method| method.trim() == "jwt") {
        return None;
    }
    let mut needed = |given: bool, variable: &'static str| {
        reader.require(given, &[(variable, String::new())], &format!("must be set for {methods}"));
    };
    needed(issuer.is_some(), JWT_ISSUER.variable);
    needed(audience.is_some(), JWT_AUDIENCE.variable);
    let keys = keys.unwrap_or(KeySource::Discovery);
    if let KeySource::File(path) = &keys
        && let Err(rule) = check_jwks(path)
    {
        reader.require(false, &[(JWT_JWKS.variable, reader.text(&JWT_JWKS))], &rule);
    }
    let is_tls = match &keys {
        KeySource::Discovery => issuer.as_ref().is_some_and(|issuer| issuer.starts_with("https:")),
        KeySource::Url(url) => url.scheme_str() == Some("https"),
        KeySource::File(_) => false,
    };
    let setting = match &keys {
        KeySource::Discovery => (JWT_ISSUER.variable, reader.text(&JWT_ISSUER)),
        _ => (JWT_JWKS.variable, reader.text(&JWT_JWKS)),
    };
    reader.require(
        cfg!(feature = "tls") || !is_tls,
        &[setting],
        "this build has no TLS: build it with --features tls",
    );
    let fetcher = Fetcher {
        #[cfg(feature = "tls")]
        tls: is_tls.then(|| tls(reader, ca)).flatten(),
        max_bytes: LARGEST,
        timeout: PATIENCE,
    };
    #[cfg(not(feature = "tls"))]
    let _ = ca;
    Some(JwtConfig { issuer: issuer?, audience: audience?, leeway, keys, fetcher })
}

#[cfg(feature = "tls")]
fn tls(
    reader: &mut Reader<impl Fn(&str) -> Option<String>>,
    ca: Option<std::path::PathBuf>,
) -> Option<highwater_kafka::security::Tls> {
    use highwater_kafka::security::{Tls, TlsFileError, TlsFiles};

    let faults = match Tls::read(&TlsFiles::default().with_ca(ca)) {
        Ok(tls) => return Some(tls),
        Err(faults) => faults,
    };
    for TlsFileError::Ca(rule) | TlsFileError::Certificate(rule) | TlsFileError::Key(rule) in faults {
        reader.require(false, &[(JWT_CA.variable, reader.text(&JWT_CA))], &rule);
    }
    None
}
