//! The promise to the core, under many threads and many tables.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;

fn snapshot(generation: u64, instances: &[u64]) -> RoutingSnapshot {
    let target = |number: &u64| Target {
        instance: format!("i{number}"),
        address: format!("127.0.0.1:{}", 1000 + number % 60_000),
        release: 1,
        ..Target::default()
    };
    let targets = instances.iter().map(target).collect();
    let pool = PoolSpec::new("orders".parse().unwrap(), "qa/uk".parse().unwrap(), targets);
    RoutingSnapshot {
        generation,
        routes: vec![hob_wire::Route {
            host: None,
            path: "/".to_owned(),
            pool: "orders".to_owned(),
            ..Default::default()
        }],
        pools: [("orders".to_owned(), pool)].into(),
        ..RoutingSnapshot::default()
    }
}

fn ask(headers: &HeaderMap) -> Ask<'_> {
    Ask { host: "shop.example", path: "/orders", headers, client: "10.0.0.1".parse().unwrap() }
}

fn ticket(fleet: &Arc<Fleet>, tried: &[Arc<Instance>]) -> Option<Ticket> {
    match fleet.claim(&ask(&HeaderMap::new()), tried) {
        Claim::Ticket(ticket) => Some(ticket),
        _ => None,
    }
}

#[test]
fn no_request_is_at_an_instance_once_the_core_was_told_that_none_is() {
    const TABLES: u64 = 400;
    const THREADS: usize = 4;
    let fleet = Arc::new(Fleet::new(Clock::system()));
    // Whether an instance was stopped, as the core would once it was told that it may.
    let stopped: Arc<Vec<AtomicBool>> = Arc::new((0..TABLES + 2).map(|_| AtomicBool::new(false)).collect());
    let is_over = Arc::new(AtomicBool::new(false));
    let claims = Arc::new(AtomicU64::new(0));
    fleet.install(&snapshot(1, &[0, 1]));
    let claimers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (fleet, stopped, is_over) = (Arc::clone(&fleet), Arc::clone(&stopped), Arc::clone(&is_over));
            let claims = Arc::clone(&claims);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let ticket = ticket(&fleet, &[]).expect("there is always an instance");
                    let number: usize = ticket.instance.id[1..].parse().unwrap();
                    for _ in 0..(random::bits() % 64) {
                        assert!(
                            !stopped[number].load(Ordering::SeqCst),
                            "a request is at a stopped instance"
                        );
                        std::hint::spin_loop();
                    }
                    claims.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for generation in 2..TABLES {
        // Tables must change among requests, however busy the machine is.
        while claims.load(Ordering::Relaxed) < generation
            && !claimers.iter().any(|claimer| claimer.is_finished())
        {
            std::thread::yield_now();
        }
        fleet.install(&snapshot(generation, &[generation - 1, generation]));
        let gone = format!("i{}", generation - 2);
        loop {
            let (told, traffic) = fleet.take_traffic();
            assert_eq!(told, generation);
            let in_flight: u64 = traffic.iter().filter(|t| t.instance == gone).map(|t| t.in_flight).sum();
            if in_flight == 0 {
                break;
            }
            std::thread::yield_now();
        }
        stopped[usize::try_from(generation - 2).unwrap()].store(true, Ordering::SeqCst);
    }
    is_over.store(true, Ordering::Relaxed);
    for claimer in claimers {
        claimer.join().unwrap();
    }
    assert!(claims.load(Ordering::Relaxed) >= TABLES - 1);
}

