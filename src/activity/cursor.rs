//! The cursors of listings: a boundary between events, as one offset for each partition. It means the same in every process
//! and after every restart, and serves both directions.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::store::Positions;

/// A cursor: each partition and its position, in hexadecimal. Clients need not understand it.
pub(super) fn encode(positions: &Positions) -> String {
    let mut text = String::new();
    for (partition, position) in &positions.0 {
        let separator = if text.is_empty() { "" } else { "_" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{partition:x}-{position:x}");
    }
    text
}

/// The fault of a cursor.
pub(super) const UNKNOWN: &str = "is not one that an answer had: start again without it";

/// The boundary of a cursor.
pub(super) fn decode(cursor: &str) -> Result<Positions, &'static str> {
    let mut positions = BTreeMap::new();
    for entry in cursor.split('_') {
        let (partition, position) = entry.split_once('-').ok_or(UNKNOWN)?;
        // from_str_radix would take a sign.
        if ![partition, position].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Err(UNKNOWN);
        }
        let partition = i32::from_str_radix(partition, 16).map_err(|_| UNKNOWN)?;
        let position = i64::from_str_radix(position, 16).map_err(|_| UNKNOWN)?;
        if positions.insert(partition, position).is_some() {
            return Err(UNKNOWN);
        }
    }
    Ok(Positions(positions))
}
