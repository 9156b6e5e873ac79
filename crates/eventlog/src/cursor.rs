//! Cursors of listings: the position of a row, which any instance understands.

use chrono::{DateTime, Utc};
use highwater_web::cursor::{self, UNKNOWN};

/// A row's position in a listing, which begins with the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListingPosition {
    /// The event's timestamp.
    pub at: DateTime<Utc>,
    /// The order of rows with one timestamp. The event's id does not decide, as SQL Server sorts ids by their last bytes
    /// first.
    pub sequence: i64,
}

impl ListingPosition {
    /// The position as a client's cursor: without a meaning to the client.
    pub fn seal(self) -> String {
        cursor::encode([self.at.timestamp_millis().cast_unsigned(), self.sequence.cast_unsigned()])
    }

    /// The position of a cursor.
    ///
    /// # Errors
    ///
    /// The text is no cursor.
    pub fn open(cursor: &str) -> Result<Self, &'static str> {
        let [at, sequence] = cursor::decode(cursor)?.try_into().map_err(|_| UNKNOWN)?;
        let at = DateTime::from_timestamp_millis(at.cast_signed()).ok_or(UNKNOWN)?;
        if !super::request::is_kept(&at) {
            return Err(UNKNOWN);
        }
        Ok(Self { at, sequence: sequence.cast_signed() })
    }
}
