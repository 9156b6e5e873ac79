//! API keys from a shell: `highwater keys add|list|revoke`.

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
    /// Makes a key, writes its hash to the file, and prints the key.
    Add {
        /// The name of its holder.
        name: String,
        /// The scopes of its holder.
        scopes: Vec<Scope>,
        /// The time that it is valid; without it, the key is valid until it is revoked.
        expires: Option<Duration>,
        /// The most requests a second from its holder, in place of the limit of all clients.
        requests_per_second: Option<NonZeroU32>,
        /// The most events a second.
        events_per_second: Option<NonZeroU32>,
    },
    /// Lists the keys, a line of JSON each.
    List,
    /// Takes a key out of the file.
    Revoke {
        /// The name of its holder.
        name: String,
    },
}

/// Runs the command on the key file and prints the result.
///
/// The file is replaced as a whole, so a service that reads it meanwhile reads either the old or the new one. It is readable
/// by its owner alone.
///
/// # Errors
///
/// The file cannot be read or written, there is a key of that name already, or there is none.
pub fn run(task: KeyCommand, path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let file = || path.display();
    // Two of these commands at one time would each undo the other's change.
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

/// Replaces the file at that path with a new one.
fn replace(path: &Path, folder: &Path, keys: Vec<Key>) -> anyhow::Result<()> {
    let name = path.file_name().context("the path of the keys names no file")?.to_string_lossy().into_owned();
    let next = folder.join(format!(".{name}.{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(keys::written(keys)?.as_bytes())?;
        // The service can still read the file where another user than the service's runs this command.
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
