//! A secret that may be renewed while the process runs.

use std::{path::PathBuf, sync::Arc};

use highwater_net::files::{FromFiles, first_line};

use super::Secret;

/// A given secret, or the file of one, which is read again each time that it changes.
#[derive(Debug, Clone)]
pub struct Credential(Source);

#[derive(Debug, Clone)]
enum Source {
    Given(Secret),
    File(Arc<FromFiles<Secret>>),
}

impl Credential {
    /// A secret that does not change.
    pub fn new(secret: Secret) -> Self {
        Self(Source::Given(secret))
    }

    /// The secret in a file: the whole content without the line end.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no password. The error is a clause after the file's name.
    pub fn from_file(path: PathBuf) -> Result<Self, String> {
        let read = {
            let path = path.clone();
            move || {
                let text = first_line(&path).map_err(|error| format!("cannot be read: {error}"))?;
                if text.is_empty() || text.contains('\0') {
                    return Err("holds no password".to_owned());
                }
                Ok(Secret::new(text))
            }
        };
        Ok(Self(Source::File(Arc::new(FromFiles::new(vec![path], read, |fault| fault)?))))
    }

    /// The current secret.
    pub fn current(&self) -> Secret {
        match &self.0 {
            Source::Given(secret) => secret.clone(),
            Source::File(file) => Secret::clone(&file.current()),
        }
    }
}

/// Equal if the secrets are equal now.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.current() == other.current()
    }
}

impl Eq for Credential {}
