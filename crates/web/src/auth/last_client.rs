//! The client of a connection's last request, which as a rule is that of the next.
//!
//! A key is hashed, and a token looked up among all that are known, once a connection and not once a request. The
//! credential itself is held as long as its connection: a hash of it, taken with each request, is what this saves.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::principal::Principal;

/// The longest credential that is held, in bytes: so much more memory a connection may take. A longer one is checked with
/// each request.
const LONGEST: usize = 2 * 1024;

/// The client that a connection's last request was from, if there was one.
#[derive(Default)]
pub(crate) struct LastClient {
    credential: Vec<u8>,
    is_bearer: bool,
    version: u64,
    principal: Option<Arc<Principal>>,
}

impl LastClient {
    /// The client of that credential, as it was found out by that version of the keys.
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

/// In a time that depends on the length alone: where a proxy stands in between, the connection's last client may be another
/// than its next. By words, as bytes one by one take longer than to hash a key.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    let (left_words, left_rest) = left.as_chunks();
    let (right_words, right_rest) = right.as_chunks();
    let differing = |bits, (left, right): (&[u8; 8], &[u8; 8])| {
        bits | (u64::from_ne_bytes(*left) ^ u64::from_ne_bytes(*right))
    };
    let words = left_words.iter().zip(right_words).fold(0, differing);
    left.len() == right.len() && bool::from(words.ct_eq(&0) & left_rest.ct_eq(right_rest))
}
