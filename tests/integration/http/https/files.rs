//! Files of certificates.

use std::{fs, path::PathBuf};

use highwater_web::http::{Config, Https, HttpsFiles};

use super::super::server::config;
use crate::support::Identity;

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
