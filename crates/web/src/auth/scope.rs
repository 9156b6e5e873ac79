//! The scopes that a client may have, and the needs of routes.

use std::{fmt, str::FromStr};

use hyper::Method;
use serde::{Deserialize, Serialize};

/// A thing that a client may be allowed to do, as a key's entry and a token's `scope` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// To change what is kept.
    #[serde(rename = "events:write")]
    Write,
    /// To see what is kept.
    #[serde(rename = "events:read")]
    Read,
    /// To change what is the client's own: its subject is the user.
    #[serde(rename = "events:write:own")]
    WriteOwn,
    /// To see what is the client's own.
    #[serde(rename = "events:read:own")]
    ReadOwn,
    /// To look after the service.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Write, Self::Read, Self::WriteOwn, Self::ReadOwn, Self::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "events:write",
            Self::Read => "events:read",
            Self::WriteOwn => "events:write:own",
            Self::ReadOwn => "events:read:own",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(())
    }
}

/// Several scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether that is one of them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// Those that a token's text names, with blanks between them (RFC 8693, section 4.2). Other services' are passed over.
    pub fn named(text: &str) -> Self {
        text.split_ascii_whitespace().filter_map(|name| name.parse().ok()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::name)).finish()
    }
}

/// The right that a route asks of its client, where clients are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Nothing: it is for anyone.
    Nothing,
    /// [`Scope::Read`] to read, [`Scope::Write`] to write.
    Events,
    /// The same, or for what is its own [`Scope::ReadOwn`] and [`Scope::WriteOwn`]: the route sees to it which that is.
    OwnEvents,
    /// To read as [`Need::OwnEvents`], to delete as [`Need::Admin`].
    ErasableEvents,
    /// [`Scope::Admin`]. Where nobody is authenticated it is for anyone.
    Operations,
    /// [`Scope::Admin`], always.
    Admin,
}

impl Need {
    /// The scopes of which one is needed for that method; none where none is.
    pub fn scopes(self, method: &Method) -> &'static [Scope] {
        match (self, method.is_safe()) {
            (Self::Nothing, _) => &[],
            (Self::Events, true) => &[Scope::Read],
            (Self::Events, false) => &[Scope::Write],
            (Self::OwnEvents | Self::ErasableEvents, true) => &[Scope::Read, Scope::ReadOwn],
            (Self::OwnEvents, false) => &[Scope::Write, Scope::WriteOwn],
            (Self::Operations | Self::Admin, _) | (Self::ErasableEvents, false) => &[Scope::Admin],
        }
    }
}
