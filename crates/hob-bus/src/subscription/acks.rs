//! What an acknowledgement may say, and how one that is wrong is refused.

use std::time::Duration;

use hob_core::{Timestamp, random_bytes};
use hob_wire::{Ack, DeliveryError};

use super::{Body, Subscription};
use crate::error::Error;
use crate::model::limits::{LEASE_MAX, NACK_DELAY_MAX, PULL_EVENTS_MAX};
use crate::step::{AckInput, Action, Input, Refusal, STREAM_LEASE};

/// Letters of a nack's reason that are kept.
const REASON_LETTERS_MAX: usize = 500;
/// What a nack without a reason says.
const NO_REASON: &str = "its consumer gave it back without a reason";

impl Subscription {
    pub(crate) async fn ack(&self, ack: Ack, head: u64, now: Timestamp) -> Result<(), Error> {
        let lease = ack.lease.clone();
        let input = self.ack_input(ack, head, now)?;
        let error = match &input {
            Input::Ack(ack) => ack.nacked.last().map(|(_, _, error)| error.clone()),
            _ => None,
        };
        let mut body = self.body.lock().await;
        self.check_alive()?;
        self.told(&mut body, input, lease, now)?;
        body.last_error = error.or(body.last_error.take());
        Ok(())
    }

    /// Takes in how something went, or says why not.
    pub(super) fn told(
        &self,
        body: &mut Body,
        input: Input,
        lease: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        for action in self.step(body, input, now) {
            if let Action::Refuse(refusal) = action {
                return Err(self.refusal(refusal, lease));
            }
        }
        Ok(())
    }

    fn ack_input(&self, ack: Ack, head: u64, now: Timestamp) -> Result<Input, Error> {
        let upto = ack.upto.as_deref().map(|text| {
            text.parse::<u64>()
                .map_err(|_| self.bad_ack(format!("upto is {text:?}; use an event's sequence")))
        });
        let upto = upto.transpose()?;
        if ack.lease == STREAM_LEASE {
            return match (upto, ack.ack.is_empty() && ack.nack.is_empty() && ack.extend_ms.is_none()) {
                (Some(upto), true) => Ok(Input::AckStream { upto, head }),
                _ => {
                    Err(self
                        .bad_ack("a stream's reader acknowledges with upto alone; pull for more".to_owned()))
                }
            };
        }
        if ack.ack.len() + ack.nack.len() > PULL_EVENTS_MAX {
            return Err(
                self.bad_ack(format!("it names more than {PULL_EVENTS_MAX} events, more than one lease has"))
            );
        }
        let delay_max = NACK_DELAY_MAX.as_millis() as u64;
        if let Some(nack) = ack.nack.iter().find(|nack| nack.delay_ms.unwrap_or(0) > delay_max) {
            return Err(self.bad_ack(format!("delay_ms of {} is over the limit of {delay_max}", nack.id)));
        }
        let extend_max = LEASE_MAX.as_millis() as u64;
        if ack.extend_ms.is_some_and(|extend| extend > extend_max) {
            return Err(
                self.bad_ack(format!("extend_ms is over the limit of {extend_max}; extend again in time"))
            );
        }
        let nacked = ack.nack.into_iter().map(|nack| {
            let detail = nack.reason.map_or(NO_REASON.to_owned(), |reason| shorten(&reason));
            let error = DeliveryError { time: now, status: None, detail, subject: None };
            (nack.id, nack.delay_ms.map(Duration::from_millis), error)
        });
        Ok(Input::Ack(AckInput {
            lease: ack.lease,
            upto,
            acked: ack.ack,
            nacked: nacked.collect(),
            extend_to: ack.extend_ms.map(|millis| now.plus(Duration::from_millis(millis))),
            luck: luck(),
        }))
    }

    fn refusal(&self, refusal: Refusal, lease: String) -> Error {
        let problem = match refusal {
            Refusal::NotHeld => return Error::LeaseNotHeld { name: self.key.name.clone(), lease },
            Refusal::Leased => {
                "a puller holds a lease; a stream's reader waits until that has ended".to_owned()
            }
            Refusal::Unknown(id) => format!("no event of the lease has id {id:?}; use the ids of its batch"),
            Refusal::Ambiguous(id) => {
                format!(
                    "several events of the lease have id {id:?}; name them by their sequence of 20 digits"
                )
            }
            Refusal::Ahead { upto, last } => {
                format!("upto is {upto}, and the last event given is {last}; acknowledge what was given")
            }
            Refusal::NotReady => "what it names may not be handed out now".to_owned(),
        };
        self.bad_ack(problem)
    }

    fn bad_ack(&self, problem: String) -> Error {
        Error::BadAck { name: self.key.name.clone(), problem }
    }
}

/// Randomness for the back-off.
pub(super) fn luck() -> u64 {
    u64::from_le_bytes(random_bytes())
}

/// A text as far as it is kept.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(REASON_LETTERS_MAX).collect()
}
