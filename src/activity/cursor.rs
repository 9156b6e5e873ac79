//! Where a listing goes on: a place in the order of processing, sealed with the run it belongs to. It stands between two
//! events, and so it serves both directions: what is before it, and what is not.

use uuid::Uuid;

use crate::store::Position;

/// Tells one run of the process from another: positions begin anew with each.
#[derive(Debug, Clone, Copy)]
pub struct Run(u64);

impl Run {
    /// A run that no other is taken for.
    pub fn begin() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1)
    }

    /// A cursor as a client sees it: 32 hexadecimal digits that mean nothing to it.
    pub(super) fn seal(self, position: Position) -> String {
        format!("{:016x}{:016x}", self.0, position.0)
    }

    /// The place, unless the cursor is of another run or was never one.
    pub(super) fn open(self, cursor: &str) -> Result<Position, &'static str> {
        const STALE: &str = "is not known, perhaps because the service was restarted: start again without it";
        if cursor.len() != 32 || !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(STALE);
        }
        let (run, position) = cursor.split_at(16);
        let number = |digits| u64::from_str_radix(digits, 16).map_err(|_| STALE);
        if number(run)? == self.0 { number(position).map(Position) } else { Err(STALE) }
    }
}
