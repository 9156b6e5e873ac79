//! The settings of access: their faults are told before anything starts.

use std::{fs, num::NonZeroU32, os::unix::fs::PermissionsExt as _, time::Duration};

use highwater::config::{self, Config, Exit};
use highwater_web::auth::{KeySource, Rates, Scope};

use super::Keyring;

fn parse(variables: &[(&str, &str)]) -> Result<Config, Exit> {
    let variables = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables);
    let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config::parse(["highwater".into()], &variables, "").map(|invocation| invocation.config)
}

/// The faults of these settings, a line each.
fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    let message = parse(variables).unwrap_err().message;
    message.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

#[test]
fn nobody_is_authenticated_and_nothing_limited_where_nothing_is_set() {
    let auth = parse(&[]).unwrap().http.auth;
    assert!(!auth.is_on());
    assert_eq!(auth, Default::default());
}

#[test]
fn each_setting_is_read() {
    let keys = Keyring::new();
    keys.add("shop", &[Scope::Read]);
    let config = parse(&[
        ("AUTH", "jwt, api-key"),
        ("API_KEYS_FILE", keys.0.to_str().unwrap()),
        ("JWT_ISSUER", "http://login.example/realms/shop"),
        ("JWT_AUDIENCE", "highwater, other"),
        ("JWT_LEEWAY", "5s"),
        ("LIMIT_CLIENT", "requests=100"),
        ("LIMIT_USER", "events=5, requests=7"),
        ("LIMIT_TOTAL", "events=1000"),
        ("METRICS_PORT", "9100"),
    ])
    .unwrap();
    let auth = config.http.auth;
    let jwt = auth.jwt.unwrap();
    assert_eq!(
        (jwt.issuer.as_str(), jwt.leeway),
        ("http://login.example/realms/shop", Duration::from_secs(5))
    );
    assert_eq!((jwt.audience.join(" ").as_str(), jwt.keys), ("highwater other", KeySource::Discovery));
    assert!(auth.keys.is_some());
    let number = |number: u32| NonZeroU32::new(number);
    assert_eq!(auth.limits.client, Rates { requests: number(100), events: None });
    assert_eq!(auth.limits.user, Rates { requests: number(7), events: number(5) });
    assert_eq!(auth.limits.total, Rates { requests: None, events: number(1000) });
    assert_eq!(config.http.metrics_port, Some(9100));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let keys = Keyring::new();
    keys.add("shop", &[Scope::Read]);
    fs::set_permissions(&keys.0, fs::Permissions::from_mode(0o644)).unwrap();
    let jwks = Keyring::new();
    fs::write(&jwks.0, "no JSON").unwrap();
    // A certificate and the key of another.
    let (certificate, key) = (Keyring::new(), Keyring::new());
    let [one, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    fs::write(&certificate.0, one.cert.pem()).unwrap();
    fs::write(&key.0, other.signing_key.serialize_pem()).unwrap();
    let told = faults(&[
        ("HTTPS_CERTIFICATE", certificate.0.to_str().unwrap()),
        ("HTTPS_KEY", key.0.to_str().unwrap()),
        ("AUTH", "api-key,jwt"),
        ("API_KEYS_FILE", keys.0.to_str().unwrap()),
        ("JWT_JWKS", jwks.0.to_str().unwrap()),
        ("JWT_AUDIENCE", "highwater"),
        ("LIMIT_USER", "10"),
        ("CORS_ORIGINS", "*"),
        ("CORS_CREDENTIALS", "yes"),
    ]);
    for (variable, rule) in [
        ("API_KEYS_FILE=", "must be for its owner alone (chmod 600): its mode is 644"),
        ("JWT_ISSUER=", "must be set for api-key,jwt"),
        ("JWT_JWKS=", "is no JWK Set"),
        #[cfg(feature = "tls")]
        ("HTTPS_KEY=", "is another certificate's"),
        #[cfg(not(feature = "tls"))]
        ("HTTPS_CERTIFICATE=", "this build has no TLS"),
        ("LIMIT_USER=10", "must be requests=100, events=1000"),
        ("CORS_ORIGINS=*", "credentials are for sites that are named"),
    ] {
        assert!(
            told.iter().any(|line| line.starts_with(variable) && line.contains(rule)),
            "{variable}: {told:#?}"
        );
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn what_has_no_meaning_without_the_other_is_told() {
    for (variables, rule) in [
        (&[("API_KEYS_FILE", "/keys")][..], "API_KEYS_FILE=/keys: has no meaning with AUTH=none"),
        (&[("JWT_ISSUER", "https://x")], "JWT_ISSUER=https://x: has no meaning with AUTH=none"),
        (&[("LIMIT_CLIENT", "events=1")], "LIMIT_CLIENT=events=1: has no meaning with AUTH=none"),
        (&[("AUTH", "api-key")], "API_KEYS_FILE=: must be set for api-key"),
        (&[("AUTH", "api-key,api-key")], "AUTH=api-key,api-key: must be none, or api-key, jwt or both"),
        (&[("AUTH", "api-key"), ("API_KEYS_FILE", "/nowhere")], "API_KEYS_FILE=/nowhere: cannot be read"),
    ] {
        let told = faults(variables);
        assert!(told.iter().any(|line| line.starts_with(rule)), "{rule}: {told:#?}");
    }
}

#[test]
fn the_keys_command_needs_its_file_alone() {
    let variables = [("API_KEYS_FILE", "/keys"), ("PORT", "wrong"), ("AUTH", "wrong")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let args = ["highwater", "keys", "list"].map(Into::into);
    let config = config::parse(args, &variables, "").unwrap().config;
    assert_eq!(config.api_keys_file, Some("/keys".into()));
}
