//! The messaging room's pieces.

mod cooperative_sticky;
mod dead_letter;
mod lease;
mod partitioner;
mod range;
mod record_batch;
mod watermark;
