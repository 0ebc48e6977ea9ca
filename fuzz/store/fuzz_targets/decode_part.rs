//! Whatever the bytes are, decoding them as a part must return.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hob_store::fuzz_decode_part(bytes));
