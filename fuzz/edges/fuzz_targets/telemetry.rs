//! Arbitrary text in place of a statsd datagram and of a line on standard output.

#![no_main]

use hob_core::Timestamp;
use hob_wire::{Datagram, RecordIn, RecordSource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let scope: hob_core::Scope = "demo/uk".parse().expect("a good scope");
    let service: hob_core::Name = "orders".parse().expect("a good name");
    let datagram = Datagram {
        time: Timestamp::EPOCH,
        instance: "a".to_owned(),
        service: service.clone(),
        scope: scope.clone(),
        text: text.to_owned(),
    };
    hob_ingest::datagram(&datagram);
    hob_ingest::record(RecordIn {
        time: Timestamp::EPOCH,
        source: RecordSource::Stdout,
        instance: None,
        service,
        process: None,
        scope,
        release: 1,
        line: Some(text.to_owned()),
        access: None,
    });
});
