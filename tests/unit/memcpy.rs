//! The copying of the static binary.

#![allow(unsafe_code, reason = "C's functions take pointers")]

#[path = "../../src/memcpy.rs"]
mod copying;

use copying::{memcpy, memmove};

/// Every case, and the lengths about the borders of each.
const LENGTHS: [usize; 34] = [
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 130, 191, 192, 193,
    255, 256, 257, 1023, 1024, 1025, 4096, 5000,
];

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256) as u8).collect()
}

#[test]
fn all_bytes_are_copied_and_none_beside_them() {
    for n in LENGTHS {
        for (from, to) in [(0, 0), (1, 0), (0, 3), (7, 9), (15, 1)] {
            let source = bytes(n + 32);
            let mut copied = vec![0xee; n + 32];
            // SAFETY: both have 32 bytes more.
            let returned = unsafe { memcpy(copied.as_mut_ptr().add(to), source.as_ptr().add(from), n) };
            assert_eq!(returned, copied[to..].as_mut_ptr());
            assert_eq!(copied[to..to + n], source[from..from + n], "{n} bytes from {from} to {to}");
            assert!(copied[..to].iter().chain(&copied[to + n..]).all(|byte| *byte == 0xee), "{n}");
        }
    }
}

#[test]
fn bytes_that_overlap_are_moved_as_they_were() {
    for n in LENGTHS {
        for distance in [0, 1, 3, 8, 15, 16, 17, 63, 64, 65, 127, 200, 1000] {
            for (from, to) in [(0, distance), (distance, 0)] {
                let mut moved = bytes(n + distance);
                let mut expected = moved.clone();
                expected.copy_within(from..from + n, to);
                // SAFETY: both are within the vector.
                unsafe { memmove(moved.as_mut_ptr().add(to), moved.as_ptr().add(from), n) };
                assert_eq!(moved, expected, "{n} bytes from {from} to {to}");
            }
        }
    }
}
