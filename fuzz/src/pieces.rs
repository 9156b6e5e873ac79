//! A body in pieces.

use bytes::Bytes;

/// The body in pieces of these sizes, in turn.
pub(crate) fn pieces(body: &[u8], sizes: [u8; 2]) -> Vec<Bytes> {
    let (mut rest, mut pieces) = (body, Vec::new());
    for size in sizes.map(|size| usize::from(size) + 1).into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = after;
    }
    pieces
}
