//! The content of a row, and its encoding.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use super::failure::Failure;
use crate::store::{ActivityEvent, SequenceNumber, StoredEvent};

/// 2000-01-01, the zero of PostgreSQL's times, in milliseconds since 1970.
const ITS_BEGINNING: i64 = 946_684_800_000;

/// A time in milliseconds since 1970 as PostgreSQL's: in microseconds since 2000. A time outside PostgreSQL's range, and so
/// beyond all events, is one of its infinities.
pub(super) fn micros(millis: i64) -> i64 {
    /// 4713-01-01 BC
    const FIRST: i64 = -211_813_488_000_000_000;

    let micros = millis.saturating_sub(ITS_BEGINNING).saturating_mul(1000);
    if micros < FIRST { i64::MIN } else { micros }
}

/// The time at which a batch was stored, from that column.
pub(super) fn sequence(row: &Row, column: usize) -> SequenceNumber {
    let Micros(since_2000) = row.get(column);
    // No clock is before 2000: the number only orders events among partitions.
    SequenceNumber(u64::try_from(since_2000).unwrap_or(0))
}

/// The event of a row that begins with its partition, position, time of storing and JSON.
pub(super) fn stored(row: &Row) -> Result<Arc<StoredEvent>, Failure> {
    let (partition, position) = (row.get(0), row.get(1));
    let Json(json) = row.get(3);
    let event = ActivityEvent::from_json(json).ok_or(Failure::Altered { partition, position })?;
    Ok(Arc::new(StoredEvent { sequence: sequence(row, 2), partition, position, event }))
}

/// A `timestamptz`, in its own unit.
#[derive(Debug)]
pub(super) struct Micros(pub(super) i64);

impl FromSql<'_> for Micros {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for Micros {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// A `json` in its wire format, which is its text.
struct Json<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}
