//! The rights of a request's client, for routes that ask for more than its scopes: the owner of an event, and the number of
//! events.

use std::{convert::Infallible, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use hyper::{HeaderMap, Method, Uri};
use tokio::task::futures::TaskLocalFuture;
use warp::Filter;

use super::{
    counts::RequestOutcome,
    gate::{self, AccessGate},
    limits::Told,
    principal::Principal,
    refusals,
    scope::{Scope, Scopes},
};
use crate::http::Problem;

tokio::task_local! {
    /// The rights of the client whose request is being answered.
    static GRANT: Grant;
}

/// The rights of a request's client. Where nobody is authenticated and nothing is limited, it may do anything.
#[derive(Debug, Clone, Default)]
pub struct Grant(Option<Arc<Granted>>);

#[derive(Debug)]
pub(super) struct Granted {
    pub(super) gate: Arc<AccessGate>,
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) told: Told,
    /// The caller of the request, for the audit.
    pub(super) caller: Option<IpAddr>,
    pub(super) method: Method,
    pub(super) uri: Uri,
}

/// The users whose events a client may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads<'a> {
    /// All users.
    All,
    /// This user.
    Own(&'a str),
}

impl Grant {
    pub(super) fn new(granted: Granted) -> Self {
        Self(Some(Arc::new(granted)))
    }

    /// Runs a part of the work with these rights, which the routes see.
    pub(crate) fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        GRANT.sync_scope(self.clone(), work)
    }

    /// Wraps the work so that it runs with these rights, which the routes see.
    pub(crate) fn within<F: Future>(&self, work: F) -> TaskLocalFuture<Self, F> {
        GRANT.scope(self.clone(), work)
    }

    fn principal(&self) -> Option<&Principal> {
        self.0.as_ref()?.principal.as_deref()
    }

    /// The name of the client: its key's, or the client id of its token.
    pub fn client(&self) -> Option<&Arc<str>> {
        self.principal().map(Principal::name)
    }

    /// The key of the client's limits: its API key, the subject of its token, or the client id of a token without a subject.
    pub fn limited_as(&self) -> Option<&str> {
        self.principal().map(Principal::id)
    }

    /// The remaining validity of the credential; `None` without an expiry.
    pub fn expires_in(&self) -> Option<Duration> {
        self.principal()?.expires_in(gate::now())
    }

    /// The name of the client, if it is an admin.
    pub fn admin(&self) -> Option<&Arc<str>> {
        self.principal().filter(|principal| principal.scopes().has(Scope::Admin)).map(Principal::name)
    }

    /// The users whose events the client may see.
    pub fn reads(&self) -> Reads<'_> {
        match self.own(Scope::Read) {
            None => Reads::All,
            Some(subject) => Reads::Own(subject),
        }
    }

    /// Whether the client may see that user's data.
    ///
    /// # Errors
    ///
    /// 403.
    pub fn check_read(&self, user: &str) -> Result<(), Problem> {
        self.check(self.own(Scope::Read), user, Scope::Read)
    }

    /// Whether the client may change that user's data.
    ///
    /// # Errors
    ///
    /// 403.
    pub fn check_write(&self, user: &str) -> Result<(), Problem> {
        self.check(self.own(Scope::Write), user, Scope::Write)
    }

    fn check(&self, own: Option<&str>, user: &str, needed: Scope) -> Result<(), Problem> {
        match own {
            Some(subject) if subject != user => {
                if let Some(granted) = &self.0
                    && let Some(principal) = &granted.principal
                {
                    granted.gate.forbidden(principal, granted.caller, &granted.method, &granted.uri);
                }
                Err(refusals::foreign(needed))
            }
            _ => Ok(()),
        }
    }

    /// The subject, if the client has that scope for its own data.
    fn own(&self, scope: Scope) -> Option<&str> {
        let principal = self.principal()?;
        let has_all = principal.scopes().has(scope);
        (!has_all).then(|| principal.subject().unwrap_or_default())
    }

    /// Counts a request for a user's data against the limit of each user.
    ///
    /// # Errors
    ///
    /// 429.
    pub fn charge_request(&self, user: &str) -> Result<(), Problem> {
        self.limited(|granted| granted.gate.limits().take_user_request(user, &granted.told))
    }

    /// Counts a posted event, and the request, against the limits of the client, of its user and of all.
    ///
    /// # Errors
    ///
    /// 429; it counts against none.
    pub fn charge_event(&self, user: &str) -> Result<(), Problem> {
        self.charge(Some(user), std::iter::once((user, NonZeroU32::MIN)), NonZeroU32::MIN)
    }

    /// Counts the events of a batch against the limits of the client, of their users and of all: all of them, or none.
    ///
    /// # Errors
    ///
    /// 429; they count against none.
    pub fn charge_events<'a, U>(&self, users: U, events: NonZeroU32) -> Result<(), Problem>
    where
        U: IntoIterator<Item = (&'a str, NonZeroU32), IntoIter: Clone>,
    {
        self.charge(None, users.into_iter(), events)
    }

    fn charge<'a>(
        &self,
        request: Option<&str>,
        users: impl Iterator<Item = (&'a str, NonZeroU32)> + Clone,
        events: NonZeroU32,
    ) -> Result<(), Problem> {
        self.limited(|Granted { gate, principal, told, .. }| {
            gate.limits().take_events(principal.as_deref(), request, users, events, told)
        })
    }

    fn limited(&self, take: impl FnOnce(&Granted) -> Result<(), Problem>) -> Result<(), Problem> {
        let Some(granted) = &self.0 else { return Ok(()) };
        take(granted).inspect_err(|_| {
            if let Some(principal) = &granted.principal {
                principal.count().add(RequestOutcome::Limited);
            }
        })
    }

    /// Writes the client's limits into the head of the answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        if let Some(granted) = &self.0 {
            granted.told.tell(headers);
        }
    }

    /// The scopes of the client; none where there is no client.
    pub fn scopes(&self) -> Option<Scopes> {
        self.principal().map(Principal::scopes)
    }
}

/// Extracts the rights of a request's client.
pub fn grant() -> impl Filter<Extract = (Grant,), Error = Infallible> + Copy {
    warp::any().map(|| GRANT.try_with(Grant::clone).unwrap_or_default())
}
