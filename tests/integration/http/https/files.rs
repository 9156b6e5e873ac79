//! Certificates for the tests.

use std::{fs, path::PathBuf};

use highwater_web::http::{Config, Https, HttpsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use super::super::server::config;

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate of an authority's, and its key, in PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For the server `localhost`, under that common name.
    pub(super) fn server(&self, name: &str) -> Identity {
        self.certify(name, ExtendedKeyUsagePurpose::ServerAuth, |_| {})
    }

    pub(super) fn client(&self) -> Identity {
        self.certify("client", ExtendedKeyUsagePurpose::ClientAuth, |_| {})
    }

    pub(super) fn certify(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A directory of PEM files, gone after the test.
pub(super) struct Files(PathBuf);

impl Files {
    /// With that server's certificate and key.
    pub(super) fn of(server: &Identity) -> Self {
        let directory = std::env::temp_dir().join(format!("highwater-test-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        let files = Self(directory);
        files.put("server.pem", &server.certificate);
        files.put("server.key", &server.key);
        files
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// In place of what it held, at once.
    pub(super) fn put(&self, name: &str, content: &str) {
        let fresh = self.path(&format!(".{name}"));
        fs::write(&fresh, content).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }

    /// A server of these; of the clients of `client.pem`, where that is there.
    pub(super) fn config(&self) -> Config {
        let client_ca = Some(self.path("clients.pem")).filter(|path| path.exists());
        let files =
            HttpsFiles { certificate: self.path("server.pem"), key: self.path("server.key"), client_ca };
        Config { https: Some(Https::read(files).unwrap()), ..config() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
