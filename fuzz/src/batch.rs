//! Batches of clients: the lines of a body, whatever the pieces that it comes in, and packed ones.

use bytes::Bytes;
use futures::{StreamExt as _, executor::block_on, stream};
use highwater_web::http::{Line, Lines};

use crate::pieces::pieces;

const LONGEST: usize = 64;

/// The first two bytes say how the rest is cut. The lines are those of the whole, in order and with their numbers.
pub fn batch(data: &[u8]) {
    let Some(([first, second], body)) = data.split_first_chunk() else { return };
    let pieces = pieces(body, [first % 16, *second]).into_iter().map(Ok);
    let mut lines = Lines::new(stream::iter(pieces).boxed(), LONGEST, body.len());
    let mut found = Vec::new();
    loop {
        while let Some(line) = lines.next_here() {
            found.push((lines.number(), line));
        }
        match block_on(lines.fill()) {
            Ok(true) => {}
            Ok(false) => break,
            Err(problem) => panic!("{problem:?}"),
        }
    }
    while let Some(line) = lines.next_here() {
        found.push((lines.number(), line));
    }
    let expected = body.split(|byte| *byte == b'\n').zip(1..).filter_map(|(line, number)| match line {
        long if long.len() > LONGEST => Some((number, Line::TooLong)),
        blank if blank.trim_ascii().is_empty() => None,
        line => Some((number, Line::Whole(Bytes::copy_from_slice(line)))),
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}
