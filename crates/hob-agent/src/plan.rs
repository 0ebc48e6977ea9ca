//! Compares what should run with what runs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hob_wire::IntendedInstance;

/// What to do next. Done again with the same arguments it gives the same.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Instances that should run and do not.
    pub(crate) start: Vec<IntendedInstance>,
    /// Ids of instances that run and should not, or not like this. They are started anew once they are gone.
    pub(crate) stop: Vec<String>,
}

/// `running` holds every instance that was started and has not ended, as it was started.
pub(crate) fn plan(intended: &[IntendedInstance], running: &BTreeMap<&str, &IntendedInstance>) -> Plan {
    let mut seen = BTreeSet::new();
    let mut plan = Plan::default();
    let by_id: BTreeMap<&str, &IntendedInstance> =
        intended.iter().map(|instance| (instance.id.as_str(), instance)).collect();
    for instance in intended.iter().filter(|instance| seen.insert(instance.id.as_str())) {
        if !running.contains_key(instance.id.as_str()) {
            plan.start.push(by_id[instance.id.as_str()].clone());
        }
    }
    let is_wrong = |(id, as_started): &(&&str, &&IntendedInstance)| by_id.get(**id) != Some(*as_started);
    plan.stop = running.iter().filter(is_wrong).map(|(id, _)| (*id).to_owned()).collect();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_core::Digest;
    use hob_wire::{Resources, Sandbox, Stop};

    fn instance(id: &str, release: u64) -> IntendedInstance {
        IntendedInstance {
            id: id.to_owned(),
            service: "orders".parse().unwrap(),
            process: "web".parse().unwrap(),
            scope: "qa/uk".parse().unwrap(),
            release,
            package: Digest::of(b""),
            run: Vec::new(),
            listens: true,
            env: BTreeMap::new(),
            once_ms: None,
            startup: None,
            readiness: None,
            liveness: None,
            warmup: None,
            stop: Stop { timeout_ms: 0, ..Stop::default() },
            resources: Resources::default(),
            sandbox: Sandbox::default(),
        }
    }

    #[test]
    fn the_difference_is_done_and_nothing_else() {
        let (a, b, b2, c) = (instance("a", 1), instance("b", 1), instance("b", 2), instance("c", 1));
        let running = BTreeMap::from([("a", &a), ("b", &b)]);
        let next = plan(&[a.clone(), b2, c.clone()], &running);
        assert_eq!(next, Plan { start: vec![c], stop: vec!["b".to_owned()] });
        assert_eq!(plan(&[a.clone(), b.clone()], &running), Plan::default());
        assert_eq!(plan(&[], &running).stop, ["a", "b"]);
    }
}
