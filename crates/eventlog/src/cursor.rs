//! Where a listing goes on: a row's place, which any instance understands.

use chrono::{DateTime, Utc};

/// A row's place in a listing, which begins with the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The event's timestamp.
    pub at: DateTime<Utc>,
    /// What tells rows of one timestamp apart. Not the event's id: SQL Server sorts those by their last bytes first.
    pub sequence: i64,
}

impl Place {
    /// A cursor as a client sees it: 32 hexadecimal digits that mean nothing to it.
    pub fn seal(self) -> String {
        format!("{:016x}{:016x}", self.at.timestamp_millis(), self.sequence)
    }

    /// The place of a cursor.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn open(cursor: &str) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "must be a cursor that a page ended with";
        if cursor.len() != 32 || !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(UNKNOWN);
        }
        // A negative number is written as its two's complement.
        let number = |digits| u64::from_str_radix(digits, 16).map(u64::cast_signed).map_err(|_| UNKNOWN);
        let (at, sequence) = cursor.split_at(16);
        let at = DateTime::from_timestamp_millis(number(at)?).ok_or(UNKNOWN)?;
        if !super::request::is_kept(&at) {
            return Err(UNKNOWN);
        }
        Ok(Self { at, sequence: number(sequence)? })
    }
}
