//! The messaging room's pieces.

mod answers;
mod committed;
mod cooperative_sticky;
mod dead_letter;
mod envelope;
mod event_handler;
mod fetch;
mod group_description;
mod lease;
mod library;
mod message_set;
mod partitioner;
mod range;
mod record_batch;
mod record_fields;
mod redrive_progress;
mod sequences;
mod watermark;
