//! JSON Schemas that judge the data of events: a file of a folder for each event type.

#[cfg_attr(not(feature = "schemas"), path = "absent.rs")]
mod compiled;
#[cfg(feature = "schemas")]
mod folder;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use compiled::Compiled;
use highwater_net::files::FromFiles;
use highwater_web::{
    http::{FieldError, Problem},
    object::Object,
};
use serde_json::value::RawValue;

use super::{faults::of_event, formats::cloud_event};
use crate::store::ActivityEvent;

/// The field whose faults are told, before the pointer into it.
const FIELD: &str = "payload";

/// An event that its schema does not keep from being published.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) event: ActivityEvent,
    /// The number of faults by which it breaks its schema. They are let pass ([`SchemaMode::Report`]).
    pub(super) violations: usize,
}

/// The part of a payload that is the data of an event in the format that it came in. A schema judges the same data in every
/// format.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data {
    /// All of it, but for what a CloudEvent has beside its data.
    Payload,
    /// This member.
    Member(&'static str),
}

impl Data {
    fn of(self, payload: &str) -> Cow<'_, str> {
        match self {
            Self::Payload => cloud_event::data_of(payload),
            Self::Member(name) => {
                let member = Object::parse(payload, &[name]).ok().and_then(|object| object.values[0]);
                let data = member.map(RawValue::get).filter(|data| *data != "null");
                Cow::Borrowed(data.unwrap_or("{}"))
            }
        }
    }

    /// The field of the faults in it.
    fn field(self, SchemaFault { pointer, .. }: &SchemaFault) -> String {
        match self {
            Self::Payload => [FIELD, pointer].concat(),
            Self::Member(name) => [FIELD, "/", name, pointer].concat(),
        }
    }
}

/// The treatment of an event that breaks the schema of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaMode {
    /// It is refused.
    Enforce,
    /// It is taken, and its client is told.
    Report,
}

/// A fault of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// The place, as a JSON Pointer (RFC 6901) into the data.
    pub pointer: String,
    /// The requirement.
    pub message: String,
}

/// The schemas of payloads. They are read again when their files change. Where they cannot be used then, those that were read
/// before stay in use.
#[derive(Clone)]
pub struct Schemas(Arc<SchemaSet>);

struct SchemaSet {
    folder: PathBuf,
    mode: SchemaMode,
    compiled: FromFiles<Compiled>,
    /// The number of events that broke the schema of each type.
    violations: Mutex<BTreeMap<String, u64>>,
}

impl Schemas {
    /// Reads the schemas of a folder.
    ///
    /// # Errors
    ///
    /// Each fault of the folder with its file, as a clause; or that this build has no schemas.
    pub fn open(folder: PathBuf, mode: SchemaMode) -> Result<Self, String> {
        let compiled = compiled::open(folder.clone())?;
        Ok(Self(Arc::new(SchemaSet { folder, mode, compiled, violations: Mutex::default() })))
    }

    /// The faults of a payload of that type, which is JSON; those of one place are one, and further ones than the first 20 are
    /// left out. A type without a schema has none.
    pub fn check(&self, event_type: &str, payload: &str) -> Vec<SchemaFault> {
        self.0.compiled.current().faults(event_type, || payload.into())
    }

    /// Judges an event, and returns the number of its faults that are let pass.
    ///
    /// # Errors
    ///
    /// The faults, where they are not let pass.
    pub(super) fn judge(&self, event: &ActivityEvent, data: Data) -> Result<usize, Problem> {
        let event_type = event.event_type();
        let faults = self.0.compiled.current().faults(&event_type, || data.of(event.payload()));
        if faults.is_empty() {
            return Ok(0);
        }
        {
            let mut violations = self.0.violations.lock().unwrap_or_else(PoisonError::into_inner);
            *violations.entry(event_type.clone().into_owned()).or_default() += 1;
        }
        if self.0.mode == SchemaMode::Report {
            // The messages may have parts of the payload.
            let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            log::debug!(
                target: "highwater::schemas",
                eventId:% = event.id(), eventType = &*event_type, pointers:? = pointers;
                "breaks its schema"
            );
            return Ok(faults.len());
        }
        let errors = faults.into_iter().map(|fault| FieldError::new(data.field(&fault), fault.message));
        Err(of_event(event.id(), Problem::invalid(errors.collect())))
    }

    /// The number of events that broke the schema of each type. It has the types with a schema now, and those that had one then.
    pub(super) fn violations(&self) -> Vec<(String, u64)> {
        let mut counts = self.0.violations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for event_type in self.0.compiled.current().types() {
            counts.entry(event_type.to_owned()).or_default();
        }
        counts.into_iter().collect()
    }

    /// The reason why the folder cannot be used as it is now; `None` where it can.
    pub(super) fn fault(&self) -> Option<String> {
        self.0.compiled.fault()
    }
}

/// Those of one folder that do the same are the same.
impl PartialEq for Schemas {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.folder, self.0.mode) == (&other.0.folder, other.0.mode)
    }
}

impl Eq for Schemas {}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas").field("folder", &self.0.folder).field("mode", &self.0.mode).finish()
    }
}
