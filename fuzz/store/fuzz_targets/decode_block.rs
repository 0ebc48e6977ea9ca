//! Arbitrary bytes in place of a log's blocks: decoding them must return, whatever they are.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hob_store::fuzz_decode_block(bytes));
