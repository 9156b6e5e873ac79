//! The access of clients and their limits: settings that mean something only together.

use highwater_net::client::{Trust, Url};
use highwater_web::auth::{AuthConfig, JwtConfig, KeyFile, KeySource, LimitConfig, check_jwks};

use super::{
    Service,
    reader::SettingsReader,
    table::{
        API_KEYS_FILE, AUTH, JWT_AUDIENCE, JWT_CA, JWT_ISSUER, JWT_JWKS, JWT_LEEWAY, LIMIT_CLIENT,
        LIMIT_TOTAL, LIMIT_USER,
    },
};

/// Reads the settings of access, and the files that they name.
pub(super) fn read(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
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
        (methods.jwt, JWT_ISSUER.variable, reader.shown(&JWT_ISSUER)),
        (methods.jwt, JWT_JWKS.variable, reader.shown(&JWT_JWKS)),
        (methods.jwt, JWT_AUDIENCE.variable, reader.text(&JWT_AUDIENCE)),
        (methods.jwt, JWT_CA.variable, reader.text(&JWT_CA)),
        (methods.api_key || methods.jwt, LIMIT_CLIENT.variable, reader.text(&LIMIT_CLIENT)),
    ];
    // Without a method it is unknown which settings belong to it.
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

fn jwt(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>, methods: &str) -> Option<JwtConfig> {
    let issuer = reader.value(&JWT_ISSUER);
    let audience = reader.value(&JWT_AUDIENCE);
    let keys = reader.value(&JWT_JWKS);
    let leeway = reader.value(&JWT_LEEWAY);
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
    let (is_tls, setting) = match &keys {
        KeySource::Discovery => {
            (issuer.as_ref().is_some_and(Url::is_https), (JWT_ISSUER.variable, reader.shown(&JWT_ISSUER)))
        }
        KeySource::Url(url) => (url.is_https(), (JWT_JWKS.variable, reader.shown(&JWT_JWKS))),
        KeySource::File(_) => (false, (JWT_JWKS.variable, String::new())),
    };
    reader.require(
        cfg!(feature = "tls") || !is_tls,
        &[setting],
        "this build has no TLS: build it with --features tls",
    );
    let authorities = (JWT_CA.variable, reader.text(&JWT_CA));
    reader.require(
        is_tls || authorities.1.is_empty(),
        &[authorities],
        "there is no TLS that it could be for",
    );
    let trust = is_tls.then(|| trust(reader)).flatten();
    issuer?;
    Some(JwtConfig { issuer: reader.text(&JWT_ISSUER), audience: audience?, leeway, keys, trust })
}

/// The trust in the issuer's host.
fn trust(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> Option<Trust> {
    let ca = reader.value(&JWT_CA);
    #[cfg(feature = "tls")]
    {
        use highwater_kafka::security::{Tls, TlsFileError, TlsFiles};

        let faults = match Tls::read(&TlsFiles::default().with_ca(ca)) {
            Ok(tls) => return Some(tls.trust()),
            Err(faults) => faults,
        };
        for TlsFileError::Ca(rule) | TlsFileError::Certificate(rule) | TlsFileError::Key(rule) in faults {
            reader.require(false, &[(JWT_CA.variable, reader.text(&JWT_CA))], &rule);
        }
    }
    #[cfg(not(feature = "tls"))]
    drop(ca);
    None
}
