//! What is noted with a committed offset: which dead letters were sent back.

use highwater_kafka::dead_letter::Settled;
use proptest::prelude::*;

#[test]
fn a_note_that_is_not_ours_says_nothing() {
    for note in ["", "consumer-1", "redriven:", "redriven:%%%", "redriven:_____________w"] {
        let settled = Settled::read(7, note);
        assert_eq!(settled.mark(), 7, "{note}");
        assert!(!settled.has(7) && settled.has(6), "{note}");
    }
}

#[test]
fn what_is_settled_in_order_needs_no_note() {
    let mut settled = Settled::from(3);
    settled.settle(3..5_000_000);
    assert_eq!((settled.mark(), settled.note().as_str()), (5_000_000, ""));
}

#[test]
fn there_is_room_for_more_than_a_thousand_letters_that_lie_apart() {
    let (mut settled, mut count) = (Settled::from(0), 0);
    while settled.room() > 0 {
        for _ in 0..settled.room() {
            count += 1;
            settled.settle(10 * count..10 * count + 1);
        }
        assert!(settled.note().len() <= 4096);
    }
    assert!(count > 1_000, "{count}");
    // Those between settled, too, all is short again.
    settled.settle(0..10 * count);
    assert!(settled.room() > 200);
}

proptest! {
    #[test]
    fn what_was_noted_is_read_again(
        start in 0..1_000_000_000_000_i64,
        stretches in prop::collection::vec((0..500_000_i64, 1..100_000_i64), 0..50),
    ) {
        let mut settled = Settled::from(start);
        for (gap, length) in stretches {
            settled.settle(start + gap..start + gap + length);
        }
        prop_assert!(settled.note().len() <= 4096);
        prop_assert_eq!(Settled::read(settled.mark(), &settled.note()), settled);
    }
}
