//! The command line of the simulator, and what it names read from disk.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use hob_watch::Rules;
use hob_wire::FileText;
use takeaway_sim::{Mode, Runs, Setting};
use takeaway_world::{Day, GenerateOptions};

use crate::failure::Failure;

/// Runs in one call, at most: a day and a seed each.
const RUNS_MAX: usize = 100_000;
/// The largest fault scale.
const FAULT_SCALE_MAX: f64 = 100.0;
/// People at most.
const OPERATORS_MAX: usize = 10_000;

const EXAMPLES: &str = "Examples:
  takeaway-sim --mode scan                          a made-up day, people scan the table of orders
  takeaway-sim --day data/0o100t100s1p100 --seed 3 --mode scan --json
  takeaway-sim --day data/0 --day data/1 --seed 1-20 --mode none
                                                    sums over two days and twenty seeds

Exit codes: 0 done, 1 failed, 2 usage, 4 not found";

/// Plays a takeaway's day in simulated time with its live operations, and tells how many investigations an order took and
/// how many orders came unacceptably late.
#[derive(Debug, Parser)]
#[command(name = "takeaway-sim", version, about, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A day in the format of the Meal Delivery Routing Problem; again for more; one is made up when left out
    #[arg(long = "day", value_name = "DIR")]
    days: Vec<PathBuf>,
    /// Of the city's chances: one, or several like 1-20 or 1,4,7
    #[arg(long, default_value = "1", value_name = "N")]
    seed: Seeds,
    /// Multiplies how often things go wrong: 1 is usual, 0 is never
    #[arg(long, default_value_t = 1.0, value_name = "F", allow_negative_numbers = true)]
    fault_scale: f64,
    /// How live operations are run
    #[arg(long, value_enum, default_value_t = ModeChoice::None)]
    mode: ModeChoice,
    /// What rules may do by themselves, in the mode live
    #[arg(long, value_enum, default_value_t = ActionsChoice::None)]
    actions: ActionsChoice,
    /// The rules, in the mode live: a folder of rule files
    #[arg(long, default_value = "examples/takeaway/rules", value_name = "DIR")]
    rules: PathBuf,
    /// Leave the rules' scores out, which take a second playing of each day
    #[arg(long)]
    unscored: bool,
    /// How many people; one for each 100 open orders at the day's peak when left out
    #[arg(long, value_name = "N")]
    operators: Option<usize>,
    /// Answer in JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeChoice {
    /// Nobody looks
    None,
    /// People scan the table: orders older than 30 minutes or 10 without a rider, each again after 10 minutes
    Scan,
    /// Rules open issues, and people follow them
    Live,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ActionsChoice {
    /// Nothing: people do everything
    None,
    /// What their files say
    Auto,
}

/// Seeds as they are written: `3`, `1-20`, `1,4,7-9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds(Vec<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} names no seeds: write 3, 1-20 or 1,4,7");
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| bad());
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let (from, to) = match part.split_once('-') {
                Some((from, to)) => (number(from)?, number(to)?),
                None => (number(part)?, number(part)?),
            };
            if from > to || to - from >= RUNS_MAX as u64 {
                return Err(bad());
            }
            seeds.extend(from..=to);
        }
        Ok(Self(seeds))
    }
}

impl Arguments {
    /// What is to be played.
    pub(crate) fn runs(&self) -> Result<Runs, Failure> {
        if !(0.0..=FAULT_SCALE_MAX).contains(&self.fault_scale) {
            let message = format!("--fault-scale {} is out of place", self.fault_scale);
            return Err(Failure::usage(message).hint(format!("give a number from 0 to {FAULT_SCALE_MAX}")));
        }
        if self.operators.is_some_and(|operators| operators == 0 || operators > OPERATORS_MAX) {
            let message = "--operators is out of place";
            return Err(Failure::usage(message).hint(format!("give a number from 1 to {OPERATORS_MAX}")));
        }
        if self.seed.0.len() * self.days.len().max(1) > RUNS_MAX {
            return Err(Failure::usage(format!("these are more than {RUNS_MAX} runs")));
        }
        if self.actions == ActionsChoice::Auto {
            let message = "--actions auto is not possible yet: the rule engine executes no actions";
            return Err(Failure::usage(message).hint("leave it out, or say --actions none"));
        }
        let mode = match self.mode {
            ModeChoice::None => Mode::None,
            ModeChoice::Scan => Mode::Scan,
            ModeChoice::Live => Mode::Live(Arc::new(read_rules(&self.rules)?)),
        };
        let setting = Setting {
            seed: 0,
            fault_scale: self.fault_scale,
            mode,
            operators: self.operators,
            is_scored: !self.unscored,
        };
        let days = self.days.iter().map(|folder| read_day(folder)).collect::<Result<Vec<_>, _>>()?;
        let days = if days.is_empty() { vec![made_up(self.seed.0[0])] } else { days };
        Ok(Runs { days, seeds: self.seed.0.clone(), setting })
    }
}

/// Every rule file of a folder.
fn read_rules(folder: &Path) -> Result<Rules, Failure> {
    let failed = |error: std::io::Error| {
        let exit =
            if error.kind() == std::io::ErrorKind::NotFound { Failure::not_found } else { Failure::failed };
        exit(format!("failed to read the rules in {}: {error}", folder.display()))
            .hint("name a folder of rule files with --rules")
    };
    let entries =
        std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let is_rules = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yml");
    let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(is_rules).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::not_found(format!("there is no rule file (*.yml) in {}", folder.display())));
    }
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Ok(FileText { file: path.display().to_string(), text })
    };
    let files = paths.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    hob_watch::compile(&files).map_err(|flaws| Failure::flaws(&flaws))
}

fn made_up(seed: u64) -> (String, Day) {
    ("made up".to_owned(), Day::generate(seed, GenerateOptions::default()))
}

fn read_day(folder: &Path) -> Result<(String, Day), Failure> {
    if !folder.is_dir() {
        let message = format!("there is no day {}", folder.display());
        return Err(
            Failure::not_found(message).hint("a day is a folder with orders.txt and three other files")
        );
    }
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    Ok((name, Day::read(folder)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_numbers_lists_and_ranges() {
        assert_eq!("3".parse(), Ok(Seeds(vec![3])));
        assert_eq!("1,4,7-9".parse(), Ok(Seeds(vec![1, 4, 7, 8, 9])));
        for bad in ["", "a", "3-1", "1,,2", "-1", "0-99999999999"] {
            assert!(bad.parse::<Seeds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let runs = |more: &[&str]| Arguments::parse_from([&["takeaway-sim"], more].concat()).runs();
        assert_eq!(runs(&["--seed", "1-3"]).unwrap().count(), 3);
        for bad in [&["--fault-scale", "-1"][..], &["--fault-scale", "NaN"], &["--operators", "0"]] {
            assert!(runs(bad).is_err(), "{bad:?}");
        }
        assert!(runs(&["--day", "/nowhere/at/all"]).is_err());
    }
}
