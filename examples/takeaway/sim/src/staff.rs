//! The people of live operations: each looks at one thing at a time, finds what can be mended there, and mends it.

use std::collections::BTreeMap;

use takeaway_world::{ClosedLoop, Illegal, OrderId, OrderState, Output, SimTime};

use crate::open_orders::OpenOrders;
use crate::platform::Platform;

/// Seconds that one investigation takes one person.
const INVESTIGATION_SECONDS: i64 = 90;
/// How often somebody who has nothing to do looks whether there is something, in seconds.
const LOOK_SECONDS: i64 = 30;
/// Open orders at the peak of the day for each person.
const ORDERS_PER_OPERATOR: usize = 100;
/// Seconds from placing after which an order looks old to somebody who scans the table.
const SCAN_AGE_SECONDS: i64 = 30 * 60;
/// Seconds from placing after which an order without a rider looks odd to them.
const SCAN_UNASSIGNED_SECONDS: i64 = 10 * 60;
/// Seconds for which they leave alone what they have looked at.
const SCAN_AGAIN_SECONDS: i64 = 10 * 60;

/// How many people a day needs whose peak had so many open orders.
pub(crate) fn operators_for(peak: usize) -> usize {
    peak.div_ceil(ORDERS_PER_OPERATOR).max(1)
}

/// The people at work.
#[derive(Debug)]
pub(crate) struct Staff {
    /// Until when each is busy.
    busy_until: Vec<SimTime>,
    /// When each order of the table was last looked at.
    scanned: BTreeMap<OrderId, SimTime>,
    /// How often somebody opened an order or an issue.
    pub(crate) investigations: u64,
    /// In how many of these there was something to mend.
    pub(crate) fruitful: u64,
    /// Both by rule, where people follow issues.
    pub(crate) looked_at: BTreeMap<String, (u64, u64)>,
}

impl Staff {
    pub(crate) fn new(operators: usize) -> Self {
        let busy_until = vec![SimTime::from_seconds(i64::MIN); operators];
        Self {
            busy_until,
            scanned: BTreeMap::new(),
            investigations: 0,
            fruitful: 0,
            looked_at: BTreeMap::new(),
        }
    }

    /// How many people have nothing to do, at the moments when they look for something.
    pub(crate) fn free(&self, now: SimTime) -> usize {
        if now.seconds() % LOOK_SECONDS != 0 {
            return 0;
        }
        self.busy_until.iter().filter(|until| **until <= now).count()
    }

    /// Somebody who is free looks at orders that belong together and mends what can be mended of them. Returns what that
    /// made happen.
    pub(crate) fn investigate(
        &mut self,
        city: &mut ClosedLoop,
        orders: &[OrderId],
    ) -> Result<Vec<Output>, Illegal> {
        let now = city.world.now();
        if let Some(until) = self.busy_until.iter_mut().find(|until| **until <= now) {
            *until = now.plus_seconds(INVESTIGATION_SECONDS);
        }
        let (found, outputs) = mend(city, orders)?;
        self.investigations += 1;
        self.fruitful += u64::from(found);
        Ok(outputs)
    }

    /// Everybody who is free takes the most pressing issue and looks at its orders.
    pub(crate) fn follow(
        &mut self,
        city: &mut ClosedLoop,
        platform: &mut Platform,
    ) -> Result<Vec<Output>, Illegal> {
        let mut happened = Vec::new();
        for _ in 0..self.free(city.world.now()) {
            let Some(issue) = platform.most_pressing().cloned() else { break };
            platform.acknowledge(&issue.id);
            let fruitful = self.fruitful;
            let done = self.investigate(city, &Platform::orders_of(&issue))?;
            let looked = self.looked_at.entry(issue.rule).or_default();
            looked.0 += 1;
            looked.1 += self.fruitful - fruitful;
            platform.tell(&done, &city.entities);
            happened.extend(done);
        }
        Ok(happened)
    }

    /// Everybody who is free opens the oldest order of the table that looks slow and was not looked at lately.
    pub(crate) fn scan(&mut self, city: &mut ClosedLoop, open: &OpenOrders) -> Result<Vec<Output>, Illegal> {
        let now = city.world.now();
        let mut happened = Vec::new();
        for _ in 0..self.free(now) {
            let Some(order) = open.iter().find(|order| self.looks_slow(city, *order)) else { break };
            self.scanned.insert(order, now);
            happened.extend(self.investigate(city, &[order])?);
        }
        Ok(happened)
    }

    fn looks_slow(&self, city: &ClosedLoop, id: OrderId) -> bool {
        let now = city.world.now();
        let Some(order) = city.entities.orders.get(&id) else { return false };
        let age = now.seconds_since(order.placed_at);
        let is_unassigned = matches!(order.state, OrderState::Placed | OrderState::Accepted);
        let slow = age > SCAN_AGE_SECONDS || is_unassigned && age > SCAN_UNASSIGNED_SECONDS;
        let seen = self.scanned.get(&id);
        slow && seen.is_none_or(|seen| now.seconds_since(*seen) >= SCAN_AGAIN_SECONDS)
    }
}

/// Mends what can be mended of orders; whether there was anything, and what that made happen.
fn mend(city: &mut ClosedLoop, orders: &[OrderId]) -> Result<(bool, Vec<Output>), Illegal> {
    let mut found = false;
    let mut outputs = Vec::new();
    for order in orders {
        for remedy in city.world.remedies(*order) {
            // A remedy may have been overtaken by the one before it: then there is nothing left to mend.
            if let Ok(done) = city.world.apply(&remedy) {
                found = true;
                city.know(&done)?;
                outputs.extend(done);
            }
        }
    }
    Ok((found, outputs))
}
