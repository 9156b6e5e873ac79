//! The metadata of a committed offset: the dead letters that were sent back.

use highwater_kafka::dead_letter::RedriveProgress;
use proptest::prelude::*;

#[test]
fn a_note_that_is_not_ours_says_nothing() {
    for note in ["", "consumer-1", "redriven:", "redriven:%%%", "redriven:_____________w"] {
        let progress = RedriveProgress::decode(7, note);
        assert_eq!(progress.watermark(), 7, "{note}");
        assert!(!progress.contains(7) && progress.contains(6), "{note}");
    }
}

#[test]
fn what_is_settled_in_order_needs_no_note() {
    let mut progress = RedriveProgress::new(3);
    progress.mark_done(3..5_000_000);
    assert_eq!((progress.watermark(), progress.encode().as_str()), (5_000_000, ""));
}

#[test]
fn there_is_room_for_more_than_a_thousand_dead_letters_that_lie_apart() {
    let (mut progress, mut count) = (RedriveProgress::new(0), 0);
    while progress.remaining_capacity() > 0 {
        for _ in 0..progress.remaining_capacity() {
            count += 1;
            progress.mark_done(10 * count..10 * count + 1);
        }
        assert!(progress.encode().len() <= 4096);
    }
    assert!(count > 1_000, "{count}");
    // Those between progress, too, all is short again.
    progress.mark_done(0..10 * count);
    assert!(progress.remaining_capacity() > 200);
}

proptest! {
    #[test]
    fn what_was_noted_is_read_again(
        start in 0..1_000_000_000_000_i64,
        stretches in prop::collection::vec((0..500_000_i64, 1..100_000_i64), 0..50),
    ) {
        let mut progress = RedriveProgress::new(start);
        for (gap, length) in stretches {
            progress.mark_done(start + gap..start + gap + length);
        }
        prop_assert!(progress.encode().len() <= 4096);
        prop_assert_eq!(RedriveProgress::decode(progress.watermark(), &progress.encode()), progress);
    }
}
