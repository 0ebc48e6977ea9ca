//! Instances that an agent before this one started, or that core, agent and machine went on without: found by their
//! folders, known by process and spec, taken over as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_wire::IntendedInstance;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::attached::{Attached, attach};
use crate::health::{Health, Terms};
use crate::instance::{Adopted, Instance, Shared};
use crate::process::runs_root;
use crate::running::{READY_FILE, bury, end_lost};
use crate::shim::spec::{SPEC_FILE, STATE_FILE, ShimSpec, Status, read_json};
use crate::{Error, attached};

/// An instance that was found.
pub(crate) struct Found {
    pub(crate) instance: Instance,
    pub(crate) adopted: Adopted,
    pub(crate) spec: IntendedInstance,
    pub(crate) stop: CancellationToken,
    pub(crate) shots: mpsc::Sender<u32>,
}

/// Looks at every folder. What cannot be adopted is ended and removed.
pub(crate) async fn adopt(shared: &Arc<Shared>, shots_max: usize) -> Result<Vec<Found>, Error> {
    let root = runs_root(&shared.config);
    let mut found = Vec::new();
    let entries = fs::read_dir(&root).map_err(Error::file("read", &root))?;
    for folder in entries.flatten().map(|entry| entry.path()) {
        match adopt_one(shared, &folder, shots_max).await {
            Ok(one) => found.extend(one),
            Err(why) => {
                tracing::warn!(%why, folder = %folder.display(), "an instance could not be adopted; it is ended");
                if let Ok(status) = read_json::<Status>(&folder.join(STATE_FILE)) {
                    end_lost(&status);
                }
                fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
            }
        }
    }
    Ok(found)
}

async fn adopt_one(shared: &Arc<Shared>, folder: &Path, shots_max: usize) -> Result<Option<Found>, String> {
    let spec: ShimSpec = read_json(&folder.join(SPEC_FILE)).map_err(|error| format!("its spec: {error}"))?;
    let is_once = spec.intended.once_ms.is_some();
    let (shots, orders) = mpsc::channel(shots_max);
    let stop = CancellationToken::new();
    let instance = Instance::new(spec.intended.clone(), Arc::clone(shared), stop.clone(), orders);
    let attached = match attach(folder).await {
        Ok(attached) => attached,
        Err(error) => {
            let status: Status = read_json(&folder.join(STATE_FILE))
                .map_err(|why| format!("its shim: {error}; its state: {why}"))?;
            if !(is_once && status.ended.is_some()) {
                return Err(format!("its shim: {error}"));
            }
            let adopted = Adopted::Ended(Box::new(status));
            return Ok(Some(Found { instance, adopted, spec: spec.intended, stop, shots }));
        }
    };
    check(&attached, &spec)?;
    if attached.status.ended.is_some() && !is_once {
        // Only its last words are wanted; it is started again like any that ended.
        take_last_words(shared, instance, folder.to_owned(), attached);
        return Ok(None);
    }
    spec.port.into_iter().for_each(|port| shared.ports.keep(port));
    let was_ready = folder.join(READY_FILE).try_exists().unwrap_or(false);
    let terms = Terms::of(&spec.intended);
    let health = if was_ready { Health::ready(terms) } else { Health::new(terms) };
    let running = instance.take(folder.to_owned(), spec.port, attached, health);
    running.show(&instance);
    let pid = running.status().program.map_or(0, |program| program.pid);
    instance.output.say(format!("process {pid} is adopted"));
    let adopted = Adopted::Running(Box::new(running));
    Ok(Some(Found { instance, adopted, spec: spec.intended, stop, shots }))
}

/// Whether the shim is the one that was started for this spec, and its program the one that it started.
fn check(attached: &Attached, spec: &ShimSpec) -> Result<(), String> {
    let status = &attached.status;
    if status.spec != spec.digest() {
        return Err("it runs another spec than its folder says".to_owned());
    }
    if !status.shim.is_there() {
        return Err("its shim is another process".to_owned());
    }
    match status.program {
        Some(program) if status.ended.is_none() && !program.is_there() => {
            Err("its program is another process".to_owned())
        }
        _ => Ok(()),
    }
}

fn take_last_words(shared: &Arc<Shared>, instance: Instance, folder: PathBuf, attached: Attached) {
    let last = attached.status.clone();
    let (door, statsd, _, reader) = attached::follow(attached, instance.output);
    drop(statsd);
    bury(shared, folder, door, reader, last, false);
}
