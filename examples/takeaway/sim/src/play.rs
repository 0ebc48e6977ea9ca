//! One day, played with one way of running its operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_watch::Rules;
use takeaway_world::{ClosedLoop, Day, Figures, Illegal, Order, OrderId, SimTime};

use crate::onset::Onsets;
use crate::open_orders::OpenOrders;
use crate::platform::Platform;
use crate::staff::{Staff, operators_for};

/// How live operations are run.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Nobody looks.
    None,
    /// People scan the table of open orders: whatever is older than 30 minutes or has had no rider for 10, oldest first,
    /// each again after 10 minutes.
    Scan,
    /// These rules open issues, and people follow them.
    Live(Arc<Rules>),
}

/// What is played beside the day.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Of the world's chances.
    pub seed: u64,
    /// Multiplies how often things go wrong: 1 is usual, 0 is never.
    pub fault_scale: f64,
    /// How live operations are run.
    pub mode: Mode,
    /// How many people; one for each 100 open orders at the peak of the day when it is not said.
    pub operators: Option<usize>,
    /// Whether rules are scored too, which plays the day a second time with the rules and nobody who acts.
    pub is_scored: bool,
}

/// What came of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// What has come of its orders.
    pub figures: Figures,
    /// How many people there were.
    pub operators: usize,
    /// The most orders that were open at once.
    pub peak: usize,
    /// How often somebody opened an order or an issue.
    pub investigations: u64,
    /// In how many of these there was something to mend.
    pub fruitful: u64,
    /// Both by rule.
    pub(crate) looked_at: BTreeMap<String, (u64, u64)>,
    /// Records, notices, observations and commands that the engine took.
    pub taken: u64,
    /// The same day with the same rules and nobody who acts.
    pub(crate) unattended: Option<Unattended>,
}

/// What happens when nobody acts: the truth against which rules are scored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Unattended {
    /// The orders that were never delivered or later than is acceptable, and when each became so.
    pub(crate) unacceptable: BTreeMap<OrderId, SimTime>,
    /// When each rule first flagged an order.
    pub(crate) flags: BTreeMap<String, BTreeMap<OrderId, SimTime>>,
    /// Issues that opened, by rule.
    pub(crate) opened: BTreeMap<String, u64>,
    /// When what was wrong with an order began.
    pub(crate) onsets: Onsets,
    /// The most orders that were open at once.
    pub(crate) peak: usize,
}

/// Plays a day to its end.
///
/// # Errors
/// When the world says something that does not fit its entity, which is a flaw of the world.
pub fn play(day: &Day, setting: &Setting) -> Result<Played, Illegal> {
    let rules = match &setting.mode {
        Mode::Live(rules) => Some(rules),
        Mode::None | Mode::Scan => None,
    };
    let is_scored = setting.is_scored && rules.is_some();
    let is_staffed = !matches!(setting.mode, Mode::None);
    let unattended = match is_scored || is_staffed && setting.operators.is_none() {
        true => Some(unattended(day, setting, rules.filter(|_| is_scored))?),
        false => None,
    };
    let operators = match (is_staffed, setting.operators, &unattended) {
        (false, _, _) => 0,
        (true, Some(operators), _) => operators,
        (true, None, idle) => operators_for(idle.as_ref().map_or(0, |idle| idle.peak)),
    };
    let mut city = ClosedLoop::new(day, setting.seed, setting.fault_scale);
    let mut platform = rules.map(|rules| Platform::new(rules, city.world.now()));
    let mut open = OpenOrders::default();
    let mut staff = Staff::new(operators);
    while !is_over(&city) {
        let happened = city.step()?;
        open.note(&happened);
        if let Some(platform) = &mut platform {
            platform.tell(&happened, &city.entities);
            platform.tick(city.world.now());
            staff.follow(&mut city, platform)?;
        } else if is_staffed {
            staff.scan(&mut city, &open)?;
        }
    }
    Ok(Played {
        figures: city.world.figures(),
        operators,
        peak: open.peak,
        investigations: staff.investigations,
        fruitful: staff.fruitful,
        looked_at: staff.looked_at,
        taken: platform.map_or(0, |platform| platform.taken),
        unattended: unattended.filter(|_| is_scored),
    })
}

fn is_over(city: &ClosedLoop) -> bool {
    city.world.settled() || city.world.ended()
}

/// Plays the day with nobody who acts; with rules, they are heard and nothing follows.
fn unattended(day: &Day, setting: &Setting, rules: Option<&Arc<Rules>>) -> Result<Unattended, Illegal> {
    let mut city = ClosedLoop::new(day, setting.seed, setting.fault_scale);
    let mut platform = rules.map(|rules| Platform::new(rules, city.world.now()));
    let mut open = OpenOrders::default();
    let mut onsets = Onsets::default();
    while !is_over(&city) {
        let happened = city.step()?;
        open.note(&happened);
        onsets.note(&happened, &city.entities);
        if let Some(platform) = &mut platform {
            platform.tell(&happened, &city.entities);
            platform.tick(city.world.now());
        }
    }
    let bad = city.entities.orders.values().filter(|order| is_unacceptable(order));
    let (flags, opened) = platform.map(|platform| (platform.flags, platform.opened)).unwrap_or_default();
    Ok(Unattended {
        unacceptable: bad.map(|order| (order.id, order.unacceptable_at)).collect(),
        flags,
        opened,
        onsets,
        peak: open.peak,
    })
}

fn is_unacceptable(order: &Order) -> bool {
    order.delivered_at.is_none_or(|at| at > order.unacceptable_at)
}
