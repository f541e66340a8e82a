//! Any bytes as a Dockerfile: read, told about, planned, gone through.
#![no_main]

#[path = "../../crates/buildkit-core/tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzed::check(bytes));
