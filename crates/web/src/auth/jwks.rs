//! The keys that an issuer signs tokens with: where they are read, and when again.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use highwater_net::client::{Method, StatusCode, Trust, Url, send};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::keys::{Stamp, stamp};

/// How often the issuer is asked for its keys.
const EVERY: Duration = Duration::from_secs(300);
/// How often at most, whatever keys tokens name, and when again after it did not answer.
const AT_MOST: Duration = Duration::from_secs(10);
/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long an answer of the issuer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most keys of an issuer.
const MOST: usize = 1_000;

/// Where the keys of an issuer are. All variants are here to stay: an application checks each by its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Where the issuer's metadata says (OpenID Connect Discovery 1.0, section 4).
    Discovery,
    /// There.
    Url(Url),
    /// In this file.
    File(PathBuf),
}

/// Keys, of which each is for one algorithm.
#[derive(Default)]
pub(super) struct KeySet(Vec<SigningKey>);

pub(super) struct SigningKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl KeySet {
    /// The keys of a JWK Set (RFC 7517) that tokens can be signed with. Those of other kinds, and those that are not well
    /// formed, are passed over: section 5 wants that, so that an issuer can add a kind that nobody knows yet.
    ///
    /// # Errors
    ///
    /// It is none, or has no such key; as what it is.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: Set<'_> = serde_json::from_slice(text).map_err(|error| format!("is no JWK Set: {error}"))?;
        let known = set.keys.iter().filter_map(|key| SigningKey::of(&serde_json::from_str(key.get()).ok()?));
        let keys: Vec<_> = known.take(MOST + 1).collect();
        match keys.len() {
            0 => Err("has no key for RS256, ES256 or EdDSA".to_owned()),
            1..=MOST => Ok(Self(keys)),
            _ => Err(format!("has more than {MOST} keys")),
        }
    }

    /// The key that a token names, or the only one of its algorithm where it names none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&SigningKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

impl SigningKey {
    fn of(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            // A secret above all: everyone who can read this set could sign with it.
            _ => return None,
        };
        let about = &jwk.common;
        let is_for_signatures = about.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
        let is_for_it = about.key_algorithm.is_none_or(|it| {
            matches!(
                (it, algorithm),
                (KeyAlgorithm::RS256, Algorithm::RS256)
                    | (KeyAlgorithm::ES256, Algorithm::ES256)
                    | (KeyAlgorithm::EdDSA, Algorithm::EdDSA)
            )
        });
        let key = DecodingKey::from_jwk(jwk).ok()?;
        (is_for_signatures && is_for_it).then(|| Self { id: about.key_id.clone(), algorithm, key })
    }
}

/// The members of an issuer's metadata that are needed.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The keys of an issuer as they are known now.
pub(super) struct Jwks {
    issuer: String,
    source: KeySource,
    trust: Option<Trust>,
    known: RwLock<Option<Arc<KeySet>>>,
    /// When they were asked for last; held while they are.
    asked: Mutex<Option<Instant>>,
}

impl Jwks {
    pub(super) fn new(issuer: &str, source: KeySource, trust: Option<Trust>) -> Self {
        let jwks = Self {
            issuer: issuer.to_owned(),
            source,
            trust,
            known: RwLock::default(),
            asked: Mutex::default(),
        };
        if let KeySource::File(path) = &jwks.source {
            jwks.take(read_file(path));
        }
        jwks
    }

    /// Those that are known; none before the issuer answered once.
    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for them again, unless that was done a moment ago; whether they were had. Those who ask meanwhile wait for the
    /// one answer.
    pub(super) async fn refresh(&self) -> bool {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < AT_MOST) {
            return false;
        }
        *asked = Some(Instant::now());
        let read = match &self.source {
            KeySource::File(path) => read_file(path),
            _ => self.fetch().await,
        };
        self.take(read)
    }

    /// Keeps them equal to the issuer's. Ends when nobody waits any more.
    pub(super) async fn watch(&self, mut changed: impl FnMut()) {
        match &self.source {
            KeySource::File(path) => {
                let mut seen = stamp(path);
                loop {
                    sleep(LOOK).await;
                    let now: Option<Stamp> = stamp(path);
                    if now != seen {
                        seen = now;
                        if self.take(read_file(path)) {
                            changed();
                        }
                    }
                }
            }
            _ => loop {
                if self.refresh().await {
                    changed();
                }
                sleep(if self.known().is_some() { EVERY } else { AT_MOST }).await;
            },
        }
    }

    /// Takes them over, and says so; where they cannot be had, those before are kept.
    fn take(&self, read: Result<KeySet, String>) -> bool {
        match read {
            Ok(keys) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                *known = Some(Arc::new(keys));
                true
            }
            Err(why) => {
                let is_known = self.known().is_some();
                log::warn!(issuer = self.issuer.as_str(), is_known; "the keys of the issuer cannot be had: {why}");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let address = match &self.source {
            KeySource::Url(address) => address.clone(),
            _ => self.discover().await?,
        };
        KeySet::read(&self.get(&address).await?).map_err(|rule| format!("{address} {rule}"))
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self) -> Result<Url, String> {
        let metadata = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let metadata = Url::parse(&metadata).ok_or_else(|| format!("{metadata} is no URL"))?;
        let told = self.get(&metadata).await?;
        let told: Metadata =
            serde_json::from_slice(&told).map_err(|error| format!("{metadata} is no metadata: {error}"))?;
        if told.issuer != self.issuer {
            return Err(format!("{metadata} is that of another issuer: {:?}", told.issuer));
        }
        let keys = Url::parse(&told.jwks_uri).ok_or_else(|| format!("jwks_uri of {metadata} is no URL"))?;
        if metadata.is_https() && !keys.is_https() {
            return Err(format!("jwks_uri of {metadata} is without TLS"));
        }
        Ok(keys)
    }

    async fn get(&self, address: &Url) -> Result<Bytes, String> {
        let got = send(Method::GET, address, &[], Bytes::new(), self.trust.as_ref(), PATIENCE).await;
        let answer = got.map_err(|error| format!("{address}: {error}"))?;
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            status => Err(format!("{address}: the answer is {status}")),
        }
    }
}

/// The keys in a file.
pub(super) fn read_file(path: &Path) -> Result<KeySet, String> {
    let text = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    KeySet::read(&text)
}
