//! The cursors of listings: a sequence number, together with the process that assigned it. A cursor is a boundary between
//! two events, so it serves both directions.

use highwater_web::cursor;
use uuid::Uuid;

use crate::store::SequenceNumber;

/// A random number per process. It marks cursors, since each process counts sequence numbers anew.
#[derive(Debug, Clone, Copy)]
pub struct CursorEpoch(u64);

impl CursorEpoch {
    /// A new epoch.
    #[expect(clippy::new_without_default, reason = "two epochs differ")]
    pub fn new() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1)
    }

    /// A cursor: 32 hexadecimal digits, opaque to clients.
    pub(super) fn encode(self, sequence: SequenceNumber) -> String {
        cursor::encode([self.0, sequence.0])
    }

    /// The sequence number of a cursor of this epoch.
    pub(super) fn decode(self, cursor: &str) -> Result<SequenceNumber, &'static str> {
        const STALE: &str = "is not known, perhaps because the service was restarted: start again without it";
        let [epoch, sequence] = cursor::decode(cursor).ok_or(STALE)?;
        if epoch == self.0 { Ok(SequenceNumber(sequence)) } else { Err(STALE) }
    }
}
