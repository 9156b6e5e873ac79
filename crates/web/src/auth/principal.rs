//! The client that a request is from, once that is proved.

use std::{sync::Arc, time::Duration};

use super::{counts::ClientCount, limits::Pair, scope::Scopes};

/// A client: a key, or whom a token is about.
#[derive(Debug)]
pub struct Principal {
    name: Arc<str>,
    id: Box<str>,
    subject: Option<Arc<str>>,
    scopes: Scopes,
    /// In seconds since 1970.
    expires: Option<u64>,
    limits: Option<Arc<Pair>>,
    count: Arc<ClientCount>,
}

impl Principal {
    /// The holder of the key of that name, which is the subject, too.
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

    /// The subject of a token that a client got.
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

    /// The name by which logs and metrics call the client.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The user that it is.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The scopes of the client.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Whether it is no client any more at that second since 1970.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// How long it is still a client at that second since 1970; without an end, `None`.
    pub(super) fn expires_in(&self, now: u64) -> Option<Duration> {
        self.expires.map(|expires| Duration::from_secs(expires.saturating_sub(now)))
    }

    /// By what it is limited.
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
