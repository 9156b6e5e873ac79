//! Money: exact, in decimal, never a binary fraction.

use std::{borrow::Cow, fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::currency;

/// The most digits before the point, and after it. With the bounds of quantity and items, no total has more
/// than the 28 digits that a [`Decimal`] keeps exactly.
const WHOLE_DIGITS: usize = 12;
const FRACTION_DIGITS: usize = 4;

/// An amount of money, not below zero; in JSON a string such as `"19.90"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price(Decimal);

impl Price {
    /// The price of all items together; `None` where it has more digits than can be kept, which the bounds of a
    /// request exclude.
    pub fn total(items: impl IntoIterator<Item = (Self, u32)>) -> Option<Self> {
        let mut total = Decimal::ZERO;
        for (unit_price, quantity) in items {
            let cost = unit_price.0.checked_mul(Decimal::from(quantity))?;
            total = total.checked_add(cost)?;
        }
        Some(Self(total))
    }
}

impl Price {
    /// The number of decimal digits in which it is written.
    pub fn decimals(self) -> u32 {
        self.0.scale()
    }

    /// The same amount, written with at least as many digits after the point as its currency has.
    #[must_use]
    pub fn in_currency(mut self, code: &str) -> Self {
        if let Some(decimals) = currency::decimals(code)
            && decimals > self.decimals()
        {
            self.0.rescale(decimals);
        }
        self
    }

    /// A price in a request.
    pub(super) fn unit_price(_: &mut SchemaGenerator) -> Schema {
        let pattern = format!("^[0-9]{{1,{WHOLE_DIGITS}}}(\\.[0-9]{{1,{FRACTION_DIGITS}}})?$");
        json_schema!({ "type": "string", "pattern": pattern, "examples": ["19.90"] })
    }
}

/// A total has more digits than a price.
impl JsonSchema for Price {
    fn schema_name() -> Cow<'static, str> {
        "Price".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$" })
    }
}

impl FromStr for Price {
    type Err = String;

    /// Digits, and a point with more digits, if any: no sign, no exponent.
    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let fits = |digits: &str, most| {
            (1..=most).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
        };
        let parsed = if fits(whole, WHOLE_DIGITS) && fits(fraction, FRACTION_DIGITS) {
            text.parse().ok()
        } else {
            None
        };
        parsed.map(Self).ok_or_else(|| {
            format!(
                "must be a decimal string such as \"19.90\", with at most {WHOLE_DIGITS} digits before the point and \
                 {FRACTION_DIGITS} after it"
            )
        })
    }
}

impl TryFrom<String> for Price {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // A total may have more digits than a request allows.
        let decimal = Decimal::from_str_exact(&text).map_err(|error| error.to_string())?;
        if decimal.is_sign_negative() { Err("is below zero".to_owned()) } else { Ok(Self(decimal)) }
    }
}

impl From<Price> for String {
    fn from(price: Price) -> Self {
        price.to_string()
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
