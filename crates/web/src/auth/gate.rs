//! The gate of a service checks a request's credential, then the need of its route, then its rate.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use hyper::{Method, Request, Uri};
use prometheus::proto::MetricFamily;
use tokio::time::sleep;
use warp::{Reply, reply::Response};

use super::{
    AuthConfig,
    audit::Audit,
    counts::{ClientCounts, Refusal, RequestOutcome},
    credential::Credential,
    grant::{Grant, Granted},
    jwt::{Fault, Jwt},
    keys::{self, Keys, is_key, stamp},
    last_client::LastClient,
    limits::{Limits, Told},
    principal::Principal,
    refusals,
    scope::{Need, Scope},
};
use crate::http::{Paths, Problem, nothing};

/// The interval between two looks at the file of keys.
const LOOK: Duration = Duration::from_secs(1);

/// The gate before the routes of a service.
#[derive(Debug)]
pub struct AccessGate {
    paths: &'static Paths,
    keys: Option<KeyStore>,
    jwt: Option<Arc<Jwt>>,
    /// The version of the keys. It rises whenever those of the file or of the issuer are read anew, and results of earlier
    /// versions do not count.
    version: Arc<AtomicU64>,
    /// Whether there is an admin token, which the routes that take it check themselves.
    has_admin_token: bool,
    limits: Limits,
    has_limits: bool,
    counts: Arc<ClientCounts>,
    audit: Audit,
}

#[derive(Debug)]
struct KeyStore {
    path: PathBuf,
    keys: RwLock<Arc<Keys>>,
}

/// The decision about a request.
pub(crate) enum AccessDecision {
    /// The request is handled, with these rights.
    Admitted(Grant),
    /// That is the answer, to the client of that name where it is known.
    Refused(Problem, Option<Arc<str>>),
    /// The request waits for this future and is then decided again, for good.
    Wait(BoxFuture<'static, ()>),
}

/// Whether the decision about a request can still be put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Last,
}

/// The sender of a request, as far as its credential shows it.
enum Identity {
    Nobody,
    Client(Arc<Principal>),
    /// The token may be the admin token.
    Undecided,
    Refused(Refusal, Problem),
    Wait(BoxFuture<'static, ()>),
}

impl AccessGate {
    /// The gate before the routes of these paths.
    pub fn new(config: &AuthConfig, paths: &'static Paths) -> Self {
        let counts = Arc::<ClientCounts>::default();
        let keys = config.keys.as_ref().map(|file| KeyStore {
            path: file.path().to_owned(),
            keys: RwLock::new(Arc::new(Keys::new(file.keys(), &Keys::default(), &counts))),
        });
        let version = Arc::<AtomicU64>::default();
        let jwt = |config| Arc::new(Jwt::new(config, Arc::clone(&counts), Arc::clone(&version)));
        let jwt = config.jwt.clone().map(jwt);
        let limits = Limits::new(&config.limits);
        let has_limits = !limits.is_empty();
        let has_admin_token = config.has_admin_token;
        Self {
            paths,
            keys,
            jwt,
            version,
            has_admin_token,
            limits,
            has_limits,
            counts,
            audit: Audit::default(),
        }
    }

