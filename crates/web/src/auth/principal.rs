//! The proved client of a request.

use std::{sync::Arc, time::Duration};

use super::{counts::ClientCount, limits::Pair, scope::Scopes};

/// A client: the holder of a key, or the subject of a token.
#[derive(Debug)]
pub struct Principal {
    name: Arc<str>,
    id: Box<str>,
    subject: Option<Arc<str>>,
    scopes: Scopes,
    /// The expiry in seconds since 1970.
    expires: Option<u64>,
    limits: Option<Arc<Pair>>,
    count: Arc<ClientCount>,
}

impl Principal {
    /// The holder of the key of that name. The name is the subject, too.
    pub(super) fn of_key(
        name: &str,
        scopes: Scopes,
        expires: Option<u64>,
        limits: Option<Arc<Pair>>,
        count: Arc<ClientCount>,
    ) -> Self {
        let name: Arc<str> = name.into();
        let id = format!("key {name}").into();
        Self { subject: Some(Arc::clone(&name)), name, id, scopes, expires, limits, count }
    }

    /// The subject of a client's token.
    pub(super) fn of_token(
        client: Arc<str>,
        subject: Option<Arc<str>>,
        scopes: Scopes,
        expires: u64,
        count: Arc<ClientCount>,
    ) -> Self {
        let id = match &subject {
            Some(subject) => format!("subject {subject}"),
            None => format!("client {client}"),
        };
        Self { name: client, id: id.into(), subject, scopes, expires: Some(expires), limits: None, count }
    }

    /// The name of the client in logs and metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The user that the client is.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The scopes of the client.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Whether the credential has expired at this Unix second.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The remaining validity at this Unix second; `None` without an expiry.
    pub(super) fn expires_in(&self, now: u64) -> Option<Duration> {
        self.expires.map(|expires| Duration::from_secs(expires.saturating_sub(now)))
    }

    /// The key of its limits.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The counts of its requests.
    pub(super) fn count(&self) -> &ClientCount {
        &self.count
    }

    pub(super) fn limits(&self) -> Option<&Pair> {
        self.limits.as_deref()
    }

    pub(super) fn shared_limits(&self) -> Option<&Arc<Pair>> {
        self.limits.as_ref()
    }
}
