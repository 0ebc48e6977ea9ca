//! One minute's decision: read what there is, decide, tell the city, and decide again without what it refused.

use std::collections::{BTreeMap, BTreeSet};

use hob_sdk::core::Digest;
use hob_sdk::{Cache, Cached, Client, ClientError, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use takeaway_domain::{Decided, Decision, Job};
use takeaway_world::{
    Assignment, DispatchView, Entity, Order, Refusal, Restaurant, RestaurantId, Rider, SimTime, decide,
};

use crate::known::Known;

/// How often a minute is decided anew because something was refused.
const ROUNDS_MAX: usize = 4;
/// States of orders that are not finished.
const OPEN: &str = "placed,accepted,assigned,picked_up";

/// What dispatch has at hand.
pub(crate) struct Dispatch {
    pub(crate) client: Client,
    pub(crate) cache: Cache,
    pub(crate) known: Known,
    /// How fast riders ride, in metres a minute; the city says so.
    pub(crate) speed: Option<f64>,
    /// The last minute that was decided.
    pub(crate) decided: Option<SimTime>,
}

impl Dispatch {
    /// Lists what there is, and returns the city's present minute.
    pub(crate) async fn begin(&mut self) -> Result<SimTime, ClientError> {
        self.known.orders = self.list(&format!("/orders?limit=1000&state={OPEN}")).await?;
        self.known.riders = self.list("/riders?limit=1000").await?;
        let status: Value = self.client.get(&self.client.href("/city/status")).await?.json()?;
        self.speed = status["metres_per_minute"].as_f64();
        self.decided = None;
        let now = status["simulated_time"].as_str().and_then(|text| text.parse::<SimTime>().ok());
        let now = now.unwrap_or(SimTime::from_seconds(0));
        Ok(now.plus_seconds(-now.seconds().rem_euclid(60)))
    }

    async fn list(&self, path: &str) -> Result<BTreeSet<String>, ClientError> {
        let mut hrefs = BTreeSet::new();
        let mut target = Some(self.client.href(path));
        while let Some(page) = target {
            let page: Value = self.client.get(&page).await?.json()?;
            let items = page["items"].as_array().into_iter().flatten();
            hrefs.extend(items.filter_map(|item| item["_links"]["self"]["href"].as_str().map(str::to_owned)));
            target = page["_links"]["next"]["href"].as_str().map(|next| self.client.href(next));
        }
        Ok(hrefs)
    }

    /// Decides a minute, unless it was decided before.
    pub(crate) async fn minute(&mut self, minute: SimTime) -> Result<(), ClientError> {
        if self.decided.is_some_and(|decided| decided >= minute) {
            return Ok(());
        }
        let mut view = self.view().await?;
        for round in 0..ROUNDS_MAX {
            let plan = decide(&view, minute);
            // A minute without jobs is told too, so that the city does not wait for us.
            if plan.is_empty() && round > 0 {
                break;
            }
            let decided = self.tell(minute, &plan).await?;
            if !without(&mut view, &plan, &decided.refusals) {
                break;
            }
        }
        self.decided = Some(minute);
        Ok(())
    }

    async fn view(&mut self) -> Result<DispatchView, ClientError> {
        let orders: Vec<Order> = read(&self.cache, &self.known.orders).await?;
        for order in orders.iter().filter(|order| order.state.is_final()) {
            self.known.orders.remove(&self.client.href(&format!("/orders/{}", order.id)));
        }
        let riders: Vec<Rider> = read(&self.cache, &self.known.riders).await?;
        let waiting = orders.iter().filter(|order| order.rider.is_none() && !order.state.is_final());
        let href = |order: &Order| self.client.href(&format!("/restaurants/{}", order.restaurant));
        let hrefs: BTreeSet<String> = waiting.map(href).collect();
        let restaurants: Vec<Restaurant> = read(&self.cache, &hrefs).await?;
        let restaurants: BTreeMap<RestaurantId, Restaurant> =
            restaurants.into_iter().map(|restaurant| (restaurant.id(), restaurant)).collect();
        let speed = self.speed.unwrap_or(320.0);
        Ok(DispatchView::of(&orders, &riders, |id| restaurants.get(&id), speed))
    }

    async fn tell(&self, minute: SimTime, plan: &[Assignment]) -> Result<Decided, ClientError> {
        let job =
            |assignment: &Assignment| Job { rider: assignment.rider, orders: assignment.orders.clone() };
        let jobs: Vec<Job> = plan.iter().map(job).collect();
        // The same jobs for the same minute are the same decision, also when we were restarted in between.
        let digest = Digest::of(format!("{jobs:?}").as_bytes()).to_string();
        let id = format!("{minute}-{digest}");
        let decision = Decision { id, minute, jobs, interventions: Vec::new() };
        let target = self.client.href("/city/assignments");
        loop {
            let answer =
                self.client.send(Request::post(&target).json(&decision).repeatable()).await?.success()?;
            // 202: the city has taken it and not come to it yet; asking again waits again.
            if answer.status.as_u16() != 202 {
                return answer.json();
            }
        }
    }
}

/// Takes out of the view what is settled: what was given, and what a refusal names. Whether anything was refused.
fn without(view: &mut DispatchView, plan: &[Assignment], refusals: &[Option<Refusal>]) -> bool {
    let mut any = false;
    for (job, refusal) in plan.iter().zip(refusals) {
        any |= refusal.is_some();
        let (orders, rider_too) = match refusal {
            None => (job.orders.clone(), true),
            Some(Refusal::Blocked { orders }) => (orders.clone(), false),
            Some(Refusal::OrderNotWaiting { order } | Refusal::UnknownOrder { order }) => {
                (vec![*order], false)
            }
            Some(Refusal::RiderNotIdle { .. } | Refusal::UnknownRider { .. }) => (Vec::new(), true),
            Some(_) => (job.orders.clone(), true),
        };
        view.orders.retain(|order| !orders.contains(&order.id));
        view.riders.retain(|rider| !(rider_too && rider.id == job.rider));
    }
    any
}

/// The entities at `hrefs`; those that are gone are left out.
async fn read<T: DeserializeOwned>(cache: &Cache, hrefs: &BTreeSet<String>) -> Result<Vec<T>, ClientError> {
    let hrefs: Vec<String> = hrefs.iter().cloned().collect();
    let reads: Result<Vec<Cached>, ClientError> = cache.get_many(&hrefs).await.into_iter().collect();
    reads?.iter().filter(|cached| cached.status.is_success()).map(Cached::json).collect()
}

#[cfg(test)]
mod tests {
    use takeaway_world::{IdleRider, OrderId, Point, RiderId, WaitingOrder};

    use super::*;

    fn view() -> DispatchView {
        let order = |id| WaitingOrder {
            id: OrderId(id),
            restaurant: RestaurantId(1),
            from: Point { x: 0, y: 0 },
            to: Point { x: 0, y: 0 },
            placed_at: SimTime::from_minutes(0),
            expected_ready_at: SimTime::from_minutes(0),
        };
        let rider = |id| IdleRider {
            id: RiderId(id),
            at: Point { x: 0, y: 0 },
            off_shift_at: SimTime::from_minutes(600),
        };
        let (orders, riders) = ((1..=4).map(order).collect(), (1..=3).map(rider).collect());
        DispatchView { orders, riders, metres_per_minute: 320.0 }
    }

    #[test]
    fn what_is_settled_is_not_decided_again() {
        let job = |rider, orders: &[u32]| Assignment {
            rider: RiderId(rider),
            orders: orders.iter().map(|id| OrderId(*id)).collect(),
        };
        let plan = [job(1, &[1]), job(2, &[2, 3]), job(3, &[4])];
        let refusals = [
            None,
            Some(Refusal::Blocked { orders: vec![OrderId(2)] }),
            Some(Refusal::RiderNotIdle { rider: RiderId(3) }),
        ];
        let mut view = view();
        assert!(without(&mut view, &plan, &refusals));
        assert_eq!(view.orders.iter().map(|order| order.id.0).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(view.riders.iter().map(|rider| rider.id.0).collect::<Vec<_>>(), [2]);
        assert!(!without(&mut view, &[job(2, &[3])], &[None]));
        assert_eq!((view.orders.len(), view.riders.len()), (1, 0));
    }
}
