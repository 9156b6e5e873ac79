//! The settings of TLS and SASL.

use std::sync::Arc;

use highwater_kafka::security::{OauthBearer, Sasl, SaslMechanism, Security, TokenRequest};
use highwater_net::client::{Trust, Url};

use super::{
    reader::SettingsReader,
    secret,
    table::{
        KAFKA_BROKERS, KAFKA_SASL_MECHANISM, KAFKA_SASL_OAUTH_CA, KAFKA_SASL_OAUTH_CLIENT_ID,
        KAFKA_SASL_OAUTH_CLIENT_SECRET, KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE, KAFKA_SASL_OAUTH_EXTENSIONS,
        KAFKA_SASL_OAUTH_SCOPE, KAFKA_SASL_OAUTH_TOKEN_URL, KAFKA_SASL_PASSWORD, KAFKA_SASL_PASSWORD_FILE,
        KAFKA_SASL_USERNAME, KAFKA_SECURITY_PROTOCOL, KAFKA_SSL_CA, KAFKA_SSL_CERTIFICATE, KAFKA_SSL_KEY,
        Setting,
    },
    values::{File, HttpUrl, Mechanism, Or, Protocol},
};

/// Reads the settings of TLS and SASL. KAFKA_BROKERS must have been read before.
pub(super) fn read(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> Security {
    let protocol = reader.value(&KAFKA_SECURITY_PROTOCOL);
    let named = (KAFKA_SECURITY_PROTOCOL.variable, reader.text(&KAFKA_SECURITY_PROTOCOL));
    let brokers = (KAFKA_BROKERS.variable, reader.text(&KAFKA_BROKERS));
    reader.require(
        cfg!(feature = "tls") || !protocol.tls,
        std::slice::from_ref(&named),
        "this build has no TLS: build it with --features tls",
    );
    let is_plain = !protocol.tls && !protocol.sasl;
    reader.require(
        is_plain || !brokers.1.is_empty(),
        &[named.clone(), brokers.clone()],
        "the embedded broker has neither TLS nor SASL: name a Kafka",
    );
    // rskafka takes everything before the first colon for the host.
    reader.require(
        !protocol.tls || !brokers.1.contains('['),
        &[named.clone(), brokers],
        "TLS needs names or IPv4 addresses",
    );
    let mechanism = reader.value(&KAFKA_SASL_MECHANISM);
    let (user, oauth) =
        (mechanism != Some(Mechanism::OauthBearer), mechanism == Some(Mechanism::OauthBearer));
    let others = [
        (protocol.tls, KAFKA_SSL_CA.variable, reader.text(&KAFKA_SSL_CA)),
        (protocol.tls, KAFKA_SSL_CERTIFICATE.variable, reader.text(&KAFKA_SSL_CERTIFICATE)),
        (protocol.tls, KAFKA_SSL_KEY.variable, reader.text(&KAFKA_SSL_KEY)),
        (protocol.sasl, KAFKA_SASL_MECHANISM.variable, reader.text(&KAFKA_SASL_MECHANISM)),
        (protocol.sasl, KAFKA_SASL_USERNAME.variable, reader.text(&KAFKA_SASL_USERNAME)),
        (protocol.sasl, KAFKA_SASL_PASSWORD.variable, reader.shown(&KAFKA_SASL_PASSWORD)),
        (protocol.sasl, KAFKA_SASL_PASSWORD_FILE.variable, reader.text(&KAFKA_SASL_PASSWORD_FILE)),
    ];
    let of_mechanism = [
        (user, KAFKA_SASL_USERNAME.variable, reader.text(&KAFKA_SASL_USERNAME)),
        (user, KAFKA_SASL_PASSWORD.variable, reader.shown(&KAFKA_SASL_PASSWORD)),
        (user, KAFKA_SASL_PASSWORD_FILE.variable, reader.text(&KAFKA_SASL_PASSWORD_FILE)),
        (oauth, KAFKA_SASL_OAUTH_TOKEN_URL.variable, reader.shown(&KAFKA_SASL_OAUTH_TOKEN_URL)),
        (oauth, KAFKA_SASL_OAUTH_CLIENT_ID.variable, reader.text(&KAFKA_SASL_OAUTH_CLIENT_ID)),
        (oauth, KAFKA_SASL_OAUTH_CLIENT_SECRET.variable, reader.shown(&KAFKA_SASL_OAUTH_CLIENT_SECRET)),
        (
            oauth,
            KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE.variable,
            reader.text(&KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE),
        ),
        (oauth, KAFKA_SASL_OAUTH_SCOPE.variable, reader.text(&KAFKA_SASL_OAUTH_SCOPE)),
        (oauth, KAFKA_SASL_OAUTH_EXTENSIONS.variable, reader.text(&KAFKA_SASL_OAUTH_EXTENSIONS)),
        (oauth, KAFKA_SASL_OAUTH_CA.variable, reader.text(&KAFKA_SASL_OAUTH_CA)),
    ];
    // Without a valid protocol it is unknown which settings belong to it.
    if !reader.is_at_fault(KAFKA_SECURITY_PROTOCOL.variable) {
        for (fits, variable, text) in others {
            let rule = format!("has no meaning with {}={}", named.0, named.1);
            reader.require(fits || text.is_empty(), &[(variable, text)], &rule);
        }
        let given = reader.text(&KAFKA_SASL_MECHANISM);
        for (fits, variable, text) in of_mechanism {
            let rule = match given.as_str() {
                "" => "has no meaning without KAFKA_SASL_MECHANISM=OAUTHBEARER".to_owned(),
                given => format!("has no meaning with {}={given}", KAFKA_SASL_MECHANISM.variable),
            };
            reader.require(fits || text.is_empty(), &[(variable, text)], &rule);
        }
    }
    let security = Security::default();
    #[cfg(feature = "tls")]
    let security = security.with_tls(tls(reader, protocol));
    security.with_sasl(sasl(reader, protocol, &named))
}

#[cfg(feature = "tls")]
fn tls(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    protocol: Protocol,
) -> Option<highwater_kafka::security::Tls> {
    use highwater_kafka::security::{Tls, TlsFileError, TlsFiles};

    let ca = reader.value(&KAFKA_SSL_CA);
    let certificate = reader.value(&KAFKA_SSL_CERTIFICATE);
    let key = reader.value(&KAFKA_SSL_KEY);
    if !protocol.tls {
        return None;
    }
    let pair = [
        (KAFKA_SSL_CERTIFICATE.variable, reader.text(&KAFKA_SSL_CERTIFICATE)),
        (KAFKA_SSL_KEY.variable, reader.text(&KAFKA_SSL_KEY)),
    ];
    reader.require(certificate.is_some() == key.is_some(), &pair, "must be set both or neither");
    let read = Tls::read(&TlsFiles::default().with_ca(ca).with_identity(certificate.zip(key)));
    let faults = match read {
        Ok(tls) => return Some(tls),
        Err(faults) => faults,
    };
    for fault in faults {
        let (setting, rule) = match fault {
            TlsFileError::Ca(rule) => (&KAFKA_SSL_CA, rule),
            TlsFileError::Certificate(rule) => (&KAFKA_SSL_CERTIFICATE, rule),
            TlsFileError::Key(rule) => (&KAFKA_SSL_KEY, rule),
        };
        let given = (setting.variable, reader.text(setting));
        reader.require(false, &[given], &rule);
    }
    None
}

fn sasl(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    protocol: Protocol,
    named: &(&'static str, String),
) -> Option<Sasl> {
    let mechanism = reader.value(&KAFKA_SASL_MECHANISM);
    if protocol.sasl {
        needed(reader, mechanism.is_some(), KAFKA_SASL_MECHANISM.variable, &named.1);
    }
    match mechanism {
        Some(Mechanism::OauthBearer) => oauth_bearer(reader, protocol),
        Some(Mechanism::Password(mechanism)) => user(reader, protocol, Some(mechanism), named),
        None => user(reader, protocol, None, named),
    }
}

fn user(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    protocol: Protocol,
    mechanism: Option<SaslMechanism>,
    named: &(&'static str, String),
) -> Option<Sasl> {
    let username = reader.value(&KAFKA_SASL_USERNAME);
    let password = secret::renewed(reader, &KAFKA_SASL_PASSWORD, &KAFKA_SASL_PASSWORD_FILE);
    if !protocol.sasl {
        return None;
    }
    needed(reader, username.is_some(), KAFKA_SASL_USERNAME.variable, &named.1);
    needed(reader, password.is_some(), KAFKA_SASL_PASSWORD.variable, &named.1);
    Some(Sasl::with_password(mechanism?, username?, password?))
}

fn oauth_bearer(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    protocol: Protocol,
) -> Option<Sasl> {
    let url = reader.value(&KAFKA_SASL_OAUTH_TOKEN_URL);
    let client_id = reader.value(&KAFKA_SASL_OAUTH_CLIENT_ID);
    let client_secret =
        secret::renewed(reader, &KAFKA_SASL_OAUTH_CLIENT_SECRET, &KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE);
    let (scope, extensions) =
        (reader.value(&KAFKA_SASL_OAUTH_SCOPE), reader.value(&KAFKA_SASL_OAUTH_EXTENSIONS));
    if !protocol.sasl {
        return None;
    }
    let mechanism = reader.text(&KAFKA_SASL_MECHANISM);
    needed(reader, url.is_some(), KAFKA_SASL_OAUTH_TOKEN_URL.variable, &mechanism);
    needed(reader, client_id.is_some(), KAFKA_SASL_OAUTH_CLIENT_ID.variable, &mechanism);
    needed(reader, client_secret.is_some(), KAFKA_SASL_OAUTH_CLIENT_SECRET.variable, &mechanism);
    let trust =
        url.as_ref().and_then(|url| trust(reader, url, &KAFKA_SASL_OAUTH_TOKEN_URL, &KAFKA_SASL_OAUTH_CA));
    let extensions = extensions.unwrap_or_default();
    let request =
        TokenRequest { url: url?, client_id: client_id?, client_secret: client_secret?, scope, extensions };
    Some(Sasl::OauthBearer(Arc::new(OauthBearer::new(request, trust))))
}

fn needed(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    is_given: bool,
    variable: &'static str,
    what: &str,
) {
    reader.require(is_given, &[(variable, String::new())], &format!("must be set for {what}"));
}

/// The trust in the host of a URL. The arguments are the URL's setting and the setting of its authorities.
pub(super) fn trust(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    url: &Url,
    of_url: &Setting<Or<HttpUrl>>,
    of_authorities: &Setting<Or<File>>,
) -> Option<Trust> {
    let given = (of_url.variable, reader.shown(of_url));
    let authorities = (of_authorities.variable, reader.text(of_authorities));
    if !url.is_https() {
        let rule = "there is no TLS that it could be for";
        reader.require(authorities.1.is_empty(), &[authorities, given], rule);
        return None;
    }
    #[cfg(feature = "tls")]
    {
        use highwater_kafka::security::{Tls, TlsFileError, TlsFiles};

        let read = Tls::read(&TlsFiles::default().with_ca(reader.value(of_authorities)));
        let faults = match read {
            Ok(tls) => return Some(tls.trust()),
            Err(faults) => faults,
        };
        for fault in faults {
            if let TlsFileError::Ca(rule) = fault {
                reader.require(false, std::slice::from_ref(&authorities), &rule);
            }
        }
    }
    #[cfg(not(feature = "tls"))]
    reader.require(false, &[given], "this build has no TLS: build it with --features tls");
    None
}
