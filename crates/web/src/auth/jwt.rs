//! The tokens of an issuer: signed JWTs (RFC 7519), checked as RFC 8725 advises.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_net::client::Trust;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;

use super::{
    counts::ClientCounts,
    crypto,
    jwks::{Jwks, KeySet, KeySource, read_file},
    principal::Principal,
    scope::Scopes,
};

/// The accepted algorithms.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// The longest accepted token, in bytes.
const LONGEST: usize = 8 * 1024;
/// The most remembered good tokens; with the longest of them, 16 MiB.
const MOST_KNOWN: usize = 2_048;

/// The issuer of the accepted tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The required value of `iss`.
    pub issuer: String,
    /// The audiences; `aud` must have one of them.
    pub audience: Vec<String>,
    /// The most that the issuer's clock may differ from this one.
    pub leeway: Duration,
    /// The place of the issuer's keys.
    pub keys: KeySource,
    /// The trust in the issuer's host, where it is asked over TLS.
    pub trust: Option<Trust>,
}

/// Whether a file holds keys that can check tokens.
///
/// # Errors
///
/// The file holds none; the error says what it must be.
pub fn check_jwks(path: &Path) -> Result<(), String> {
    read_file(path).map(drop)
}

/// The reason why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The token names an unknown key. The issuer may know it.
    UnknownKey,
    /// The issuer has not told any key yet.
    NoKeys,
    /// The token has expired, or is not valid yet.
    Expired,
    /// The token is wrong in any other way.
    Invalid,
}

#[derive(Deserialize)]
struct Claims {
    // A single text: a token with a list is not accepted.
    iss: String,
    exp: f64,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    scp: Option<OneOrMore>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    azp: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Claims {
    fn scopes(&self) -> Scopes {
        let texts = self.scope.iter().chain(match &self.scp {
            Some(OneOrMore::One(text)) => std::slice::from_ref(text),
            Some(OneOrMore::More(texts)) => texts,
            None => &[],
        });
        texts.flat_map(|text| Scopes::named(text).iter().collect::<Vec<_>>()).collect()
    }
}

/// Checks tokens, and remembers the good ones.
pub(super) struct Jwt {
    validations: [Validation; ALGORITHMS.len()],
    leeway: u64,
    jwks: Jwks,
    counts: Arc<ClientCounts>,
    known: Mutex<HashMap<End, Known>>,
    /// Rises when the remembered tokens are forgotten.
    version: Arc<AtomicU64>,
}

/// The end of a token, which is a part of its signature. No two good tokens share it, and it is faster to hash than a whole
/// token.
type End = [u8; 16];

/// A good token.
struct Known {
    token: Box<[u8]>,
    principal: Arc<Principal>,
}

impl Jwt {
    pub(super) fn new(config: JwtConfig, counts: Arc<ClientCounts>, version: Arc<AtomicU64>) -> Self {
        crypto::install();
        let JwtConfig { issuer, audience, leeway, keys, trust } = config;
        let validations = ALGORITHMS.map(|algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_issuer(&[&issuer]);
            validation.set_audience(&audience);
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            validation.validate_nbf = true;
            validation.leeway = leeway.as_secs();
            validation
        });
        let jwks = Jwks::new(&issuer, keys, trust);
        Self { validations, leeway: leeway.as_secs(), jwks, counts, known: Mutex::default(), version }
    }

    /// Whether the text looks like a token and not like a key: its header is a JSON object.
    pub(super) fn is_token(token: &[u8]) -> bool {
        token.starts_with(b"ey") && token.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Checks a token and returns its subject as a client.
    pub(super) fn check(&self, token: &[u8]) -> Result<Arc<Principal>, Fault> {
        let end = *token.last_chunk().ok_or(Fault::Invalid)?;
        if let Some(Known { principal, .. }) = self.known().get(&end).filter(|known| *known.token == *token) {
            let is_expired = principal.is_expired(get_current_timestamp());
            return if is_expired { Err(Fault::Expired) } else { Ok(Arc::clone(principal)) };
        }
        let keys = self.jwks.known().ok_or(Fault::NoKeys)?;
        let principal = Arc::new(self.verify(token, &keys)?);
        let mut known = self.known();
        // A token is not remembered if the key that signed it has gone meanwhile.
        if !self.jwks.known().is_some_and(|now| Arc::ptr_eq(&now, &keys)) {
            return Ok(principal);
        }
        if known.len() >= MOST_KNOWN {
            let now = get_current_timestamp();
            known.retain(|_, known| !known.principal.is_expired(now));
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
        }
        known.insert(end, Known { token: token.into(), principal: Arc::clone(&principal) });
        Ok(principal)
    }

    fn verify(&self, token: &[u8], keys: &KeySet) -> Result<Principal, Fault> {
        use jsonwebtoken::errors::ErrorKind::{ExpiredSignature, ImmatureSignature};
        if token.len() > LONGEST {
            return Err(Fault::Invalid);
        }
        // `none` and HS* are not accepted, whatever key the token names or contains.
        let header = decode_header(token).map_err(|_| Fault::Invalid)?;
        let place = ALGORITHMS.iter().position(|known| *known == header.alg).ok_or(Fault::Invalid)?;
        if header.typ.as_deref().is_some_and(|typ| !is_of_access(typ)) {
            return Err(Fault::Invalid);
        }
        // The algorithm is the key's. A token that names another is refused.
        let key = keys.find(header.kid.as_deref(), header.alg).ok_or(Fault::UnknownKey)?;
        let claims = decode::<Claims>(token, &key.key, &self.validations[place])
            .map_err(|error| match error.kind() {
                ExpiredSignature | ImmatureSignature => Fault::Expired,
                _ => Fault::Invalid,
            })?
            .claims;
        let scopes = claims.scopes();
        let client = claims.client_id.or(claims.azp).unwrap_or_else(|| claims.iss.clone());
        // The comparison was in whole seconds. NaN becomes the far past.
        let expires = (claims.exp.round() as u64).saturating_add(self.leeway);
        let subject = claims.sub.filter(|subject| !subject.is_empty());
        let count = self.counts.of(&client);
        Ok(Principal::of_token(client.into(), subject.map(Arc::from), scopes, expires, count))
    }

    /// Asks the issuer for its keys, unless that was done a moment ago.
    pub(super) async fn refresh(&self) {
        // A token that names an unknown key must not have all others checked again.
        if self.jwks.refresh().await {
            self.forget();
        }
    }

    /// Keeps the issuer's keys up to date; never ends.
    pub(super) async fn watch(&self) {
        self.jwks.watch(|| self.forget()).await;
    }

    /// Forgets the remembered tokens, since a removed key may have signed one of them.
    fn forget(&self) {
        self.known().clear();
        self.version.fetch_add(1, Ordering::Release);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<End, Known>> {
        // Entries come and go as a whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a `typ` is that of an access token: the one of RFC 9068, section 2.1, or the older one of all tokens.
fn is_of_access(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// Shows no token.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt(…)")
    }
}
