//! Events, as clients make them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{history::user_name, random::Random};

/// How many users a client has.
const USERS: usize = 8;

/// An event of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) user: u32,
    /// Its number among its user's events.
    pub(crate) number: u32,
}

impl Event {
    /// As a route takes it that calls the payload so.
    pub(crate) fn body(&self, payload: &str) -> Value {
        json!({
            "eventId": self.id,
            "userId": user_name(self.user),
            "eventType": "LOGIN",
            payload: {"number": self.number},
        })
    }
}

/// The users of one client, who are nobody else's.
#[derive(Debug)]
pub(crate) struct Users {
    first: u32,
    numbers: [u32; USERS],
}

impl Users {
    /// Those of the client with that number.
    pub(crate) fn of(client: usize) -> Self {
        Self { first: (client * USERS) as u32, numbers: [0; USERS] }
    }

    /// The next event of one of them.
    pub(crate) fn event(&mut self, random: &mut Random) -> Event {
        let which = random.below(USERS);
        let event =
            Event { id: Uuid::new_v4(), user: self.first + which as u32, number: self.numbers[which] };
        self.numbers[which] += 1;
        event
    }
}
