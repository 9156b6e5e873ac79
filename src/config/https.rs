//! The settings of HTTPS, which mean something only together.

use highwater_web::http::{self, Https, HttpsFault, HttpsFiles};

use super::{
    Remark,
    reader::SettingsReader,
    table::{HTTPS_CERTIFICATE, HTTPS_CLIENT_CA, HTTPS_KEY},
};

/// Reads the settings of HTTPS; `None` if the service speaks HTTP alone.
pub(super) fn read(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> Option<Https> {
    let certificate = reader.value(&HTTPS_CERTIFICATE);
    let key = reader.value(&HTTPS_KEY);
    let client_ca = reader.value(&HTTPS_CLIENT_CA);
    let given = [&HTTPS_CERTIFICATE, &HTTPS_KEY, &HTTPS_CLIENT_CA]
        .map(|setting| (setting.variable, reader.text(setting)));
    let is_wanted = given.iter().any(|(_, text)| !text.is_empty());
    let build = "this build has no TLS: build it with --features tls";
    reader.require(cfg!(feature = "tls") || !is_wanted, &given, build);
    reader.require(certificate.is_some() == key.is_some(), &given[..2], "must be set both or neither");
    let rule = "has no meaning without HTTPS_CERTIFICATE and HTTPS_KEY";
    reader.require(client_ca.is_none() || certificate.is_some(), &given[2..], rule);
    let files = HttpsFiles { certificate: certificate?, key: key?, client_ca };
    let faults = match Https::read(files) {
        Ok(https) => return Some(https),
        Err(faults) => faults,
    };
    for fault in faults {
        let (setting, rule) = match fault {
            HttpsFault::Certificate(rule) => (0, rule),
            HttpsFault::Key(rule) => (1, rule),
            HttpsFault::ClientCa(rule) => (2, rule),
        };
        reader.require(false, &given[setting..=setting], &rule);
    }
    None
}

/// The remark about a certificate that is not valid now. It does not prevent the start, since clients may trust the
/// certificate all the same.
pub(super) fn remark(config: &http::Config) -> Option<Remark> {
    let fault = config.https.as_ref()?.out_of_date()?;
    Some(Remark {
        level: log::Level::Warn,
        text: format!("the certificate of {} {fault}", HTTPS_CERTIFICATE.variable),
    })
}
