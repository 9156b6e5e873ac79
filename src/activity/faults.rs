//! The faults of an event's fields, all of which are in one answer.

use std::borrow::Cow;

use highwater_web::http::{FieldError, Problem};
use uuid::Uuid;

use super::fields::Checked;

/// The member of a problem that has the event's id.
pub(super) const EVENT_ID: &str = "eventId";

/// The problem as that of the event with this id.
pub(super) fn of_event(id: Uuid, problem: Problem) -> Problem {
    problem.with_member(EVENT_ID, id.to_string())
}

/// The faults found so far, one per field.
#[derive(Default)]
pub(super) struct FieldFaults(Vec<FieldError>);

impl FieldFaults {
    pub(super) fn note(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) {
        let field = field.into();
        if !self.has(&field) {
            self.0.push(FieldError::new(field, message));
        }
    }

    pub(super) fn check<T>(&mut self, field: &'static str, checked: Checked<T>) -> Option<T> {
        checked.map_err(|message| self.note(field, message)).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|fault| fault.field == field)
    }

    /// One problem that names them all, with the event's id where that is known.
    pub(super) fn into_problem(self, id: Option<Uuid>) -> Problem {
        let problem = Problem::invalid(self.0);
        match id {
            Some(id) => of_event(id, problem),
            None => problem,
        }
    }
}
