//! The worker's loop: takes what dispatch decided, takes a step when it is due, tells the platform, keeps how far it is.

use std::time::Duration;

use hob_sdk::OutboxError;
use takeaway_domain::{Decided, Decision};
use takeaway_world::{Input, Output, STEP_SECONDS, SimTime, World};
use tokio::time::Instant;

use crate::pace::{Next, Pace};
use crate::rows::{Recorded, Rows};
use crate::settings::Settings;
use crate::status::{Beside, Status, Truth};
use crate::tell::City;

/// Limits of the pause between looks at what dispatch has sent; in between, a sixth of a step.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// How often the status is kept while time stands still.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How often it is said that another day than the one in the data directory was asked for.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// A city at play.
struct Play {
    rows: Rows,
    city: City,
    world: World,
    pace: Pace,
    started: Instant,
    status_at: Instant,
    beside: Beside,
    /// The last minute that dispatch has decided.
    decided: SimTime,
    /// What is shown of the truth no longer is all of it.
    truth_is_old: bool,
}

/// Plays the day to its end, and then goes on answering.
///
/// # Errors
/// When the city's file cannot be used.
pub(crate) async fn play(settings: Settings, rows: Rows, city: City) -> Result<(), OutboxError> {
    let kept = rows.begin(&settings.identity).await?.identity;
    if kept != settings.identity {
        complain(&kept, &settings.identity).await;
    }
    let mut play = resume(&settings, rows, city).await?;
    tracing::info!(play = settings.identity, time = %play.world.now(), speed = settings.speed, "the day goes on");
    play.show().await?;
    loop {
        let pause = play.go_on().await?;
        tokio::time::sleep(pause).await;
    }
}

/// Says for ever that nothing is played, because the file holds another day than was asked for. Nothing of it changes.
async fn complain(kept: &str, asked: &str) -> ! {
    loop {
        tracing::error!(
            kept,
            asked,
            "the data directory holds another day: go on with its DAY, SEED and FAULTS, or choose an empty directory (make up DATA=…)"
        );
        tokio::time::sleep(COMPLAIN_EVERY).await;
    }
}

async fn resume(settings: &Settings, rows: Rows, city: City) -> Result<Play, OutboxError> {
    let kept = rows.begin(&settings.identity).await?;
    let taken = rows.taken().await?;
    // What was taken at the present moment is taken again below, because it may not have been told.
    let before = taken.iter().filter(|recorded| recorded.step.is_some_and(|step| step < kept.steps));
    let inputs: Vec<(u64, Input)> = before
        .flat_map(|recorded| inputs(&recorded.decision).map(|input| (recorded.step.unwrap_or(0), input)))
        .collect();
    let world = World::replay(&settings.day, settings.seed, settings.faults, &inputs, kept.steps);
    let decided = taken.iter().map(|recorded| recorded.decision.minute).max();
    let mut play = Play {
        decided: decided.unwrap_or(world.starts_at()).max(world.starts_at()),
        pace: Pace::new(settings.speed, Duration::ZERO, kept.held_seconds),
        started: Instant::now(),
        status_at: Instant::now(),
        beside: Beside { speed: settings.speed, play: settings.identity.clone(), ..Beside::default() },
        rows,
        city,
        world,
        truth_is_old: true,
    };
    let now = play.world.steps();
    for recorded in taken.iter().filter(|recorded| recorded.step == Some(now)) {
        play.take(recorded).await?;
    }
    Ok(play)
}

fn inputs(decision: &Decision) -> impl Iterator<Item = Input> + '_ {
    let jobs = decision.jobs.iter();
    let jobs = jobs.map(|job| Input::Assign { rider: job.rider, orders: job.orders.clone() });
    jobs.chain(decision.interventions.iter().cloned())
}

impl Play {
    /// Does what can be done now; how long to pause until there may be more.
    async fn go_on(&mut self) -> Result<Duration, OutboxError> {
        self.look().await?;
        let step = Duration::from_secs_f64(STEP_SECONDS as f64 / self.beside.speed);
        let look = (step / 6).clamp(LOOK_MIN, LOOK_MAX);
        if self.world.ended() {
            return Ok(LOOK_MAX);
        }
        // The minute after the last one decided is the one that dispatch owes us.
        let lag = self.world.now().seconds_since(self.decided.plus_minutes(1)) as f64;
        let next = self.pace.next(self.started.elapsed(), lag);
        self.beside.holding = (next == Next::Hold)
            .then(|| format!("dispatch has not decided {}", self.decided.plus_minutes(1)));
        match next {
            Next::Wait(early) => Ok(early.min(look)),
            Next::Hold => {
                if self.status_at.elapsed() >= STATUS_EVERY {
                    self.show().await?;
                }
                Ok(look)
            }
            Next::Step => {
                self.step().await?;
                Ok(Duration::ZERO)
            }
        }
    }

    async fn step(&mut self) -> Result<(), OutboxError> {
        let outputs = self.world.step(&[]);
        self.note(&outputs);
        let cause = format!("s{}", self.world.steps());
        self.beside.refused += self.city.changes(&outputs, &cause).await;
        self.city.tick(&outputs, self.world.now()).await;
        self.show().await?;
        if self.world.ended() {
            let figures = self.world.figures();
            tracing::info!(
                delivered = figures.delivered,
                late = figures.late,
                cancelled = figures.cancelled,
                "the day has ended"
            );
        }
        Ok(())
    }

    /// Takes the decisions that have come. One that was taken at a step still ahead, because the power failed after it,
    /// waits for that step, so that everything comes out as it did.
    async fn look(&mut self) -> Result<(), OutboxError> {
        let now = self.world.steps();
        for recorded in self.rows.open_decisions().await? {
            match recorded.step {
                Some(step) if step > now => {}
                Some(_) => self.take(&recorded).await?,
                None => {
                    self.rows.take(&recorded, now).await?;
                    self.take(&recorded).await?;
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, recorded: &Recorded) -> Result<(), OutboxError> {
        let mut refusals = Vec::new();
        let mut outputs = Vec::new();
        for input in inputs(&recorded.decision) {
            match self.world.apply(&input) {
                Ok(done) => {
                    outputs.extend(done);
                    refusals.push(None);
                }
                Err(refusal) => refusals.push(Some(refusal)),
            }
        }
        self.note(&outputs);
        self.beside.refused += self.city.changes(&outputs, &format!("d{}", recorded.number)).await;
        self.decided = self.decided.max(recorded.decision.minute);
        self.rows.decided(recorded.number, &Decided { refusals }).await
    }

    fn note(&mut self, outputs: &[Output]) {
        let is_truth = |output: &Output| matches!(output, Output::FaultStarted(_) | Output::FaultEnded(_));
        self.truth_is_old |= outputs.iter().any(is_truth);
    }

    /// Keeps how far the day is, for a restart and for whoever asks.
    async fn show(&mut self) -> Result<(), OutboxError> {
        self.beside.held_seconds = self.pace.held_seconds(self.started.elapsed());
        let status = Status::of(&self.world, &self.beside);
        let origin = self.city.origin();
        let truth: Option<Vec<Truth>> = self
            .truth_is_old
            .then(|| self.world.truth().iter().map(|fault| Truth::of(fault, &origin)).collect());
        self.rows.progress(self.world.steps(), &status, truth.as_deref()).await?;
        self.truth_is_old = false;
        self.status_at = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
