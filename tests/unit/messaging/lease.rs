//! The lease: a member acts no longer than it was surely heard.

use std::time::Duration;

use highwater::messaging::group::Lease;

const SESSION: Duration = Duration::from_secs(10);

#[test]
fn is_over_until_a_heartbeat_is_answered() {
    let lease = Lease::new(SESSION);
    assert!(!lease.is_valid());
    lease.renew(Lease::now());
    assert!(lease.is_valid());
}

#[test]
fn ends_before_the_session_does() {
    let lease = Lease::new(SESSION);
    lease.renew(Lease::now());
    assert!(lease.remaining() < SESSION);
    assert!(lease.remaining() > SESSION / 2);
}

#[test]
fn counts_from_when_the_heartbeat_was_sent_not_from_its_answer() {
    let lease = Lease::new(SESSION);
    lease.renew(Lease::now() - SESSION.as_nanos() as i64);
    assert!(!lease.is_valid());
}

#[test]
fn is_not_shortened_by_a_late_answer_to_an_earlier_heartbeat() {
    let lease = Lease::new(SESSION);
    lease.renew(Lease::now());
    lease.renew(Lease::now() - SESSION.as_nanos() as i64);
    assert!(lease.is_valid());
}
