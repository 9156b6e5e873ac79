//! The settings of TLS and SASL.

use highwater_kafka::security::{Sasl, Security};

use super::{
    reader::Reader,
    secret,
    table::{
        KAFKA_BROKERS, KAFKA_SASL_MECHANISM, KAFKA_SASL_PASSWORD, KAFKA_SASL_PASSWORD_FILE,
        KAFKA_SASL_USERNAME, KAFKA_SECURITY_PROTOCOL, KAFKA_SSL_CA, KAFKA_SSL_CERTIFICATE, KAFKA_SSL_KEY,
    },
    values::Protocol,
};

/// Reads the settings of TLS and SASL. KAFKA_BROKERS must have been read before.
pub(super) fn read(reader: &mut Reader<impl Fn(&str) -> Option<String>>) -> Security {
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
    let others = [
        (protocol.tls, KAFKA_SSL_CA.variable, reader.text(&KAFKA_SSL_CA)),
        (protocol.tls, KAFKA_SSL_CERTIFICATE.variable, reader.text(&KAFKA_SSL_CERTIFICATE)),
        (protocol.tls, KAFKA_SSL_KEY.variable, reader.text(&KAFKA_SSL_KEY)),
        (protocol.sasl, KAFKA_SASL_MECHANISM.variable, reader.text(&KAFKA_SASL_MECHANISM)),
        (protocol.sasl, KAFKA_SASL_USERNAME.variable, reader.text(&KAFKA_SASL_USERNAME)),
        (protocol.sasl, KAFKA_SASL_PASSWORD.variable, reader.shown(&KAFKA_SASL_PASSWORD)),
        (protocol.sasl, KAFKA_SASL_PASSWORD_FILE.variable, reader.text(&KAFKA_SASL_PASSWORD_FILE)),
    ];
    // Without a valid protocol it is unknown which settings belong to it.
    if !reader.is_at_fault(KAFKA_SECURITY_PROTOCOL.variable) {
        for (fits, variable, text) in others {
            let rule = format!("has no meaning with {}={}", named.0, named.1);
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
    reader: &mut Reader<impl Fn(&str) -> Option<String>>,
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
    reader: &mut Reader<impl Fn(&str) -> Option<String>>,
    protocol: Protocol,
    named: &(&'static str, String),
) -> Option<Sasl> {
    let mechanism = reader.value(&KAFKA_SASL_MECHANISM);
    let username = reader.value(&KAFKA_SASL_USERNAME);
    let password = secret::of(reader, &KAFKA_SASL_PASSWORD, &KAFKA_SASL_PASSWORD_FILE);
    if !protocol.sasl {
        return None;
    }
    let mut needed = |given: bool, variable: &'static str| {
        reader.require(given, &[(variable, String::new())], &format!("must be set for {}", named.1));
    };
    needed(mechanism.is_some(), KAFKA_SASL_MECHANISM.variable);
    needed(username.is_some(), KAFKA_SASL_USERNAME.variable);
    needed(password.is_some(), KAFKA_SASL_PASSWORD.variable);
    Some(Sasl::new(mechanism?, username?, password?))
}
