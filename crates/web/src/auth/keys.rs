//! API keys, as clients send them and as their file holds them.
//!
//! The file holds the SHA-256 of each key and not the key. A slow hash such as argon2 protects passwords, which people
//! choose. A key here is 32 random bytes, which nobody guesses however fast the hash is, and each connection has its key
//! hashed.

use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, Read as _},
    num::NonZeroU32,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{counts::ClientCounts, limits::Pair, principal::Principal, rates::Rates, scope::Scope};

/// The prefix of every key. Scanners for leaked keys find a key by it.
const PREFIX: &str = "hw_";
/// The length of the rest: 32 bytes in base64url.
const LENGTH: usize = 43;
/// The largest file, in bytes.
const LARGEST: u64 = 16 << 20;
/// The longest name, in characters.
const LONGEST_NAME: usize = 64;

/// The file of the keys, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    keys: Vec<Key>,
}

/// A key as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Key {
    /// The name of its holder. No other key has it.
    pub(super) name: String,
    pub(super) sha256: KeyHash,
    pub(super) scopes: Vec<Scope>,
    pub(super) created: DateTime<Utc>,
    /// The time of its expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<DateTime<Utc>>,
    /// Its own limit, in place of that of all clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) requests_per_second: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) events_per_second: Option<NonZeroU32>,
}

/// The hash of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash([u8; 32]);

impl KeyHash {
    pub(super) fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The place in the map of keys. The time of a look-up shows no more of the hash than this.
    fn place(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|at| self.0[at]))
    }
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    keys: Vec<Key>,
}

/// The state of a file, which shows whether the file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: (i64, i64),
    file: (u64, u64),
    length: u64,
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read, everybody can read it, or it holds no keys; the error says what it must be.
    pub fn read(path: &Path) -> Result<Self, String> {
        let (keys, _) = read(path)?;
        Ok(Self { path: path.to_owned(), keys })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// The state of the file; `None` where there is no file.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|file| Stamp::of(&file))
}

impl Stamp {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            modified: (file.mtime(), file.mtime_nsec()),
            file: (file.dev(), file.ino()),
            length: file.len(),
        }
    }
}

/// The keys of a file, and its state when it was read.
pub(super) fn read(path: &Path) -> Result<(Vec<Key>, Stamp), String> {
    const OTHERS: u32 = 0o006;
    const GROUP_WRITES: u32 = 0o020;
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let file = fs::File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err("must be a file".to_owned());
    }
    if about.mode() & (OTHERS | GROUP_WRITES) != 0 {
        let mode = about.mode() & 0o777;
        return Err(format!("must be for its owner alone (chmod 600): its mode is {mode:o}"));
    }
    if about.len() > LARGEST {
        return Err(format!("must have at most {LARGEST} bytes"));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(unreadable)?;
    // The error quotes no line of the file.
    let contents: Contents = serde_json::from_str(&text)
        .map_err(|error| format!("holds no API keys as highwater keys add writes them: {error}"))?;
    let mut names = std::collections::HashSet::new();
    for key in &contents.keys {
        if !is_name(&key.name) {
            return Err(format!("has a key whose name is not {ALLOWED_NAME}"));
        }
        if !names.insert(&key.name) {
            return Err(format!("has two keys of the name {}", key.name));
        }
    }
    Ok((contents.keys, Stamp::of(&about)))
}

/// The text of a file with these keys.
pub(super) fn written(keys: Vec<Key>) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&Contents { keys })? + "\n")
}

/// A key made of these random bytes. It is shown once.
pub(super) fn key_of(random: &[u8; 32]) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random))
}

/// Whether the text looks like a key and not like another token.
pub(super) fn is_key(token: &[u8]) -> bool {
    token.strip_prefix(PREFIX.as_bytes()).is_some_and(|rest| {
        rest.len() == LENGTH && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    })
}

/// The form of a name, after "must be".
pub(super) const ALLOWED_NAME: &str = "1 to 64 letters, digits, dots, dashes, underscores or @";

/// Whether the text can be the name of a key.
pub(super) fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(fine)
}

/// The keys of a service, in a map by their hashes.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<u64, Vec<Holder>>);

/// The hash of a key, its own limits, and its holder.
type Holder = (KeyHash, Rates, Arc<Principal>);

impl Keys {
    /// Keys in a map. A key that was there before with the same limits keeps its buckets.
    pub(super) fn new(keys: &[Key], before: &Self, counts: &ClientCounts) -> Self {
        let mut places = HashMap::<_, Vec<_>>::new();
        for key in keys {
            let rates = Rates { requests: key.requests_per_second, events: key.events_per_second };
            let limits = (rates != Rates::default()).then(|| {
                let known = before.entry(&key.sha256).filter(|(_, other, _)| *other == rates);
                known
                    .and_then(|(.., holder)| holder.shared_limits().cloned())
                    .unwrap_or_else(|| Arc::new(Pair::new(rates)))
            });
            let expires = key.expires.map(|moment| u64::try_from(moment.timestamp()).unwrap_or(0));
            let scopes = key.scopes.iter().copied().collect();
            let holder = Principal::of_key(&key.name, scopes, expires, limits, counts.of(&key.name));
            places.entry(key.sha256.place()).or_default().push((key.sha256, rates, Arc::new(holder)));
        }
        Self(places)
    }

    /// The holder of this key, expired or not.
    pub(super) fn find(&self, token: &[u8]) -> Option<&Arc<Principal>> {
        self.entry(&KeyHash::of(token)).map(|(.., holder)| holder)
    }

    fn entry(&self, hash: &KeyHash) -> Option<&Holder> {
        self.0.get(&hash.place())?.iter().find(|(known, ..)| bool::from(known.0.ct_eq(&hash.0)))
    }
}

/// Left out: it is long, and of no use.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(D::Error::custom("sha256 must be 64 hexadecimal digits"));
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(D::Error::custom)?;
        }
        Ok(Self(hash))
    }
}
