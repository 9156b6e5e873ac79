//! The projection of users from their events: the same code for all readers of `user-events`.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use highwater_table::{Projection, Versioned as _};
use highwater_web::page::Position;
use uuid::Uuid;

use super::event::{UserCreated, UserEvent, user_id};

/// All users, present and deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The state of each e-mail, by its normal form. It stays when its user is deleted, since its version counts on.
    emails: HashMap<String, EmailState>,
    by_id: HashMap<Uuid, UserState>,
    /// The registered users, by the time of their registration.
    listed: BTreeSet<Position>,
    /// The registrations with an Idempotency-Key, by the key's id.
    requests: HashMap<Uuid, BTreeSet<Registration>>,
    bytes: usize,
}

/// About the bytes of each beside its texts, with the free room of tables and trees: an e-mail's state, a user's place by id
/// and in the list, and a registration that is remembered by its key.
const EMAIL_BYTES: usize = 120;
const USER_BYTES: usize = 320;
const LISTED_BYTES: usize = 96;
const REGISTRATION_BYTES: usize = 760;

/// The state of an e-mail.
#[derive(Debug, Default, PartialEq, Eq)]
struct EmailState {
    /// The number of its applied events.
    version: u64,
    /// The user with this e-mail.
    user: Option<Uuid>,
}

/// A user, by its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserState {
    /// Registered.
    Registered(User),
    /// The user was deleted at this time.
    Deleted(DateTime<Utc>),
}

/// A registered user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: Uuid,
    /// The e-mail as it was given.
    pub email: String,
    /// Its normal form.
    pub email_key: String,
    /// The name.
    pub name: String,
    /// The version of the e-mail's state; a write names the next one.
    pub version: u64,
    /// The time of the registration.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
}

/// A registration that had an Idempotency-Key: enough to answer the same request again with the same answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registration {
    /// The time of the registration.
    pub at: DateTime<Utc>,
    /// The user.
    pub user_id: Uuid,
    /// The request's content, as an id.
    pub body: Uuid,
    /// The version that it made.
    pub version: u64,
}

impl User {
    /// The memory that is freed when the user is deleted.
    fn bytes(&self) -> usize {
        LISTED_BYTES + self.email.len() + self.email_key.len() + self.name.len()
    }
}

impl Users {
    /// The state of the user with that id, if there was one.
    pub fn state_of(&self, id: Uuid) -> Option<&UserState> {
        self.by_id.get(&id)
    }

    /// The registered user of that id.
    pub fn get(&self, id: Uuid) -> Option<&User> {
        match self.by_id.get(&id)? {
            UserState::Registered(user) => Some(user),
            UserState::Deleted(_) => None,
        }
    }

    /// The user with that e-mail, by its normal form.
    pub fn with_email(&self, email_key: &str) -> Option<&User> {
        self.get(self.emails.get(email_key)?.user?)
    }

    /// The version that the next event of that e-mail makes.
    pub fn next_version(&self, email_key: &str) -> u64 {
        self.emails.get(email_key).map_or(0, |email_state| email_state.version) + 1
    }

    /// The registration that came with that Idempotency-Key.
    pub fn registered_by(&self, key: Uuid) -> Option<&Registration> {
        self.requests.get(&key)?.first()
    }

    /// Whether the user was deleted.
    pub fn is_deleted(&self, id: Uuid) -> bool {
        matches!(self.by_id.get(&id), Some(UserState::Deleted(_)))
    }

    /// The registered users after that position, by the time of their registration.
    pub fn after(&self, place: Option<Position>) -> impl Iterator<Item = (Position, &User)> {
        Position::after(&self.listed, place).filter_map(|place| Some((*place, self.get(place.id)?)))
    }

    /// The number of registered users.
    pub fn count(&self) -> usize {
        self.listed.len()
    }

    fn register(&mut self, created: UserCreated) {
        let UserCreated { user_id: id, email_key, version, at, email, name, idempotency } = created;
        if let Some(request) = idempotency {
            let registration = Registration { at, user_id: id, body: request.body, version };
            self.requests.entry(request.key).or_default().insert(registration);
            self.bytes += REGISTRATION_BYTES;
        }
        self.listed.insert(Position { at, id });
        if self.emails.insert(email_key.clone(), EmailState { version, user: Some(id) }).is_none() {
            self.bytes += EMAIL_BYTES + email_key.len();
        }
        let user = User { id, email, email_key, name, version, created_at: at, updated_at: at };
        self.bytes += USER_BYTES + user.bytes();
        self.by_id.insert(id, UserState::Registered(user));
    }
}

impl Projection for Users {
    type Event = UserEvent;

    fn version_of(&self, event: &UserEvent) -> u64 {
        self.emails.get(event.email_key()).map_or(0, |email_state| email_state.version)
    }

    fn apply(&mut self, event: UserEvent) -> bool {
        let (id, version) = (event.user_id(), event.version());
        let holder = self.emails.get(event.email_key()).and_then(|email_state| email_state.user);
        match event {
            UserEvent::UserCreated(created) => {
                if holder.is_some() || id != user_id(&created.email_key, version) {
                    return false;
                }
                self.register(created);
            }
            UserEvent::UserUpdated(updated) => {
                let found = self.by_id.get_mut(&id).filter(|_| holder == Some(id));
                let Some(UserState::Registered(user)) = found else { return false };
                self.bytes = self.bytes + updated.name.len() - user.name.len();
                user.name = updated.name;
                user.updated_at = updated.at;
                user.version = version;
                self.emails.insert(updated.email_key, EmailState { version, user: holder });
            }
            UserEvent::UserDeleted(deleted) => {
                let found = self.by_id.get(&id).filter(|_| holder == Some(id));
                let Some(UserState::Registered(user)) = found else { return false };
                self.bytes -= user.bytes();
                self.listed.remove(&Position { at: user.created_at, id });
                self.by_id.insert(id, UserState::Deleted(deleted.at));
                self.emails.insert(deleted.email_key, EmailState { version, user: None });
            }
        }
        true
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
