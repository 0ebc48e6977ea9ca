//! Tells that events which a subscription asks for are damaged: none is passed over in silence.

use hob_wire::Condition;

use super::Subscription;
use crate::parts::Lost;

/// The name of the condition.
const CONDITION: &str = "damaged";

/// Events that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// So many; where a whole stretch is lost, as many as may have been asked for.
    pub(crate) events: u64,
    /// The first and the last sequence between which they are.
    between: Option<(u64, u64)>,
}

impl Damage {
    /// That of these stretches.
    pub(crate) fn of(lost: &[Lost]) -> Self {
        let mut damage = Self::default();
        for Lost { gap, events_max } in lost {
            damage.events += events_max;
            damage.widen(gap.first, gap.last);
        }
        damage
    }

    /// One more event.
    pub(crate) fn add(&mut self, sequence: u64) {
        self.events += 1;
        self.widen(sequence, sequence);
    }

    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.events == 0
    }

    /// Whether some of it is after a place of the log.
    pub(crate) fn is_after(&self, at: u64) -> bool {
        self.between.is_some_and(|(_, last)| last > at)
    }

    fn widen(&mut self, first: u64, last: u64) {
        let (least, most) = self.between.unwrap_or((first, last));
        self.between = Some((least.min(first), most.max(last)));
    }
}

impl Subscription {
    /// Tells of damage, when there is any.
    pub(crate) fn tell_damage(&self, damage: &Damage) {
        let Some((first, last)) = damage.between.filter(|_| damage.events > 0) else { return };
        let events = if damage.events == 1 { "1 event" } else { &format!("up to {} events", damage.events) };
        tracing::error!(subscription = %self.key, first, last, "{events} are damaged and passed over");
        let reason = format!(
            "{events} between {first} and {last} cannot be read and were passed over; ask for a snapshot, or fetch what \
             you keep again"
        );
        self.unsaved.tell(&self.key, self.damaged(true, reason));
    }

    /// Tells of damage that a stream's reader came upon.
    pub(crate) async fn count_damage(&self, damage: &Damage) {
        if damage.events > 0 {
            self.tell_damage(damage);
            self.body.lock().await.state.counts.damaged += damage.events;
        }
    }

    /// Its consumer begins anew, and misses nothing by what was damaged before.
    pub(crate) fn begins_anew(&self, why: &str) {
        self.unsaved.tell(&self.key, self.damaged(false, why.to_owned()));
    }

    fn damaged(&self, active: bool, reason: String) -> Condition {
        Condition {
            subject: format!("subscription/{}/{}", self.key.service, self.key.name),
            condition: CONDITION.to_owned(),
            active,
            reason,
            environment: None,
            tenant: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hob_store::Gap;

    use super::*;

    #[test]
    fn damage_adds_up() {
        let mut damage = Damage::of(&[Lost { gap: Gap { first: 10, last: 90 }, events_max: 3 }]);
        damage.add(7);
        damage.add(95);
        assert_eq!(damage, Damage { events: 5, between: Some((7, 95)) });
        assert_eq!(Damage::of(&[]), Damage::default());
    }
}
