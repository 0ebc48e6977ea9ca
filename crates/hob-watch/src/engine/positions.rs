//! Positions: twenty of them come for every other event, so nothing is evaluated while an entity moves as it should.

use hob_core::Timestamp;

use super::cell::Judgement;
use super::{Engine, Output};
use crate::model::{Around, Crossing, Trigger};
use crate::plan::{KindPlan, RulePlan};
use crate::reducers::{Fence, Position, Reducer, Track};
use crate::rows::{Role, Verdict};

impl Engine {
    /// Takes a position.
    pub(super) fn take_position(
        &mut self,
        href: &str,
        kind: &KindPlan,
        position: Position,
        time: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Some(row) = self.entity_mut(href, kind) else { return };
        match &mut row.place {
            Some(place) if time < place.1 => {}
            Some(place) => **place = (position, time),
            None => row.place = Some(Box::new((position, time))),
        }
        for plan in &kind.positions {
            let Some(row) = self.state.entities.get_mut(href) else { return };
            let cell = row.cells.get(plan.number, Role::Subject).map(|cell| cell.verdict);
            let says = match (&plan.rule.trigger, row.reducers.get_mut(plan.number)) {
                (Trigger::Stopped { metres, held, .. }, Some(Reducer::Track(track))) => {
                    track.moved(*metres, position, time);
                    Some(track.last.since(track.since) >= *held)
                }
                (Trigger::Stopped { .. }, _) => {
                    row.reducers.set(plan.number, Reducer::Track(Track::new(position, time)));
                    None
                }
                (Trigger::Fence { metres, crossing, .. }, Some(Reducer::Fence(fence))) => {
                    fence.moved(*metres, position, time);
                    Some(fence.is(*crossing))
                }
                _ => None,
            };
            let matters = match (cell, says) {
                (Some(Verdict::True), Some(is)) => !is,
                (Some(Verdict::False), Some(is)) => is,
                _ => true,
            };
            if matters {
                self.judge(plan, href, out);
            }
        }
    }

    pub(super) fn judge_fence(
        &mut self,
        plan: &RulePlan,
        href: &str,
        metres: u32,
        crossing: Crossing,
    ) -> Judgement {
        let Some(around) = self.around(plan, href) else {
            return Judgement::unknown("it is not known where the circle is".to_owned());
        };
        let Some(row) = self.state.entities.get_mut(href) else {
            return Judgement::unknown("nothing is known".to_owned());
        };
        let known = match row.reducers.get(plan.number) {
            Some(Reducer::Fence(fence)) if fence.around == around => Some(*fence),
            _ => None,
        };
        let fence = known.or_else(|| {
            // Another circle: what is known is the newest position.
            let (position, time) = **row.place.as_ref()?;
            let fence = Fence::new(around, metres, position, time)?;
            row.reducers.set(plan.number, Reducer::Fence(fence));
            Some(fence)
        });
        let Some(fence) = fence else { return Judgement::unknown("no position is known yet".to_owned()) };
        let verdict = if fence.is(crossing) { Verdict::True } else { Verdict::False };
        Judgement { begun: (verdict == Verdict::True).then_some(fence.since), ..Judgement::plain(verdict) }
    }

    /// The middle of a rule's circle.
    pub(super) fn around(&self, plan: &RulePlan, href: &str) -> Option<Position> {
        let Trigger::Fence { around, .. } = &plan.rule.trigger else { return None };
        match around {
            Around::Relation(relation) => Position::of_fields(self.fields(&plan.rule, href, relation)?),
            Around::Field(path) => Position::read(&self.field(&plan.rule, href, path)?),
        }
    }
}
