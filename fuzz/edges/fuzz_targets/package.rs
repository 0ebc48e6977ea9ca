//! Arbitrary bytes in place of a package: refused, never unpacked beyond their limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = hob_deploy::check(bytes);
});
