//! No event is in the log more often than its clients sent it: no retry inside of an instance writes it again.

use std::collections::HashMap;

use super::{Findings, Guarantee};
use crate::{
    evidence::Evidence,
    history::{Known, user_name},
};

pub(super) fn check(known: &Known, evidence: &Evidence, findings: &mut Findings) {
    let mut places: HashMap<_, Vec<_>> = HashMap::new();
    for written in &evidence.written {
        if let Some(id) = written.id {
            places.entry(id).or_default().push(written.place);
        }
    }
    for (id, places) in places {
        let Some(posted) = known.posted.get(&id) else { continue };
        findings.repeated += places.len() - 1;
        let asked = (posted.attempts - posted.unwritten) as usize;
        if places.len() > asked {
            let what = format!(
                "event {id} of {} is in the log at {places:?}, and was sent {} times, of which {} wrote nothing as their \
                 answers say",
                user_name(posted.user),
                posted.attempts,
                posted.unwritten
            );
            findings.add(Guarantee::NoCopies, what);
        }
    }
}
