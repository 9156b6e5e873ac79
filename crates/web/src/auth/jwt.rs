//! Tokens of an issuer: JWT (RFC 7519), signed, as RFC 8725 wants them checked.

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

/// The algorithms that are taken.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;
/// The most tokens that are known to be good; with the longest of them, 16 MiB.
const MOST_KNOWN: usize = 2_048;

/// The issuer whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The value that `iss` must have.
    pub issuer: String,
    /// Of which `aud` must have one.
    pub audience: Vec<String>,
    /// How far the issuer's clock may be from this one.
    pub leeway: Duration,
    /// Where the issuer's keys are.
    pub keys: KeySource,
    /// Whom the issuer's host must prove to be, where that is asked over TLS.
    pub trust: Option<Trust>,
}

/// Whether a file holds keys that tokens can be checked with.
///
/// # Errors
///
/// It does not; as what it must be.
pub fn check_jwks(path: &Path) -> Result<(), String> {
    read_file(path).map(drop)
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It names a key that is not known. The issuer may know it.
    UnknownKey,
    /// No key of the issuer is known: it has not answered yet.
    NoKeys,
    /// It is not for now.
    Expired,
    /// It is wrong in any other way.
    Invalid,
}

#[derive(Deserialize)]
struct Claims {
    // One text: where it is a list, it is no token of ours.
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

/// Checks tokens, and remembers those that were good.
pub(super) struct Jwt {
    validations: [Validation; ALGORITHMS.len()],
    leeway: u64,
    jwks: Jwks,
    counts: Arc<ClientCounts>,
    known: Mutex<HashMap<End, Known>>,
    /// Rises when what is known is forgotten.
    version: Arc<AtomicU64>,
}

/// The end of a token, which is its signature's: no two good tokens share it, and to hash it is faster than to hash them.
type End = [u8; 16];

/// A token that was good.
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

    /// Whether that looks like a token, and so is no key: its header is a JSON object.
    pub(super) fn is_token(token: &[u8]) -> bool {
        token.starts_with(b"ey") && token.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Whom the token is about.
    pub(super) fn check(&self, token: &[u8]) -> Result<Arc<Principal>, Fault> {
        let end = *token.last_chunk().ok_or(Fault::Invalid)?;
        if let Some(Known { principal, .. }) = self.known().get(&end).filter(|known| *known.token == *token) {
            let is_expired = principal.is_expired(get_current_timestamp());
            return if is_expired { Err(Fault::Expired) } else { Ok(Arc::clone(principal)) };
        }
        let keys = self.jwks.known().ok_or(Fault::NoKeys)?;
        let principal = Arc::new(self.verify(token, &keys)?);
        let mut known = self.known();
        // A token that was signed with a key that has gone meanwhile is not kept.
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
        // `none` and HS* are no algorithm of ours, whatever key the token names or brings along.
        let header = decode_header(token).map_err(|_| Fault::Invalid)?;
        let place = ALGORITHMS.iter().position(|known| *known == header.alg).ok_or(Fault::Invalid)?;
        if header.typ.as_deref().is_some_and(|typ| !is_of_access(typ)) {
            return Err(Fault::Invalid);
        }
        // The algorithm is the key's: the token can only name another and be refused.
        let key = keys.find(header.kid.as_deref(), header.alg).ok_or(Fault::UnknownKey)?;
        let claims = decode::<Claims>(token, &key.key, &self.validations[place])
            .map_err(|error| match error.kind() {
                ExpiredSignature | ImmatureSignature => Fault::Expired,
                _ => Fault::Invalid,
            })?
            .claims;
        let scopes = claims.scopes();
        let client = claims.client_id.or(claims.azp).unwrap_or_else(|| claims.iss.clone());
        // Whole seconds, as they were compared; a number that is none is in the far past.
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

    /// Keeps the issuer's keys what they are; never ends.
    pub(super) async fn watch(&self) {
        self.jwks.watch(|| self.forget()).await;
    }

    /// A token that a removed key has signed must not be taken from memory.
    fn forget(&self) {
        self.known().clear();
        self.version.fetch_add(1, Ordering::Release);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<End, Known>> {
        // Its entries come and go as a whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a `typ` is that of a token for access: RFC 9068, section 2.1, or the old one of all tokens.
fn is_of_access(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// Says nothing of tokens.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt(…)")
    }
}
