//! Pages of a listing.

use chrono::{DateTime, TimeDelta};
use highwater_web::page::{PageRequest, Position};
use uuid::Uuid;

/// So many entries, which are told by their number.
fn entries(count: usize) -> impl Iterator<Item = (Position, usize)> {
    let at = |number| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(number as i64);
    (0..count).map(move |number| (Position { at: at(number), id: Uuid::nil() }, number))
}

#[test]
fn a_page_ends_at_its_limit_or_with_the_entry_that_makes_it_a_megabyte() {
    let page = |limit| PageRequest { limit, after: None };
    for (limit, bytes, taken) in
        [(3, 1, 3), (10, 1, 10), (11, 1, 10), (10, 600 << 10, 2), (10, 1 << 20, 1), (10, 5 << 20, 1)]
    {
        let (found, next) = page(limit).take(entries(10), |_| bytes);
        assert_eq!(found, (0..taken).collect::<Vec<_>>(), "{limit} of {bytes}");
        assert_eq!(next.is_some(), taken < 10, "{limit} of {bytes}");
    }
    assert_eq!(page(10).take(entries(0), |_| 1), (vec![], None));
}
