//! The answers of a coordinator, and the words of a group's members about themselves.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::group(data));
