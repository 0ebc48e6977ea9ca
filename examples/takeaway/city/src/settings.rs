//! Which day is played, and how: `DAY`, `SEED`, `SPEED` and `FAULTS`.

use std::path::PathBuf;

use hob_sdk::core::Digest;
use hob_sdk::{Config, ConfigError};
use takeaway_world::{Day, DayError, GenerateOptions};

/// The fastest that time may pass; beyond it a step would be shorter than a timer's tick.
const SPEED_MAX: f64 = 10_000.0;

/// What is played.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) day: Day,
    pub(crate) seed: u64,
    /// Simulated seconds for each real one.
    pub(crate) speed: f64,
    /// Multiplies the rates of faults.
    pub(crate) faults: f64,
    /// Tells this play from another: everything on which the world depends.
    pub(crate) identity: String,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Day(#[from] DayError),
    #[error("use {name}={value}: it takes a number {rule}")]
    Range { name: &'static str, value: f64, rule: &'static str },
}

impl Settings {
    /// Reads the settings, and the day from its folder; makes one up when none is named.
    pub(crate) fn read(config: &Config) -> Result<Self, Error> {
        let seed = config.setting("SEED")?.unwrap_or(1);
        let speed = config.setting("SPEED")?.unwrap_or(60.0);
        let faults = config.setting("FAULTS")?.unwrap_or(1.0);
        if !(speed > 0.0 && speed <= SPEED_MAX) {
            return Err(Error::Range { name: "SPEED", value: speed, rule: "above 0 and at most 10000" });
        }
        if !(0.0..=100.0).contains(&faults) {
            return Err(Error::Range { name: "FAULTS", value: faults, rule: "from 0 to 100" });
        }
        let day = match config.setting::<PathBuf>("DAY")? {
            Some(folder) => Day::read(&folder)?,
            None => Day::generate(seed, GenerateOptions::default()),
        };
        Ok(Self::of(day, seed, speed, faults))
    }

    pub(crate) fn of(day: Day, seed: u64, speed: f64, faults: f64) -> Self {
        let files = day.to_files();
        let text = [files.orders, files.couriers, files.restaurants, files.parameters].join("\n");
        let digest = Digest::of(text.as_bytes()).to_string();
        let short: String = digest.trim_start_matches("sha256:").chars().take(10).collect();
        let identity = format!("day {short}, seed {seed}, faults {faults}");
        Self { day, seed, speed, faults, identity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Settings, Error> {
        let least = [
            ("HOB_TOKEN", "t"),
            ("HOB_SERVICE", "city"),
            ("HOB_ENVIRONMENT", "demo"),
            ("HOB_TENANT", "uk"),
            ("DATA_DIR", "/nowhere"),
        ];
        let vars = least.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&Config::from_vars(vars).unwrap())
    }

    #[test]
    fn a_day_is_made_up_from_the_seed_and_plays_are_told_apart() {
        let usual = read(&[("DAY", ""), ("SEED", "1"), ("SPEED", "60")]).unwrap();
        assert!(!usual.day.orders.is_empty());
        assert_eq!(usual.identity, read(&[("SPEED", "300")]).unwrap().identity);
        assert_ne!(usual.identity, read(&[("SEED", "2")]).unwrap().identity);
        assert_ne!(usual.identity, read(&[("FAULTS", "0")]).unwrap().identity);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in
            [("SPEED", "0"), ("SPEED", "fast"), ("FAULTS", "-1"), ("SEED", "-1"), ("DAY", "/nowhere/day")]
        {
            let text = read(&[(name, value)]).unwrap_err().to_string();
            assert!(text.contains(name) || text.contains("/nowhere/day"), "{text}");
        }
    }
}
