//! The messaging room's pieces.

mod assignor;
mod dead_letter;
mod lease;
mod partitioner;
mod record_batch;
mod watermark;
