//! The fields of a posted object: each is asked for by what it must be, and all faults are told in one answer.

use std::borrow::Cow;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::http::{FieldError, Problem, json_text};

/// An object, and the faults found in it so far. Fields that nobody asks for are ignored.
#[derive(Debug)]
pub struct Fields {
    values: Map<String, Value>,
    /// Where the object is within the body: `items[0].`, or nothing.
    at: String,
    faults: Vec<FieldError>,
}

impl Fields {
    /// The object that a body is.
    ///
    /// # Errors
    ///
    /// 400 where it is none.
    pub fn of(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        match serde_json::from_str(json_text(body, max_depth)?) {
            Ok(Value::Object(values)) => Ok(Self { values, at: String::new(), faults: Vec::new() }),
            Ok(_) => Err(Problem::bad_request("the body must be a JSON object")),
            Err(error) => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
        }
    }

    /// A text that `check` takes; its error says what the field must be.
    pub fn text<T, E: Into<Cow<'static, str>>>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let checked = match self.values.get(name) {
            None | Some(Value::Null) => Err("is required".into()),
            Some(Value::String(text)) => check(text).map_err(Into::into),
            Some(_) => Err("must be a string".into()),
        };
        self.checked(name, checked)
    }

    /// A whole number within bounds.
    pub fn whole(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let checked = match self.values.get(name) {
            None | Some(Value::Null) => Err("is required".into()),
            Some(value) => value
                .as_u64()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("must be a whole number from {least} to {most}").into()),
        };
        self.checked(name, checked)
    }

    /// One to `most` objects, each read by `read`.
    pub fn objects<T>(
        &mut self,
        name: &str,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = match self.values.remove(name) {
            None | Some(Value::Null) => return self.checked(name, Err("is required".into())),
            Some(Value::Array(items)) if (1..=most).contains(&items.len()) => items,
            Some(_) => {
                return self.checked(name, Err(format!("must be an array of 1 to {most} objects").into()));
            }
        };
        let mut all = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let at = format!("{}{name}[{index}]", self.at);
            let Value::Object(values) = item else {
                self.faults.push(FieldError::new(at, "must be an object"));
                continue;
            };
            let mut fields = Self { values, at: at + ".", faults: Vec::new() };
            all.extend(read(&mut fields));
            self.faults.append(&mut fields.faults);
        }
        self.faults.is_empty().then_some(all)
    }

    /// Notes that a field must not be there.
    pub fn without(&mut self, name: &str, because: &'static str) {
        if self.values.contains_key(name) {
            self.fault(name, because);
        }
    }

    /// Ends the reading: the faults, if there were any.
    ///
    /// # Errors
    ///
    /// 400 with all of them.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Problem> {
        read.filter(|_| self.faults.is_empty()).ok_or_else(|| Problem::invalid(self.faults))
    }

    fn checked<T>(&mut self, name: &str, checked: Result<T, Cow<'static, str>>) -> Option<T> {
        checked.map_err(|message| self.fault(name, message)).ok()
    }

    fn fault(&mut self, name: &str, message: impl Into<Cow<'static, str>>) {
        self.faults.push(FieldError::new(format!("{}{name}", self.at), message));
    }
}

/// A text of 1 to so many characters, none of them a control character; without surrounding blanks.
pub fn line(most: usize) -> impl Fn(&str) -> Result<String, Cow<'static, str>> {
    move |text| {
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be blank".into());
        }
        if text.chars().count() > most || text.chars().any(char::is_control) {
            return Err(
                format!("must have at most {most} characters, none of them a control character").into()
            );
        }
        Ok(text.to_owned())
    }
}

/// A UUID.
///
/// # Errors
///
/// What it must be.
pub fn uuid(text: &str) -> Result<Uuid, &'static str> {
    Uuid::try_parse(text).map_err(|_| "must be a UUID")
}