#[test]
fn an_instance_that_left_is_told_of_until_its_last_request_has_ended() {
    let fleet = Arc::new(Fleet::new(Clock::system()));
    fleet.install(&snapshot(1, &[0]));
    let held = ticket(&fleet, &[]).unwrap();
    fleet.install(&snapshot(2, &[1]));
    assert!(held.instance.gone.is_cancelled());
    let in_flight = || -> HashMap<String, u64> {
        fleet.take_traffic().1.into_iter().map(|t| (t.instance, t.in_flight)).collect()
    };
    assert_eq!(in_flight(), HashMap::from([("i0".to_owned(), 1), ("i1".to_owned(), 0)]));
    held.instance.count(false, Duration::from_millis(1));
    drop(held);
    assert_eq!(in_flight().get("i0"), Some(&0), "one last time");
    assert_eq!(in_flight().get("i0"), None);
}

#[test]
fn an_instance_stays_the_same_across_tables_and_comes_back_as_a_new_one() {
    let fleet = Arc::new(Fleet::new(Clock::system()));
    fleet.install(&snapshot(1, &[0]));
    let first = ticket(&fleet, &[]).unwrap();
    fleet.install(&snapshot(2, &[0, 1]));
    assert!(!first.instance.gone.is_cancelled());
    fleet.install(&snapshot(3, &[1]));
    fleet.install(&snapshot(4, &[0]));
    let again = ticket(&fleet, &[]).unwrap();
    assert!(!Arc::ptr_eq(&first.instance, &again.instance));
    assert!(!again.instance.gone.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_refuses_is_passed_over_unless_all_do() {
    let fleet = Arc::new(Fleet::new(Clock::system()));
    fleet.install(&snapshot(1, &[0, 1]));
    let refusing = ticket(&fleet, &[]).unwrap().instance.clone();
    refusing.skip(Duration::from_secs(1));
    for _ in 0..50 {
        assert!(!Arc::ptr_eq(&ticket(&fleet, &[]).unwrap().instance, &refusing));
    }
    let other = ticket(&fleet, &[]).unwrap().instance.clone();
    other.skip(Duration::from_secs(1));
    assert!(ticket(&fleet, &[]).is_some(), "all refuse, so any is as good");
    let last = ticket(&fleet, &[Arc::clone(&other)]).unwrap();
    assert!(Arc::ptr_eq(&last.instance, &refusing), "not the one that was tried");
    assert!(ticket(&fleet, &[other, Arc::clone(&refusing)]).is_none());
    tokio::time::advance(Duration::from_millis(1001)).await;
    assert!(!refusing.is_skipped());
}

fn counts(fleet: &Arc<Fleet>, of: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for _ in 0..of {
        *counts.entry(ticket(fleet, &[]).unwrap().instance.id.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn who_fails_gets_nothing_unless_most_do() {
    let fleet = Arc::new(Fleet::new(Clock::system()));
    fleet.install(&snapshot(1, &[0, 1]));
    let failing = ticket(&fleet, &[]).unwrap().instance.clone();
    (0..5).for_each(|_| fleet.note(&failing, true));
    assert_eq!(counts(&fleet, 50).get(&failing.id), None);
    assert_eq!(fleet.ejected().len(), 1);
    let other = ticket(&fleet, &[]).unwrap().instance.clone();
    (0..5).for_each(|_| fleet.note(&other, true));
    assert_eq!(counts(&fleet, 200).len(), 2, "both failed, so both are asked");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert!(fleet.ejected().is_empty());
}

#[test]
fn a_target_that_starts_slowly_gets_less() {
    let fleet = Arc::new(Fleet::new(Clock::system()));
    let mut told = snapshot(1, &[0, 1, 2]);
    let slow = hob_wire::SlowStart { since: Clock::system().now(), for_ms: 1_000_000 };
    told.pools.get_mut("orders").unwrap().targets[1].slow_start = Some(slow);
    fleet.install(&told);
    let counts = counts(&fleet, 3000);
    assert!((50..300).contains(&counts["i1"]), "{counts:?}");
    told.pools
        .get_mut("orders")
        .unwrap()
        .targets
        .iter_mut()
        .for_each(|target| target.slow_start = Some(slow));
    fleet.install(&told);
    assert!(ticket(&fleet, &[]).is_some());
}
