//! The calls and batches of Segment's tracking API.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::segment(data));
