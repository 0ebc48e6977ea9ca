//! Whatever changes reach an entity, in whatever order: only legal ones alter it, times never run backwards, a change
//! that comes twice alters nothing the second time, and one that is refused alters nothing at all.

use proptest::prelude::*;
use takeaway_world::{
    Applied, CarriedOrder, Entity, NewOrder, Order, OrderChange, OrderId, OrderState, Restaurant,
    RestaurantChange, RestaurantId, Rider, RiderChange, RiderId, RiderState, SimTime, ZoneId,
    acceptable_minutes,
};

fn minute(minute: i64) -> SimTime {
    SimTime::from_minutes(minute)
}

fn placed() -> OrderChange {
    OrderChange::Placed(NewOrder {
        at: minute(0),
        restaurant: RestaurantId(1),
        zone: ZoneId(1),
        x: 5,
        y: 6,
        quoted_minutes: 30,
        preparation_minutes: 10,
        travel_minutes: 6,
    })
}

fn order_change(kind: u8, at: SimTime) -> OrderChange {
    match kind {
        0 => placed(),
        1 => OrderChange::Accepted { at, expected_ready_at: at.plus_minutes(10) },
        2 => OrderChange::Assigned { at, rider: RiderId(1) },
        3 => OrderChange::Unassigned { at },
        4 => OrderChange::Ready { at },
        5 => OrderChange::RiderAtRestaurant { at },
        6 => OrderChange::PickedUp { at },
        7 => OrderChange::Delivered { at },
        _ => OrderChange::Cancelled { at },
    }
}

fn rider_change(kind: u8, at: SimTime) -> RiderChange {
    let order = OrderId(1);
    match kind {
        0 => RiderChange::OnShift { at },
        1 => RiderChange::OffShift { at },
        2 => {
            let orders = vec![CarriedOrder { order, unacceptable_at: at.plus_minutes(50) }];
            RiderChange::Assigned { at, restaurant: RestaurantId(1), orders, expected_at: at.plus_minutes(5) }
        }
        3 => RiderChange::AtRestaurant { at, x: 1, y: 2 },
        4 => RiderChange::PickedUp { at, orders: vec![order], expected_at: at.plus_minutes(5) },
        5 => RiderChange::Delivered { at, order, x: 3, y: 4, expected_at: None },
        6 => RiderChange::Released { at, x: 5, y: 6 },
        _ => RiderChange::Idle { at },
    }
}

fn restaurant_change(kind: u8, at: SimTime) -> RestaurantChange {
    let order = OrderId(u32::from(kind) / 4);
    match kind % 4 {
        0 => RestaurantChange::OrderPlaced { at, order },
        1 => RestaurantChange::OrderAccepted { at, order, expected_ready_at: at.plus_minutes(10) },
        2 => RestaurantChange::OrderReady { at, order },
        _ => RestaurantChange::OrderCancelled { at, order },
    }
}

/// Applies a change twice, checking what must hold for every entity.
fn check<E: Entity + std::fmt::Debug>(entity: &mut E, change: &E::Change) -> Result<bool, TestCaseError> {
    let before = entity.clone();
    let Ok(applied) = entity.apply(change) else {
        prop_assert_eq!(&*entity, &before);
        return Ok(false);
    };
    prop_assert_eq!(applied == Applied::Already, *entity == before);
    let after = entity.clone();
    prop_assert_eq!(entity.apply(change), Ok(Applied::Already));
    prop_assert_eq!(&*entity, &after);
    let json = entity.to_hal("http://localhost:8080");
    prop_assert_eq!(&serde_json::from_value::<E>(json).expect("reads its own JSON"), entity);
    Ok(applied == Applied::Changed)
}

