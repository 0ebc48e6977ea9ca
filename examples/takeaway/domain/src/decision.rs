//! What dispatch tells the city each simulated minute, and what the city answers: `POST /city/assignments`.

use serde::{Deserialize, Serialize};
use takeaway_world::{Input, OrderId, Refusal, RiderId, SimTime};

/// The jobs that dispatch gives for a minute; none when there is nothing to give, so that the city knows that dispatch
/// keeps up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Makes it known when it comes again.
    pub id: String,
    /// The minute that it is for.
    pub minute: SimTime,
    /// In the order in which they are to be given.
    pub jobs: Vec<Job>,
    /// What operators want done: the city's own, never dispatch's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Input>,
}

/// A job for a rider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Who.
    pub rider: RiderId,
    /// Which orders, all of one restaurant.
    pub orders: Vec<OrderId>,
}

/// What became of a decision's jobs and interventions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// For each, in this order, why it was refused, or nothing when it was given.
    pub refusals: Vec<Option<Refusal>>,
}
