//! The answer of a broker to our own Fetch, and the logs in it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::fetch(data));
