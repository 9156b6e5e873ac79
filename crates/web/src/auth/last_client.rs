//! The client of a connection's last request, which is usually the client of the next one.
//!
//! With it, a key is hashed and a token is looked up once for each connection, and not for each request. The credential
//! itself is held as long as its connection: to hash it for each request would cost what this saves.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::principal::Principal;

/// The longest credential that is held, in bytes. It bounds the memory of a connection. A longer credential is checked for
/// each request.
const LONGEST: usize = 2 * 1024;

/// The client of a connection's last request, if there was one.
#[derive(Default)]
pub(crate) struct LastClient {
    credential: Vec<u8>,
    is_bearer: bool,
    version: u64,
    principal: Option<Arc<Principal>>,
}

impl LastClient {
    /// The client of this credential, if it was determined with this version of the keys.
    pub(super) fn recall(&self, credential: &[u8], is_bearer: bool, version: u64) -> Option<&Arc<Principal>> {
        let is_same =
            (self.is_bearer, self.version) == (is_bearer, version) && is_equal(&self.credential, credential);
        self.principal.as_ref().filter(|_| is_same)
    }

    pub(super) fn remember(
        &mut self,
        credential: &[u8],
        is_bearer: bool,
        version: u64,
        principal: &Arc<Principal>,
    ) {
        self.credential.clear();
        self.principal = None;
        if credential.len() <= LONGEST {
            self.credential.extend_from_slice(credential);
            (self.is_bearer, self.version) = (is_bearer, version);
            self.principal = Some(Arc::clone(principal));
        }
    }
}

/// Compares in a time that depends on the length alone: behind a proxy, the connection's last client may be another than its
/// next. It compares words, since bytes one by one take longer than the hash of a key.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    let (left_words, left_rest) = left.as_chunks();
    let (right_words, right_rest) = right.as_chunks();
    let differing = |bits, (left, right): (&[u8; 8], &[u8; 8])| {
        bits | (u64::from_ne_bytes(*left) ^ u64::from_ne_bytes(*right))
    };
    let words = left_words.iter().zip(right_words).fold(0, differing);
    left.len() == right.len() && bool::from(words.ct_eq(&0) & left_rest.ct_eq(right_rest))
}
