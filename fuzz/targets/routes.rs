//! The filter tree of the activity service: one request of any kind.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::routes(data));
