//! The lease: a member acts no longer than it was surely heard.

use std::time::Duration;

use highwater_kafka::group::Lease;

const SESSION: Duration = Duration::from_secs(10);

fn renewed(sent_at: i64) -> Lease {
    let lease = Lease::new();
    lease.renew(sent_at, Lease::term(SESSION));
    lease
}

#[test]
fn is_over_until_a_heartbeat_is_answered() {
    let lease = Lease::new();
    assert!(!lease.is_valid());
    lease.renew(Lease::now(), Lease::term(SESSION));
    assert!(lease.is_valid());
}

#[test]
fn ends_before_the_session_does() {
    let lease = renewed(Lease::now());
    assert!(lease.remaining() < SESSION);
    assert!(lease.remaining() > SESSION / 2);
}

#[test]
fn counts_from_when_the_heartbeat_was_sent_not_from_its_answer() {
    let lease = renewed(Lease::now() - SESSION.as_nanos() as i64);
    assert!(!lease.is_valid());
}

#[test]
fn is_not_shortened_by_a_late_answer_to_an_earlier_heartbeat() {
    let lease = renewed(Lease::now());
    lease.renew(Lease::now() - SESSION.as_nanos() as i64, Lease::term(SESSION));
    assert!(lease.is_valid());
}

#[test]
fn that_is_ended_is_over_for_all_who_hold_it() {
    let lease = renewed(Lease::now());
    let held = lease.clone();
    lease.end();
    assert!(!held.is_valid());
}

#[test]
fn that_is_ended_stays_over_whatever_heartbeat_is_answered_after_that() {
    let lease = renewed(Lease::now());
    lease.end();
    lease.renew(Lease::now(), Lease::term(SESSION));
    assert!(!lease.is_valid());
}