    /// Whether clients are authenticated.
    fn is_on(&self) -> bool {
        self.keys.is_some() || self.jwt.is_some()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Decides about a request. The last client is the one of the same connection.
    pub(crate) fn admit<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        caller: Option<IpAddr>,
        attempt: Attempt,
        last: &mut LastClient,
    ) -> AccessDecision {
        // Anyone may learn which methods a path has: a browser's preflight asks for no more.
        if (!self.is_on() && !self.has_limits) || request.method() == Method::OPTIONS {
            return AccessDecision::Admitted(Grant::default());
        }
        let path = request.uri().path();
        let need = match self.paths.need(path) {
            Some(need) => need,
            None if !self.is_on() => return AccessDecision::Admitted(Grant::default()),
            // A route without a stated need is closed.
            None => return AccessDecision::Refused(nothing(path), None),
        };
        let identity = match self.is_on() {
            true => self.identify(&Credential::of(request), attempt, last),
            false => Identity::Nobody,
        };
        let scopes = need.scopes(request.method());
        let principal = match identity {
            Identity::Wait(refreshed) => return AccessDecision::Wait(refreshed),
            Identity::Client(principal) => Some(principal),
            // Everyone may ask for the health of a service. The route decides how much of it a client sees.
            _ if need == Need::Nothing => None,
            Identity::Nobody if !self.is_on() => None,
            Identity::Undecided if scopes == [Scope::Admin] => {
                return AccessDecision::Admitted(Grant::default());
            }
            Identity::Nobody => {
                if scopes == [Scope::Admin] {
                    self.audit.missing(caller, &action(request.method(), request.uri()));
                }
                return self.refuse(request, caller, Refusal::Missing, refusals::missing());
            }
            Identity::Undecided => {
                return self.refuse(request, caller, Refusal::Invalid, refusals::invalid());
            }
            Identity::Refused(refusal, problem) => return self.refuse(request, caller, refusal, problem),
        };
        if let Some(principal) = &principal {
            let may = |scope: &Scope| {
                let is_own = matches!(scope, Scope::ReadOwn | Scope::WriteOwn);
                principal.scopes().has(*scope) && (!is_own || principal.subject().is_some())
            };
            if !scopes.is_empty() && !scopes.iter().any(may) {
                self.forbidden(principal, caller, request.method(), request.uri());
                let name = Some(Arc::clone(principal.name()));
                return AccessDecision::Refused(refusals::insufficient(scopes), name);
            }
        }
        let told = Told::default();
        if need != Need::Nothing
            && let Err(problem) = self.limits.take_request(principal.as_deref(), &told)
        {
            if let Some(principal) = &principal {
                principal.count().add(RequestOutcome::Limited);
            }
            let name = principal.map(|principal| Arc::clone(principal.name()));
            return AccessDecision::Refused(told.on(problem), name);
        }
        if let Some(principal) = &principal {
            principal.count().add(RequestOutcome::Admitted);
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let gate = Arc::clone(self);
        AccessDecision::Admitted(Grant::new(Granted { gate, principal, told, caller, method, uri }))
    }

    /// The answer to a request, for routes that are not behind our own server.
    pub async fn guard<B>(
        self: &Arc<Self>,
        request: Request<B>,
        answer: impl AsyncFnOnce(Request<B>) -> Response,
    ) -> Response {
        let last = &mut LastClient::default();
        let mut decision = self.admit(&request, None, Attempt::First, last);
        if let AccessDecision::Wait(until) = decision {
            until.await;
            decision = self.admit(&request, None, Attempt::Last, last);
        }
        match decision {
            AccessDecision::Refused(problem, _) => problem.into_response(),
            AccessDecision::Admitted(grant) => {
                let mut response = grant.within(answer(request)).await;
                grant.tell(response.headers_mut());
                response
            }
            AccessDecision::Wait(_) => refusals::unchecked().into_response(),
        }
    }

    fn identify(&self, credential: &Credential<'_>, attempt: Attempt, last: &mut LastClient) -> Identity {
        let (token, is_bearer) = match credential {
            Credential::None => return Identity::Nobody,
            Credential::Bearer(token) => (*token, true),
            Credential::ApiKey(token) => (&**token, false),
            Credential::Unknown => return Identity::Refused(Refusal::Invalid, refusals::invalid()),
            Credential::Several => return Identity::Refused(Refusal::Invalid, refusals::several()),
        };
        // The version is read before the keys: a result of older keys belongs to an older version.
        let version = self.version.load(Ordering::Acquire);
        if let Some(client) = last.recall(token, is_bearer, version)
            && !client.is_expired(now())
        {
            return Identity::Client(Arc::clone(client));
        }
        let identity = self.check(token, is_bearer, attempt);
        if let Identity::Client(client) = &identity {
            last.remember(token, is_bearer, version, client);
        }
        identity
    }

    fn check(&self, token: &[u8], is_bearer: bool, attempt: Attempt) -> Identity {
        let invalid = || Identity::Refused(Refusal::Invalid, refusals::invalid());
        if let Some(store) = &self.keys
            && is_key(token)
        {
            let keys = store.keys.read().unwrap_or_else(PoisonError::into_inner);
            return match keys.find(token) {
                Some(holder) if holder.is_expired(now()) => {
                    Identity::Refused(Refusal::Expired, refusals::expired())
                }
                Some(holder) => Identity::Client(Arc::clone(holder)),
                None => invalid(),
            };
        }
        match &self.jwt {
            Some(jwt) if is_bearer && Jwt::is_token(token) => match (jwt.check(token), attempt) {
                (Ok(principal), _) => Identity::Client(principal),
                (Err(Fault::UnknownKey | Fault::NoKeys), Attempt::First) => {
                    let jwt = Arc::clone(jwt);
                    Identity::Wait(Box::pin(async move { jwt.refresh().await }))
                }
                (Err(Fault::NoKeys), Attempt::Last) => {
                    Identity::Refused(Refusal::Unchecked, refusals::unchecked())
                }
                (Err(Fault::Expired), _) => Identity::Refused(Refusal::Expired, refusals::expired()),
                (Err(Fault::Invalid | Fault::UnknownKey), _) => invalid(),
            },
            _ if is_bearer && self.has_admin_token => Identity::Undecided,
            _ => invalid(),
        }
    }

    fn refuse<B>(
        &self,
        request: &Request<B>,
        caller: Option<IpAddr>,
        refusal: Refusal,
        problem: Problem,
    ) -> AccessDecision {
        self.counts.refused(refusal);
        // A request without a credential is no guess.
        if refusal != Refusal::Missing {
            self.audit.refused(caller, &action(request.method(), request.uri()), refusal.name());
        }
        AccessDecision::Refused(problem, None)
    }

    /// A client tried an act that its scopes do not allow.
    pub(super) fn forbidden(
        &self,
        principal: &Principal,
        caller: Option<IpAddr>,
        method: &Method,
        uri: &Uri,
    ) {
        principal.count().add(RequestOutcome::Forbidden);
        self.audit.forbidden(principal.name(), caller, &action(method, uri));
    }

    /// Keeps the keys as their file and their issuer have them; never ends.
    pub async fn watch(&self) {
        let jwt = async {
            match &self.jwt {
                Some(jwt) => jwt.watch().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.watch_keys(), jwt);
    }

    async fn watch_keys(&self) {
        let Some(store) = &self.keys else { return };
        let mut seen = None;
        loop {
            let now = stamp(&store.path);
            if now.is_none() || now != seen {
                match keys::read(&store.path) {
                    Ok((read, stamp)) => {
                        let mut keys = store.keys.write().unwrap_or_else(PoisonError::into_inner);
                        let next = Keys::new(&read, &keys, &self.counts);
                        *keys = Arc::new(next);
                        self.version.fetch_add(1, Ordering::Release);
                        if seen.replace(stamp).is_some() {
                            log::info!(keys = read.len(); "the file of API keys has changed: its keys count from now on");
                        }
                    }
                    Err(rule) if seen != now => {
                        seen = now;
                        log::error!("the file of API keys {rule}: the keys from before go on counting");
                    }
                    Err(_) => {}
                }
            }
            sleep(LOOK).await;
        }
    }

    /// The counts of clients, as metrics.
    pub(crate) fn families(&self) -> Vec<MetricFamily> {
        // The tests of these metrics would find any name that is not well-formed.
        if self.is_on() { self.counts.families().unwrap_or_default() } else { Vec::new() }
    }
}

/// The method and the path of a request, for the audit. The query is left out, since it may contain anything.
fn action(method: &Method, uri: &Uri) -> String {
    format!("{method} {}", uri.path())
}

/// The current time in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
