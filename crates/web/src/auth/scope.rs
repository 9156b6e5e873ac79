//! The scopes that a client may have, and the needs of routes.

use std::{fmt, str::FromStr};

use hyper::Method;
use serde::{Deserialize, Serialize};

/// A right of a client, as a key's entry and a token's `scope` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// To change any data.
    #[serde(rename = "events:write")]
    Write,
    /// To read any data.
    #[serde(rename = "events:read")]
    Read,
    /// To change the client's own data: its subject is the user.
    #[serde(rename = "events:write:own")]
    WriteOwn,
    /// To read the client's own data.
    #[serde(rename = "events:read:own")]
    ReadOwn,
    /// To operate the service.
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
    /// Whether the scope is one of them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// The scopes in a token's text, with blanks between them (RFC 8693, section 4.2). Other services' scopes are skipped.
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

/// The right that a route requires of a client, where clients are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// None: the route is for anyone.
    Nothing,
    /// [`Scope::Read`] to read, [`Scope::Write`] to write.
    Events,
    /// As [`Need::Events`], or [`Scope::ReadOwn`] and [`Scope::WriteOwn`] for the client's own data, which the route checks.
    OwnEvents,
    /// As [`Need::OwnEvents`] to read, as [`Need::Admin`] to delete.
    ErasableEvents,
    /// [`Scope::Admin`]. Without authentication the route is for anyone.
    Operations,
    /// [`Scope::Admin`], always.
    Admin,
}

impl Need {
    /// The scopes for that method, of which a client needs one; empty where it needs none.
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
