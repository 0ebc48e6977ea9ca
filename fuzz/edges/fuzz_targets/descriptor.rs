//! Arbitrary text in place of `service.yml` and `hob.yml`: flaws, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = hob_wire::Service::read("service.yml", text);
    if let Ok(scope) = "qa/uk".parse() {
        let _ = hob_wire::Service::read_in("service.yml", text, &scope);
    }
    let _ = hob_wire::Platform::read("hob.yml", text);
});
