//! Runs whole days: everything ends, everything fits, the same happens twice, and the real days come out as published
//! models of them say.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use takeaway_world::{
    ClosedLoop, Day, Entity, FaultKind, Figures, GenerateOptions, Input, OrderState, Output, Refusal,
    STEP_SECONDS, World,
};

/// A day run to its end, with everything that happened folded into one number.
fn run(day: &Day, seed: u64, fault_scale: f64) -> (ClosedLoop, u64) {
    let mut city = ClosedLoop::new(day, seed, fault_scale);
    let mut hasher = DefaultHasher::new();
    while !city.world.ended() {
        for output in city.step().expect("the world's changes fit its entities") {
            format!("{output:?}").hash(&mut hasher);
        }
    }
    (city, hasher.finish())
}

fn check_ended(city: &ClosedLoop, orders: usize) {
    assert!(city.world.settled());
    let figures = city.world.figures();
    assert_eq!(figures, Figures::of(city.entities.orders.values()));
    assert_eq!((figures.placed, figures.on_their_way), (orders, 0));
    assert_eq!(figures.delivered + figures.cancelled, orders);
    assert!(city.entities.orders.values().all(|order| order.state.is_final()));
    assert!(city.world.truth().iter().all(|fault| fault.ended.is_some_and(|ended| ended >= fault.started)));
}

#[test]
fn a_generated_day_is_busy_and_ends_with_every_order_delivered_or_cancelled() {
    let day = Day::generate(1, GenerateOptions::default());
    let (city, _) = run(&day, 1, 1.0);
    check_ended(&city, 600);
    let figures = city.world.figures();
    assert!(figures.unacceptable * 100 <= 600 * 8, "{figures:?}");
    assert!(figures.late >= 6, "{figures:?}");
    assert_eq!(
        city.world.now().seconds_since(city.world.starts_at()) / STEP_SECONDS,
        city.world.steps() as i64
    );
    for kind in
        [FaultKind::RiderStalled, FaultKind::GpsGap, FaultKind::DispatchBlocked, FaultKind::LostPickup]
    {
        assert!(city.world.truth().iter().any(|fault| fault.kind == kind), "{kind:?}");
    }
}

#[test]
fn the_same_day_seed_and_inputs_give_the_same_outputs() {
    let day = Day::generate(2, GenerateOptions { orders: 150, restaurants: 20, riders: 20 });
    let (_, first) = run(&day, 7, 1.0);
    assert_eq!(run(&day, 7, 1.0).1, first);
    assert_ne!(run(&day, 8, 1.0).1, first);
}

#[test]
fn without_faults_nothing_is_in_the_truth() {
    let day = Day::generate(3, GenerateOptions { orders: 150, restaurants: 20, riders: 20 });
    let (city, _) = run(&day, 1, 0.0);
    check_ended(&city, 150);
    assert_eq!(city.world.truth(), []);
}

#[test]
fn without_riders_every_order_is_cancelled_at_the_end() {
    let day = Day::generate(4, GenerateOptions { orders: 20, restaurants: 5, riders: 0 });
    let (city, _) = run(&day, 1, 1.0);
    check_ended(&city, 20);
    assert_eq!(city.world.figures().unacceptable, 20);
}

#[test]
fn a_stopped_city_goes_on_from_its_inputs() {
    let day = Day::generate(5, GenerateOptions { orders: 100, restaurants: 10, riders: 15 });
    let mut city = ClosedLoop::new(&day, 3, 1.0);
    let mut inputs = Vec::new();
    for _ in 0..2000 {
        // The outputs of assignments follow those of the step, so the input is what made them.
        let outputs = city.step().expect("the world's changes fit its entities");
        inputs.extend(outputs.iter().filter_map(|output| match output {
            Output::Rider { id, change: takeaway_world::RiderChange::Assigned { orders, .. } } => {
                let orders = orders.iter().map(|carried| carried.order).collect();
                Some((city.world.steps(), Input::Assign { rider: *id, orders }))
            }
            _ => None,
        }));
    }
    let mut again = World::replay(&day, 3, 1.0, &inputs, 2000);
    assert_eq!((again.now(), again.figures()), (city.world.now(), city.world.figures()));
    assert_eq!(again.truth(), city.world.truth());
    for _ in 0..100 {
        assert_eq!(again.step(&[]), city.world.step(&[]));
    }
}

#[test]
fn a_wish_that_does_not_fit_is_refused_and_changes_nothing() {
    let day = Day::generate(6, GenerateOptions { orders: 50, restaurants: 5, riders: 5 });
    let mut world = World::new(&day, 1, 0.0);
    let (rider, order, restaurant) = (day.riders[0].id, day.orders[0].id, day.restaurants[0].id);
    let refusals = [
        (Input::Assign { rider, orders: vec![order] }, Refusal::RiderNotIdle { rider }),
        (Input::ForceDispatch { order }, Refusal::UnknownOrder { order }),
        (Input::Reassign { rider }, Refusal::NothingToMend),
        (Input::FreeRider { rider }, Refusal::NothingToMend),
        (Input::CallRestaurant { restaurant }, Refusal::NothingToMend),
        (Input::HonestQuotes { restaurant }, Refusal::NothingToMend),
    ];
    world.step(&[]);
    for (input, refusal) in refusals {
        assert_eq!(world.apply(&input), Err(refusal.clone()));
        let mut other = world.clone();
        assert!(other.step(std::slice::from_ref(&input)).contains(&Output::Refused { input, refusal }));
    }
}

