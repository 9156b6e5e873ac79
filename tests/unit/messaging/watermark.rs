//! The watermark never passes a record that is not done, in any order of completion.

use std::collections::BTreeSet;

use highwater_kafka::Watermark;
use proptest::prelude::*;

#[test]
fn moves_over_what_is_done_in_order() {
    let mut watermark = Watermark::new(10);
    watermark.done(10..11);
    watermark.done(11..20);
    assert_eq!(watermark.mark(), 20);
}

#[test]
fn stays_below_a_gap_until_the_gap_is_done() {
    let mut watermark = Watermark::new(0);
    watermark.done(1..5);
    watermark.done(6..9);
    assert_eq!(watermark.mark(), 0);
    watermark.done(0..1);
    assert_eq!(watermark.mark(), 5);
    watermark.done(5..6);
    assert_eq!(watermark.mark(), 9);
}

#[test]
fn never_goes_back() {
    let mut watermark = Watermark::new(100);
    watermark.done(0..50);
    watermark.done(40..90);
    assert_eq!(watermark.mark(), 100);
}

proptest! {
    /// Against the plainest model: a set of single offsets. Stretches may repeat, overlap and be empty.
    #[test]
    fn is_the_first_offset_that_is_not_done(
        start in 0_i64..20,
        stretches in prop::collection::vec((0_i64..120, 0_i64..12), 0..60),
    ) {
        let mut watermark = Watermark::new(start);
        let mut done = BTreeSet::new();
        for (from, length) in stretches {
            watermark.done(from..from + length);
            done.extend(from..from + length);
            let first_undone = (start..).find(|offset| !done.contains(offset));
            prop_assert_eq!(Some(watermark.mark()), first_undone);
        }
    }

    /// Every order of the same work ends at the same mark, and on the way the mark is always done below.
    #[test]
    fn any_order_of_completion_ends_at_the_end(
        order in Just((0_i64..40).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut watermark = Watermark::new(0);
        for (done_so_far, offset) in order.iter().enumerate() {
            watermark.done(*offset..offset + 1);
            prop_assert!(watermark.mark() <= done_so_far as i64 + 1);
            prop_assert!((0..watermark.mark()).all(|below| order[..=done_so_far].contains(&below)));
        }
        prop_assert_eq!(watermark.mark(), 40);
    }
}
