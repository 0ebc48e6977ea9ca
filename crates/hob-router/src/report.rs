//! Tells the core each second, and at once when it matters, what the router did and by which generation it routes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hob_core::Name;
use hob_wire::{InstanceTraffic, Limited, RouterReport};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::core_client::CoreClient;
use crate::gateway::Gateway;

/// How often the router reports.
const PERIOD: Duration = Duration::from_secs(1);
/// Reports out of turn keep this distance from the one before, so that instances which empty one by one do not each make one.
const DISTANCE: Duration = Duration::from_millis(10);

/// Reports until `stop`, and one last time then.
pub(crate) async fn report(
    core: Arc<CoreClient>,
    gateway: Arc<Gateway>,
    name: Name,
    stop: CancellationToken,
) {
    let path = format!("/v1/routers/{name}/report");
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was counted but did not arrive. It holds one entry for each instance, and while the core is away there are
    // no new ones.
    let mut unsent: BTreeMap<String, InstanceTraffic> = BTreeMap::new();
    let mut limited = Vec::new();
    let mut from = gateway.clock.now();
    let mut records_told = 0;
    let mut is_heard = true;
    let mut reported = Instant::now();
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = gateway.fleet.urgent.notified() => {
                tokio::time::sleep_until(reported + DISTANCE).await;
                false
            }
            () = stop.cancelled() => true,
        };
        reported = Instant::now();
        gateway.fleet.drop_old_links(gateway.limits.reuse_idle);
        let (generation, traffic) = gateway.fleet.take_traffic();
        merge(&mut unsent, traffic);
        add_limited(&mut limited, gateway.counts.take());
        let records_dropped = gateway.recorder.dropped();
        let report = RouterReport {
            generation,
            from,
            to: gateway.clock.now(),
            instances: unsent.values().cloned().collect(),
            records_dropped: records_dropped - records_told,
            ejected: gateway.fleet.ejected(),
            limited: limited.clone(),
            connections: gateway.connections.load(Ordering::Relaxed),
            held: gateway.fleet.held(),
        };
        match core.post(&path, &report).await {
            Ok(()) => {
                unsent.clear();
                limited.clear();
                from = report.to;
                records_told = records_dropped;
                is_heard = true;
            }
            // Said once, not each second while the core is away.
            Err(error) if is_heard => {
                is_heard = false;
                tracing::warn!(%error, "reports do not arrive; what they count is kept");
            }
            Err(error) => tracing::debug!(%error, "a report did not arrive"),
        }
        if is_last {
            return;
        }
    }
}

/// Adds refusals that were counted since.
fn add_limited(unsent: &mut Vec<Limited>, new: Vec<Limited>) {
    for limited in new {
        match unsent.iter_mut().find(|sum| sum.pool == limited.pool && sum.reason == limited.reason) {
            Some(sum) => sum.requests += limited.requests,
            None => unsent.push(limited),
        }
    }
}

/// Adds what was counted since; what is in flight or held is as it is now. One instance may appear twice: started again
/// at another address, or with what its pool held.
fn merge(unsent: &mut BTreeMap<String, InstanceTraffic>, traffic: Vec<InstanceTraffic>) {
    for sum in unsent.values_mut() {
        (sum.in_flight, sum.held) = (0, 0);
    }
    for new in traffic {
        match unsent.get_mut(&new.instance) {
            None => _ = unsent.insert(new.instance.clone(), new),
            Some(sum) => {
                sum.requests += new.requests;
                sum.errors += new.errors;
                sum.in_flight += new.in_flight;
                sum.held += new.held;
                sum.retried += new.retried;
                sum.latency.merge(&new.latency);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_the_present_replaces_the_past() {
        let traffic = |requests: u64, in_flight: u64| InstanceTraffic {
            instance: "one".to_owned(),
            service: "orders".parse().unwrap(),
            scope: "qa/uk".parse().unwrap(),
            release: 1,
            requests,
            errors: 0,
            in_flight,
            held: 0,
            latency: Default::default(),
            retried: 0,
        };
        let mut unsent = BTreeMap::new();
        merge(&mut unsent, vec![traffic(5, 2)]);
        merge(&mut unsent, vec![traffic(1, 1), traffic(2, 3)]);
        assert_eq!((unsent["one"].requests, unsent["one"].in_flight), (8, 4));
        merge(&mut unsent, Vec::new());
        assert_eq!((unsent["one"].requests, unsent["one"].in_flight), (8, 0));
    }
}
