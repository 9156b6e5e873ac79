//! Bodies in gzip, zstd and brotli, in any pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::codings(data));
