//! The event parser: records of the topic, and bodies of clients.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::event(data));
