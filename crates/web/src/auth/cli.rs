//! The same keys from a shell: `highwater keys add|list|revoke`.

use std::{
    fs,
    io::{self, Write},
    num::NonZeroU32,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use chrono::{SubsecRound as _, Utc};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{
    keys::{self, Key, KeyHash},
    scope::Scope,
};

/// A command about the keys of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// To make a key, write its hash to the file, and tell the key.
    Add {
        /// The name of its holder.
        name: String,
        /// The scopes of its holder.
        scopes: Vec<Scope>,
        /// How long it is valid; without, until it is revoked.
        expires: Option<Duration>,
        /// How many requests a second its holder may send, in place of what all clients may.
        requests_per_second: Option<NonZeroU32>,
        /// How many events a second.
        events_per_second: Option<NonZeroU32>,
    },
    /// To list the keys, a line of JSON each.
    List,
    /// To take a key out of the file.
    Revoke {
        /// The name of its holder.
        name: String,
    },
}

/// Does it to the keys of that file; what is asked for goes out.
///
/// The file is replaced as a whole, so that a service that reads it meanwhile reads all of the one or of the other, and is
/// its owner's alone.
///
/// # Errors
///
/// The file cannot be read or written, there is a key of that name already, or there is none.
pub fn run(task: KeyCommand, path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let file = || path.display();
    // Two of these at one time would each undo what the other did.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = fs::File::open(folder).with_context(|| format!("{} cannot be opened", folder.display()))?;
    lock.lock().with_context(|| format!("{} cannot be locked", folder.display()))?;
    let mut keys = match path.exists() || !matches!(task, KeyCommand::Add { .. }) {
        true => keys::read(path).map_err(|rule| anyhow!("{} {rule}", file()))?.0,
        false => Vec::new(),
    };
    match task {
        KeyCommand::List => {
            for key in &keys {
                serde_json::to_writer(&mut *out, key)?;
                out.write_all(b"\n")?;
            }
        }
        KeyCommand::Revoke { name } => {
            let before = keys.len();
            keys.retain(|key| key.name != name);
            ensure!(keys.len() < before, "{} has no key of the name {name}", file());
            replace(path, folder, keys)?;
        }
        KeyCommand::Add { name, scopes, expires, requests_per_second, events_per_second } => {
            ensure!(keys::is_name(&name), "--name must be {}", keys::ALLOWED_NAME);
            if keys.iter().any(|key| key.name == name) {
                bail!(
                    "{} has a key of the name {name} already: revoke it first, or take another name",
                    file()
                );
            }
            let mut random = [0; 32];
            SystemRandom::new().fill(&mut random).map_err(|_| anyhow!("the system has no random numbers"))?;
            let key = keys::key_of(&random);
            let created = Utc::now().trunc_subsecs(0);
            keys.push(Key {
                name,
                sha256: KeyHash::of(key.as_bytes()),
                scopes,
                created,
                expires: expires.map(|valid| created + valid),
                requests_per_second,
                events_per_second,
            });
            replace(path, folder, keys)?;
            writeln!(out, "{key}")?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Puts a new file in the place of that one.
fn replace(path: &Path, folder: &Path, keys: Vec<Key>) -> anyhow::Result<()> {
    let name = path.file_name().context("the path of the keys names no file")?.to_string_lossy().into_owned();
    let next = folder.join(format!(".{name}.{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(keys::written(keys)?.as_bytes())?;
        // Where another user than the service's runs this, the service is still to read it.
        if let Ok(before) = fs::metadata(path) {
            let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        }
        file.sync_all()?;
        fs::rename(&next, path)?;
        fs::File::open(folder)?.sync_all()
    };
    written()
        .inspect_err(|_| drop(fs::remove_file(&next)))
        .with_context(|| format!("{} cannot be written", path.display()))
}