proptest! {
    #[test]
    fn orders_hold_together(changes in prop::collection::vec((0u8..9, 0i64..4), 1..40)) {
        let (mut order, _) = Order::changed(None, OrderId(1), &placed()).expect("an order begins by being placed");
        let mut now = minute(0);
        for (kind, minutes) in changes {
            // Some changes come from the past.
            let at = now.plus_minutes(minutes - 1);
            let state = order.state;
            if check(&mut order, &order_change(kind, at))? {
                prop_assert!(at >= now && !state.is_final());
                now = at;
            }
            let times = [
                Some(order.placed_at), order.accepted_at, order.assigned_at, order.rider_at_restaurant_at,
                order.picked_up_at, order.delivered_at,
            ];
            let times: Vec<SimTime> = times.into_iter().flatten().collect();
            prop_assert!(times.is_sorted(), "{:?}", order);
            prop_assert_eq!(order.rider.is_some(), order.assigned_at.is_some());
            prop_assert_eq!(order.state == OrderState::Delivered, order.delivered_at.is_some());
            prop_assert_eq!(order.state == OrderState::Cancelled, order.cancelled_at.is_some());
        }
    }

    #[test]
    fn riders_hold_together(changes in prop::collection::vec((0u8..8, 0i64..4), 1..40)) {
        let joined = RiderChange::Joined {
            at: minute(0),
            name: "Ada B.".to_string(),
            x: 0,
            y: 0,
            on_shift_from: minute(0),
            off_shift_at: minute(100),
        };
        let (mut rider, _) = Rider::changed(None, RiderId(1), &joined).expect("a rider begins by joining");
        for (kind, minutes) in changes {
            let at = rider.state_since.plus_minutes(minutes - 1);
            check(&mut rider, &rider_change(kind, at))?;
            let working =
                matches!(rider.state, RiderState::ToRestaurant | RiderState::Waiting | RiderState::ToCustomer);
            prop_assert_eq!(rider.on_job, working);
            prop_assert_eq!(rider.orders.is_empty(), !working);
            prop_assert_eq!(rider.earliest_unacceptable_at.is_some(), working);
        }
    }

    #[test]
    fn restaurants_hold_together(changes in prop::collection::vec((0u8..12, 0i64..4), 1..40)) {
        let opened = RestaurantChange::Opened { at: minute(0), name: "Basil House".to_string(), x: 0, y: 0 };
        let (mut restaurant, _) =
            Restaurant::changed(None, RestaurantId(1), &opened).expect("a restaurant begins by opening");
        for (kind, minutes) in changes {
            let at = restaurant.updated_at.plus_minutes(minutes - 1);
            check(&mut restaurant, &restaurant_change(kind, at))?;
            prop_assert_eq!(restaurant.open_orders, restaurant.tickets.len());
            prop_assert!(restaurant.late_orders <= restaurant.open_orders);
            prop_assert!(restaurant.oldest_due_at <= restaurant.latest_due_at);
        }
    }
}

#[test]
fn an_entity_does_not_begin_in_the_middle() {
    let error = Order::changed(None, OrderId(3), &OrderChange::Ready { at: minute(1) }).expect_err("unknown");
    assert_eq!(error.to_string(), "apply ready to o3, which does not exist yet");
}

#[test]
fn changes_are_flat_json() {
    let change = OrderChange::Accepted { at: minute(1), expected_ready_at: minute(11) };
    let json = serde_json::json!({
        "change": "accepted", "at": "2026-01-05T00:01:00Z", "expected_ready_at": "2026-01-05T00:11:00Z",
    });
    assert_eq!(serde_json::to_value(&change).expect("serialises"), json);
    assert_eq!(serde_json::from_value::<OrderChange>(json).expect("reads"), change);
    assert_eq!(serde_json::to_value(placed()).expect("serialises")["change"], "placed");
}

#[test]
fn what_is_acceptable_follows_the_quote() {
    for (quoted, acceptable) in [(30, 50), (70, 90), (75, 95), (100, 120)] {
        assert_eq!(acceptable_minutes(quoted), acceptable);
    }
}
