//! The keys that sign an issuer's tokens: the places and the times at which they are read.

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

/// The interval between two requests for the issuer's keys.
const EVERY: Duration = Duration::from_secs(300);
/// The shortest interval, whatever keys tokens name. It is also the wait after a request without an answer.
const AT_MOST: Duration = Duration::from_secs(10);
/// The interval between two looks at a file.
const LOOK: Duration = Duration::from_secs(1);
/// The longest wait for an answer of the issuer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most keys of an issuer.
const MOST: usize = 1_000;

/// The place of the keys of an issuer. All variants are here to stay: an application checks each by its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The URL in the issuer's metadata (OpenID Connect Discovery 1.0, section 4).
    Discovery,
    /// The JWK Set at this URL.
    Url(Url),
    /// The JWK Set in this file.
    File(PathBuf),
}

/// Keys, each for one algorithm.
#[derive(Default)]
pub(super) struct KeySet(Vec<SigningKey>);

pub(super) struct SigningKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl KeySet {
    /// The keys of a JWK Set (RFC 7517) that can sign tokens. Keys of other kinds and malformed ones are skipped, as section
    /// 5 asks: an issuer can add a kind that is not known yet.
    ///
    /// # Errors
    ///
    /// The text is no JWK Set, or has no such key; the error says what it must be.
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
            // A shared secret above all: everyone who can read this set could sign with it.
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

/// The members of an issuer's metadata that are used here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The keys of an issuer as far as they are known.
pub(super) struct Jwks {
    issuer: String,
    source: KeySource,
    trust: Option<Trust>,
    known: RwLock<Option<Arc<KeySet>>>,
    /// The time of the last request; locked during a request.
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

    /// The known keys; `None` before the issuer has answered once.
    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the keys again, unless the last request is recent; returns whether they were read. Callers that come
    /// meanwhile wait for the same answer.
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

    /// Keeps the keys equal to the issuer's. Never ends.
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

    /// Takes the keys over and returns true. Where they could not be read, logs that and keeps the old ones.
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

    /// The URL of the keys by the issuer's metadata.
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