/// Whenever something mendable is wrong with an order, mends it.
fn run_with_operators(day: &Day, seed: u64) -> (ClosedLoop, usize) {
    let mut city = ClosedLoop::new(day, seed, 1.0);
    let mut mended = 0;
    while !city.world.ended() {
        city.step().expect("the world's changes fit its entities");
        let open: Vec<_> = city
            .entities
            .orders
            .values()
            .filter(|order| !order.state.is_final())
            .map(|order| order.id)
            .collect();
        for order in open {
            for remedy in city.world.remedies(order) {
                let outputs = city.world.apply(&remedy).expect("a remedy fits");
                city.know(&outputs).expect("the world's changes fit its entities");
                mended += 1;
            }
        }
    }
    (city, mended)
}

#[test]
fn mending_what_is_wrong_makes_fewer_orders_unacceptable() {
    let day = Day::generate(7, GenerateOptions { orders: 300, restaurants: 30, riders: 35 });
    let (idle, _) = run(&day, 2, 1.0);
    let (mended_city, mended) = run_with_operators(&day, 2);
    check_ended(&mended_city, 300);
    assert!(mended > 0);
    let (before, after) = (idle.world.figures().unacceptable, mended_city.world.figures().unacceptable);
    assert!(after < before, "{after} of {before}");
}

#[test]
fn entities_are_hal_resources() {
    let day = Day::generate(8, GenerateOptions { orders: 50, restaurants: 5, riders: 8 });
    let (city, _) = run(&day, 1, 0.0);
    let order =
        city.entities.orders.values().find(|order| order.state == OrderState::Delivered).expect("one");
    let hal = order.to_hal("http://localhost:8080/");
    assert_eq!(hal["_links"]["self"]["href"], format!("http://localhost:8080/orders/{}", order.id));
    assert_eq!(
        hal["_links"]["restaurant"]["href"],
        format!("http://localhost:8080/restaurants/{}", order.restaurant)
    );
    assert_eq!(hal["placed_at"], order.placed_at.to_string());
    assert!(hal["cancelled_at"].is_null());
    let back: takeaway_world::Order = serde_json::from_value(hal).expect("reads its own JSON");
    assert_eq!(&back, order);
}

/// The folder of real days, when there is one on this machine.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test finds its optional data, or says so"
)]
fn real_days() -> Option<PathBuf> {
    let folder = std::env::var("HOB_TEST_DATA").ok();
    if folder.is_none() {
        println!("skipped: HOB_TEST_DATA names no folder of real days");
    }
    folder.map(|folder| PathBuf::from(folder).join("grubhub"))
}

/// Mean share of unacceptable orders, and mean over the runs of the median minutes from click to door.
fn means(days: &[Day], seeds: std::ops::RangeInclusive<u64>, fault_scale: f64) -> (f64, f64) {
    let (mut runs, mut orders, mut unacceptable, mut medians) = (0.0, 0, 0, 0.0);
    for (day, seed) in days.iter().flat_map(|day| seeds.clone().map(move |seed| (day, seed))) {
        let mut city = ClosedLoop::new(day, seed, fault_scale);
        city.run().expect("the world's changes fit its entities");
        check_ended(&city, day.orders.len());
        let minutes =
            city.entities.orders.values().filter_map(|order| {
                order.delivered_at.map(|at| at.seconds_since(order.placed_at) as f64 / 60.0)
            });
        let mut minutes: Vec<f64> = minutes.collect();
        minutes.sort_by(f64::total_cmp);
        runs += 1.0;
        orders += day.orders.len();
        unacceptable += city.world.figures().unacceptable;
        medians += minutes[minutes.len() / 2];
    }
    (unacceptable as f64 / orders as f64, medians / runs)
}

#[test]
fn real_days_come_out_as_the_model_says() {
    let Some(folder) = real_days() else { return };
    let days: Vec<Day> = (0..5)
        .map(|n| Day::read(&folder.join(format!("{n}o100t100s1p100"))).expect("a published day is read"))
        .collect();
    let (unacceptable, median) = means(&days, 1..=1, 1.0);
    assert!((0.025..0.085).contains(&unacceptable), "{unacceptable}");
    assert!((29.0..37.0).contains(&median), "{median}");
    let (calm, _) = means(&days[3..4], 1..=1, 0.0);
    assert!(calm < unacceptable && calm < 0.03, "{calm}");
}
