//! Hob's bus within the measured process, without the door: what HTTP and JSON cost. The process is one of its own, so
//! that it stands on the servers' processors and its figures are its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hob_bus::{Bus, Publisher};
use hob_core::{Clock, Scope, TopicName};
use hob_store::{Store, StoreOptions};
use hob_wire::{Draft, Notice, TopicTerms};
use tokio::sync::Mutex;

use crate::cells::Cell;
use crate::latency::Latency;
use crate::machine;
use crate::measure::{Outcome, Quantiles, Times};
use crate::server::{fresh_folder, pinned};
use crate::systems::{Places, System};

/// Measures in a process of its own.
pub fn measure(cell: &Cell, times: Times, places: &Places) -> Result<Outcome> {
    let mut command = pinned(std::env::current_exe()?, places.processors.as_deref());
    command.arg("--work").arg(&places.work);
    command.args(["--seconds", &times.measured.as_secs_f64().to_string()]);
    command.args(["--warm-up", &times.warm_up.as_secs_f64().to_string(), "embedded"]);
    command.args(["--in-flight", &cell.in_flight.to_string(), "--batch", &cell.batch.to_string()]);
    command.args(["--bytes", &cell.bytes.to_string(), "--entities", &cell.entities.to_string()]);
    let output = command.output().context("run the embedded bus")?;
    if !output.status.success() {
        bail!("the embedded bus failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let outcome: Outcome =
        serde_json::from_slice(&output.stdout).context("read what the embedded bus said")?;
    Ok(Outcome { pinned: places.processors.is_some(), cell: *cell, ..outcome })
}

/// What the publishing tasks share.
struct Shared {
    bus: Bus,
    publisher: Publisher,
    topic: TopicName,
    made: AtomicU64,
    units: AtomicU64,
    latency: Mutex<Latency>,
    base: Instant,
    /// From when to when units count, in nanoseconds since the base.
    window: (u64, u64),
}

/// Measures here.
pub fn run(cell: &Cell, times: Times, work: &Path) -> Result<Outcome> {
    let (fdatasync_p50, fdatasync_p99) = machine::fdatasync(work)?;
    let folder = fresh_folder(work, "embedded")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let own = [std::process::id()];
    let outcome = runtime.block_on(async {
        let shared = Arc::new(open(cell, times, &folder).await?);
        let nanos = |from: Instant| from.elapsed().as_nanos() as u64;
        let tasks: Vec<_> =
            (0..cell.in_flight).map(|_| tokio::spawn(publish(Arc::clone(&shared), *cell))).collect();
        tokio::time::sleep(times.warm_up).await;
        let (cpu, begun) = (machine::cpu_seconds(&own), nanos(shared.base));
        for task in tasks {
            task.await??;
        }
        let used = machine::cpu_seconds(&own) - cpu;
        let seconds = (nanos(shared.base).max(begun + 1) - begun) as f64 / 1e9;
        let counted = (shared.units.load(Ordering::SeqCst) * cell.batch as u64) as f64;
        let all = shared.made.load(Ordering::SeqCst) as f64;
        let outcome = Outcome {
            system: System::HobEmbedded,
            cell: *cell,
            pinned: false,
            events_per_second: (counted / times.measured.as_secs_f64()).round(),
            acknowledged: Quantiles::of(&*shared.latency.lock().await),
            delivered: None,
            delivered_share: None,
            cpu_seconds_per_million: used / (counted / times.measured.as_secs_f64() * seconds) * 1e6,
            generator_load: 0.0,
            memory_mb: machine::pss_mb(&own),
            disk_bytes_per_event: machine::disk_bytes(&folder) as f64 / all,
            fdatasync_p50,
            fdatasync_p99,
        };
        shared.bus.close().await;
        anyhow::Ok(outcome)
    });
    drop(runtime);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn open(cell: &Cell, times: Times, folder: &Path) -> Result<Shared> {
    let store = Store::open(folder, StoreOptions::default()).await?;
    let bus = Bus::open(&store, Clock::system()).await?;
    let scope: Scope = "bench/one".parse()?;
    let (service, topic): (hob_core::Name, TopicName) = ("shop".parse()?, "bench".parse()?);
    let kind = if cell.bytes > 200 { hob_wire::TopicKind::Stream } else { hob_wire::TopicKind::Notify };
    bus.put_topic(&scope, &service, &topic, TopicTerms { kind, ..TopicTerms::default() }).await?;
    let publisher = Publisher { scope, service, request_id: None, traceparent: None };
    let nanos = |duration: std::time::Duration| duration.as_nanos() as u64;
    let window = (nanos(times.warm_up), nanos(times.warm_up + times.measured));
    let (made, units) = (AtomicU64::new(0), AtomicU64::new(0));
    let latency = Mutex::default();
    Ok(Shared { bus, publisher, topic, made, units, latency, base: Instant::now(), window })
}

async fn publish(shared: Arc<Shared>, cell: Cell) -> Result<()> {
    let data = (cell.bytes > 200).then(|| serde_json::Value::String("x".repeat(cell.bytes - 100)));
    let mut latency = Vec::new();
    loop {
        let started = shared.base.elapsed().as_nanos() as u64;
        if started >= shared.window.1 {
            break;
        }
        let draft = |_| {
            let made = shared.made.fetch_add(1, Ordering::Relaxed);
            let mut notice = Notice::new("update");
            notice.href = Some(format!("http://txxxxxxxx/o/{:08}", made.wrapping_mul(7_919) % cell.entities));
            notice.entitytag = Some(format!("T~{made:016}"));
            notice.data = data.clone();
            Draft { topic: shared.topic.clone(), notice }
        };
        let drafts = (0..cell.batch).map(draft).collect();
        shared.bus.publish(&shared.publisher, drafts).await?;
        let done = shared.base.elapsed().as_nanos() as u64;
        if (shared.window.0..shared.window.1).contains(&done) {
            shared.units.fetch_add(1, Ordering::Relaxed);
            latency.push(done - started);
        }
    }
    let mut all = shared.latency.lock().await;
    latency.into_iter().for_each(|nanos| all.add(nanos));
    Ok(())
}
