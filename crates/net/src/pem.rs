//! Certificates and keys in PEM files, in the form of openssl and librdkafka. The fault of a file is a clause after the
//! file's name, and quotes nothing of its content.

use std::{path::Path, sync::Arc};

use chrono::{DateTime, SecondsFormat};
use tokio_rustls::rustls::{
    CertificateError, Error as TlsError, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::ParsedCertificate,
};

/// The cryptography of all TLS in this process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The authorities in a file.
///
/// # Errors
///
/// It cannot be read, holds none, or holds something else.
pub fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        authorities.add(certificate).map_err(|error| format!("holds what is no authority's: {error}"))?;
    }
    Ok(authorities)
}

/// The readable authorities of the system. One that cannot be read is not trusted, and the others are.
///
/// # Errors
///
/// There are none.
pub fn authorities_of_the_system() -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if authorities.is_empty() {
        return Err("must be set: this system has no certificates of authorities".to_owned());
    }
    Ok(authorities)
}

/// The certificates of a file, at least one, in their order.
///
/// # Errors
///
/// It cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(error)),
    }
}

/// The first private key of a file.
///
/// # Errors
///
/// It cannot be read, or holds none that is not encrypted.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => "holds no private key in PEM, or an encrypted one".to_owned(),
        error => unreadable(error),
    })
}

/// The error without the file's content, which may be a key.
fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        _ => "is damaged PEM".to_owned(),
    }
}

/// The reason why a certificate is not valid at this time, if it is not.
pub fn out_of_date(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // No authority is trusted, so this fails in any case; dates are checked before signatures.
    let (nobody, now) = (RootCertStore::empty(), UnixTime::now());
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms) {
        Err(error) => date_fault(&error),
        Ok(()) => None,
    }
}

/// The fault of a certificate's dates, if the error is about them. Unlike rustls' text, its text stays the same.
pub fn date_fault(error: &TlsError) -> Option<String> {
    match error {
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(format!("is expired since {}, by this machine's clock", timestamp(*not_after)))
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(format!("is not valid before {}, by this machine's clock", timestamp(*not_before)))
        }
        _ => None,
    }
}

/// A time in the form of certificates.
fn timestamp(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp(seconds, 0);
    time.map_or_else(|| seconds.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
