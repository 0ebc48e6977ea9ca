//! Reads the processes of `service.yml`: what runs, how often, when, with what, and how it ends.

use std::collections::BTreeMap;

use hob_core::Name;

use super::figure::{count, decimal, millis};
use crate::descriptor::{Process, Resources, Stop, StopSignal, Strategy, When};
use crate::yaml::{Flaws, Node, Reader};

/// Instances of one process in one scope.
pub(crate) const REPLICAS_MAX: u64 = 1000;
/// A process that runs once may take this long unless told otherwise, and never longer than [`ONCE_MS_MAX`].
const ONCE_MS: u64 = 5 * 60_000;
const ONCE_MS_MAX: u64 = 24 * 3_600_000;
/// An instance that was asked to end is killed after at most this long.
const STOP_MS_MAX: u64 = 10 * 60_000;
/// Cores of one instance.
const CPU_MAX: f64 = 1024.0;
/// Least memory of one instance: less starts nothing.
const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Processes and threads of one instance.
const PIDS_MAX: u32 = 1_000_000;

/// Reads all processes by name.
pub(super) fn processes(node: &Node, flaws: &mut Flaws) -> BTreeMap<Name, Process> {
    let mut all = BTreeMap::new();
    for (name, value) in node.entries(flaws) {
        if let (Some(name), Some(process)) = (name.parse(flaws), process(value, flaws)) {
            all.insert(name, process);
        }
    }
    if all.is_empty() && flaws.found.is_empty() {
        flaws.at(node, "a service has at least one process");
    } else if flaws.found.is_empty() && all.values().all(|process| process.when == When::PreRelease) {
        flaws.hint(node, "every process runs once", "declare one that stays, for example `web`");
    }
    all
}

fn process(node: &Node, flaws: &mut Flaws) -> Option<Process> {
    let mut map = Reader::map(node, flaws)?;
    let run_node = map.need("run", flaws);
    let run = run_node.map(|n| n.texts(flaws)).unwrap_or_default();
    if let (Some(run_node), true) = (run_node, run.is_empty()) {
        flaws.hint(run_node, "there is nothing to run", "write the program and its arguments as a list");
    }
    let listens = map.take("port").and_then(|n| n.one_of(&[("http", true)], flaws)).unwrap_or(false);
    let replicas = map.take("replicas").and_then(|n| n.number(0, REPLICAS_MAX, flaws)).unwrap_or(1);
    let words = [("blue_green", Strategy::BlueGreen), ("stop_then_start", Strategy::StopThenStart)];
    let strategy = map.take("strategy").and_then(|n| n.one_of(&words, flaws)).unwrap_or_default();
    if strategy == Strategy::StopThenStart && replicas > 1 {
        let place = map.take("replicas").unwrap_or(node);
        flaws.hint(place, "a process that stops before it starts has one instance", "set `replicas: 1`");
    }
    let words = [("always", When::Always), ("pre_release", When::PreRelease)];
    let when = map.take("when").and_then(|n| n.one_of(&words, flaws)).unwrap_or_default();
    let timeout = map.take("timeout");
    let timeout_ms = timeout.and_then(|n| millis(n, 1000, ONCE_MS_MAX, flaws));
    let resources = map.take("resources").and_then(|n| resources(n, flaws)).unwrap_or_default();
    let stop = map.take("stop").and_then(|n| stop(n, flaws)).unwrap_or_default();
    if when == When::PreRelease {
        for key in ["port", "replicas", "strategy"] {
            if let Some(place) = node.get(key) {
                flaws.hint(place, format!("a process that runs once has no `{key}`"), "leave it out");
            }
        }
    } else if let Some(place) = timeout {
        flaws.hint(
            place,
            "only a process that runs once has a timeout",
            "add `when: pre_release`, or leave the timeout out",
        );
    }
    map.finish(flaws);
    let timeout_ms = (when == When::PreRelease).then(|| timeout_ms.unwrap_or(ONCE_MS));
    let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
    Some(Process { run, listens, replicas, strategy, when, timeout_ms, resources, stop })
}

fn resources(node: &Node, flaws: &mut Flaws) -> Option<Resources> {
    let mut map = Reader::map(node, flaws)?;
    let cpu = map.take("cpu").and_then(|n| decimal(n, 0.001, CPU_MAX, flaws));
    let memory_bytes = map.take("memory").and_then(|n| memory(n, flaws));
    let pids = map.take("pids").and_then(|n| count(n, 1, PIDS_MAX, flaws));
    map.finish(flaws);
    let cpu_millis = cpu.map(|cores| (cores * 1000.0).round() as u32);
    Some(Resources { cpu_millis, memory_bytes, pids })
}

/// `256MiB`, and `256Mi` as other platforms write it.
fn memory(node: &Node, flaws: &mut Flaws) -> Option<u64> {
    let text = node.text(flaws)?;
    let whole = if text.ends_with('i') { format!("{text}B") } else { text.to_owned() };
    let bytes = hob_core::parse_size(&whole).map_err(|e| flaws.at(node, format!("failed to {e}"))).ok()?;
    if bytes < MEMORY_BYTES_MIN {
        flaws.hint(node, format!("`{text}` starts nothing"), "write its unit, for example 256MiB");
        return None;
    }
    Some(bytes)
}

fn stop(node: &Node, flaws: &mut Flaws) -> Option<Stop> {
    let mut map = Reader::map(node, flaws)?;
    let signals = [
        ("TERM", StopSignal::Term),
        ("INT", StopSignal::Int),
        ("QUIT", StopSignal::Quit),
        ("HUP", StopSignal::Hup),
        ("USR1", StopSignal::Usr1),
        ("USR2", StopSignal::Usr2),
    ];
    let default = Stop::default();
    let signal = map.take("signal").and_then(|n| n.one_of(&signals, flaws));
    let timeout_ms = map.take("timeout").and_then(|n| millis(n, 0, STOP_MS_MAX, flaws));
    map.finish(flaws);
    Some(Stop {
        signal: signal.unwrap_or(default.signal),
        timeout_ms: timeout_ms.unwrap_or(default.timeout_ms),
    })
}
