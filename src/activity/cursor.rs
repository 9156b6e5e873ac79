//! The cursors of listings: a boundary between events, as one offset for each partition. It means the same in every process
//! and after every restart, and serves both directions.

use std::collections::BTreeMap;

use highwater_web::cursor;
pub(super) use highwater_web::cursor::UNKNOWN;

use crate::store::Positions;

/// A cursor: each partition and its position.
pub(super) fn encode(positions: &Positions) -> String {
    let pair = |(partition, position): (&i32, &i64)| {
        [u64::from(partition.cast_unsigned()), position.cast_unsigned()]
    };
    cursor::encode(positions.0.iter().flat_map(pair))
}

/// The boundary of a cursor.
pub(super) fn decode(text: &str) -> Result<Positions, &'static str> {
    let numbers = cursor::decode(text)?;
    let (pairs, []) = numbers.as_chunks() else { return Err(UNKNOWN) };
    let mut positions = BTreeMap::new();
    for [partition, position] in pairs {
        let partition = i32::try_from(*partition).map_err(|_| UNKNOWN)?;
        let position = i64::try_from(*position).map_err(|_| UNKNOWN)?;
        if positions.insert(partition, position).is_some() {
            return Err(UNKNOWN);
        }
    }
    Ok(Positions(positions))
}
