//! Reads the fields of a posted object, and reports all faults in one answer.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    http::{FieldError, Problem, json_text},
    invisible::{is_blank, visible},
    json::text,
    object::{Object, REPEATED},
};

/// An object, and the faults found in it so far. Unknown fields are ignored.
#[derive(Debug)]
pub struct Fields<'a> {
    object: Vec<Known<'a>>,
    /// The place of the object within the body: `items[0].`, or empty.
    at: String,
    faults: Vec<FieldError>,
}

/// A field that a request may have.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    name: &'static str,
    /// The first value, null included.
    value: Option<&'a RawValue>,
    is_repeated: bool,
}

type Checked<T> = Result<T, Cow<'static, str>>;

impl<'a> Fields<'a> {
    /// The object of a body.
    ///
    /// # Errors
    ///
    /// 400 where the body is no object.
    pub fn parse<const FIELDS: usize>(
        body: &'a [u8],
        max_depth: usize,
        names: &'static [&'static str; FIELDS],
    ) -> Result<Self, Problem> {
        let object =
            object(json_text(body, max_depth)?, names).map_err(|error| Problem::unreadable(&error))?;
        Ok(Self { object, at: String::new(), faults: Vec::new() })
    }

    /// A required text that `check` accepts; its error says what the field must be.
    pub fn text<T, E: Into<Cow<'static, str>>>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.known(name).required().and_then(|value| Ok(text(value.get())?));
        let checked = text.and_then(|text| check(&text).map_err(Into::into));
        self.checked(name, checked)
    }

    /// An optional text that `check` accepts.
    pub fn optional<T, E: Into<Cow<'static, str>>>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Known { value, is_repeated, .. } = self.known(name);
        if is_repeated || value.is_some_and(|value| value.get() != "null") {
            self.text(name, check)
        } else {
            None
        }
    }

    /// An optional value of any type, as it was written, `null` too.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let Known { value, is_repeated, .. } = self.known(name);
        if is_repeated {
            self.fault(name, REPEATED);
        }
        value
    }

    /// A whole number within bounds, in any notation: `1.0` and `1e0` are 1, as in JSON Schema.
    pub fn whole(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let checked = self.known(name).required().and_then(|value| {
            let number = whole(value.get()).filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {least} to {most}").into())
        });
        self.checked(name, checked)
    }

    /// One to `most` objects, each read by `read`.
    pub fn objects<T, const FIELDS: usize>(
        &mut self,
        name: &str,
        most: usize,
        names: &'static [&'static str; FIELDS],
        mut read: impl FnMut(&mut Fields<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.known(name).required().and_then(|value| {
            let items = serde_json::from_str::<Vec<&'a RawValue>>(value.get()).ok();
            let items = items.filter(|items| (1..=most).contains(&items.len()));
            items.ok_or_else(|| format!("must be an array of 1 to {most} objects").into())
        });
        let items = self.checked(name, items)?;
        let mut all = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let at = format!("{}{name}[{index}]", self.at);
            let Ok(object) = object(item.get(), names) else {
                self.faults.push(FieldError::new(at, "must be an object"));
                continue;
            };
            let mut fields = Fields { object, at: at + ".", faults: Vec::new() };
            all.extend(read(&mut fields));
            self.faults.append(&mut fields.faults);
        }
        self.faults.is_empty().then_some(all)
    }

    /// Notes a fault where the field is there.
    pub fn without(&mut self, name: &str, because: &'static str) {
        if self.known(name).value.is_some() {
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

    /// The field of this name, which is one of the read ones.
    fn known(&self, name: &str) -> Known<'a> {
        let absent = Known { name: "", value: None, is_repeated: false };
        self.object.iter().find(|known| known.name == name).copied().unwrap_or(absent)
    }

    fn checked<T>(&mut self, name: &str, checked: Checked<T>) -> Option<T> {
        checked.map_err(|message| self.fault(name, message)).ok()
    }

    fn fault(&mut self, name: &str, message: impl Into<Cow<'static, str>>) {
        self.faults.push(FieldError::new(format!("{}{name}", self.at), message));
    }
}

impl<'a> Known<'a> {
    /// The value of a field; null counts as absent. A repeated field is a fault: the next reader of the request could take
    /// the other value.
    fn required(&self) -> Checked<&'a RawValue> {
        match self.value.filter(|value| value.get() != "null") {
            _ if self.is_repeated => Err(REPEATED.into()),
            Some(value) => Ok(value),
            None => Err("is required".into()),
        }
    }
}

/// Reads the fields of an object with these names.
fn object<'a, const FIELDS: usize>(
    text: &'a str,
    names: &'static [&'static str; FIELDS],
) -> serde_json::Result<Vec<Known<'a>>> {
    let Object { values, repeated } = Object::parse(text, names)?;
    let fields = names.iter().zip(values).zip(repeated);
    Ok(fields.map(|((name, value), is_repeated)| Known { name, value, is_repeated }).collect())
}

/// The value of a number in JSON that is whole and not negative. It is exact, without the rounding of a binary fraction.
fn whole(number: &str) -> Option<u64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // The length of a body bounds the digits: only the exponent can be of any size.
    let stripped = (digits.len() - significant.len()) as i64 - fraction.len() as i64;
    let zeros = exponent.parse::<i64>().ok()?.checked_add(stripped)?;
    let factor = 10_u64.checked_pow(u32::try_from(zeros).ok()?)?;
    significant.parse::<u64>().ok()?.checked_mul(factor)
}

/// The rule of [`line()`] without its length, as a regular expression of ECMA 262.
pub const VISIBLE_LINE: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    visible!(r"[^\u0000-\u001f\u007f-\u009f"),
    r"[^\u0000-\u001f\u007f-\u009f]*$"
);

/// A check for a text of 1 to so many characters without control characters; removes surrounding blanks.
pub fn line(most: usize) -> impl Fn(&str) -> Result<String, Cow<'static, str>> {
    move |text| {
        let text = text.trim();
        if is_blank(text) {
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
