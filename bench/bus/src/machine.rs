//! What the machine says: a process's time and memory, a folder's bytes, the disk's own pace.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::latency::Latency;

/// Ticks of a second in `/proc`; Linux has used no other number for user space in decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time that processes have used.
pub fn cpu_seconds(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    };
    pids.iter().filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Memory of processes in MB, what they share counted by shares.
pub fn pss_mb(pids: &[u32]) -> f64 {
    let kilobytes = |pid: &u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    pids.iter().filter_map(kilobytes).sum::<f64>() / 1024.0
}

/// The name of a process; empty when it is gone.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// A process and what it started.
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let threads = fs::read_dir(format!("/proc/{}/task", found[at])).into_iter().flatten().flatten();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    found
}

/// Bytes that a folder takes on disk.
pub fn disk_bytes(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        sum += if about.is_dir() { disk_bytes(&entry.path()) } else { about.blocks() * 512 };
    }
    sum
}

/// How long the disk takes to make one small write durable: p50 and p99 in milliseconds.
pub fn fdatasync(folder: &Path) -> Result<(f64, f64)> {
    const WRITES: usize = 400;
    let path = folder.join("fdatasync");
    let mut file = fs::File::create(&path).context("make a file to measure the disk with")?;
    let mut latency = Latency::default();
    for _ in 0..WRITES {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        latency.add(begun.elapsed().as_nanos() as u64);
    }
    fs::remove_file(&path)?;
    Ok((latency.quantile_ms(0.5).unwrap_or(0.0), latency.quantile_ms(0.99).unwrap_or(0.0)))
}

/// What the figures were measured on.
pub fn facts() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let kilobytes =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    json!({
        "processors": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "model": model.map(|(_, name)| name.trim().to_owned()),
        "memory_gb": kilobytes.map(|kb| kb / (1 << 20)),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()),
    })
}
