//! The cursors of listings: a sequence number, together with the process that assigned it. A cursor is a boundary between
//! two events, so it serves both directions.

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
        format!("{:016x}{:016x}", self.0, sequence.0)
    }

    /// The sequence number of a cursor of this epoch.
    pub(super) fn decode(self, cursor: &str) -> Result<SequenceNumber, &'static str> {
        const STALE: &str = "is not known, perhaps because the service was restarted: start again without it";
        if cursor.len() != 32 || !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(STALE);
        }
        let (epoch, sequence) = cursor.split_at(16);
        let number = |digits| u64::from_str_radix(digits, 16).map_err(|_| STALE);
        if number(epoch)? == self.0 { number(sequence).map(SequenceNumber) } else { Err(STALE) }
    }
}
