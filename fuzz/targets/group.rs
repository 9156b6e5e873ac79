//! What a coordinator answers, and what members of a group say of themselves.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::group(data));
