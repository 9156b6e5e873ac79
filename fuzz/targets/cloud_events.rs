//! CloudEvents: in by each mode of the HTTP binding, out again, and in once more.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::cloud_events(data));
