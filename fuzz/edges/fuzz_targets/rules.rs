//! Arbitrary text in place of a rule file: flaws, never a panic or a stack that overflows.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = hob_wire::FileText { file: "rules.yml".to_owned(), text: text.to_owned() };
    let _ = hob_watch::Watch::check(&[file]);
});
