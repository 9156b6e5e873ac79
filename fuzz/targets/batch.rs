//! The lines of a batch, in any pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::batch(data));
