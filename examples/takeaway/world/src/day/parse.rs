//! Reads a day, and says which file, line and column is wrong and how to mend it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Day, DayOrder, DayRestaurant, DayRider, Parameters};
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::place::Point;

pub(super) const ORDERS_FILE: &str = "orders.txt";
pub(super) const COURIERS_FILE: &str = "couriers.txt";
pub(super) const RESTAURANTS_FILE: &str = "restaurants.txt";
pub(super) const PARAMETERS_FILE: &str = "instance_parameters.txt";

pub(super) const ORDER_COLUMNS: [&str; 6] = ["order", "x", "y", "placement_time", "restaurant", "ready_time"];
pub(super) const COURIER_COLUMNS: [&str; 5] = ["courier", "x", "y", "on_time", "off_time"];
pub(super) const RESTAURANT_COLUMNS: [&str; 3] = ["restaurant", "x", "y"];
pub(super) const PARAMETER_COLUMNS: [&str; 7] = [
    "meters_per_minute",
    "pickup service minutes",
    "dropoff service minutes",
    "target click-to-door",
    "maximum click-to-door",
    "pay per order",
    "guaranteed pay per hour",
];

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most rows in a table.
const ROWS_MAX: usize = 100_000;
/// Furthest from the origin that a place may be, in metres.
const METRES_MAX: i64 = 10_000_000;
/// Latest minute of a day (four weeks): keeps arithmetic and running time bounded.
const MINUTES_MAX: i64 = 40_320;

/// The four tables of a day as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayFiles {
    /// `orders.txt`.
    pub orders: String,
    /// `couriers.txt`.
    pub couriers: String,
    /// `restaurants.txt`.
    pub restaurants: String,
    /// `instance_parameters.txt`.
    pub parameters: String,
}

/// What is wrong with a day.
#[derive(Debug, thiserror::Error)]
pub enum DayError {
    /// A file is missing or unreadable.
    #[error("read {}: {source}; a day is a folder with {ORDERS_FILE}, {COURIERS_FILE}, {RESTAURANTS_FILE} and {PARAMETERS_FILE}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any day.
    #[error("read {}: it is larger than {} MiB; is it a day?", .path.display(), FILE_BYTES_MAX >> 20)]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// Something in a table is wrong.
    #[error("read {file}, line {line}, column {column:?}: {problem}; {hint}")]
    Cell {
        /// Which file.
        file: &'static str,
        /// Which line, from 1.
        line: usize,
        /// The name of the column.
        column: &'static str,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        hint: String,
    },
}

/// A table whose header has been matched to the columns that we need.
struct Table<'a> {
    file: &'static str,
    columns: &'static [&'static str],
    /// Where each needed column is in a line.
    positions: Vec<usize>,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    line: usize,
    cells: Vec<&'a str>,
}

impl<'a> Table<'a> {
    fn parse(file: &'static str, columns: &'static [&'static str], text: &'a str) -> Result<Self, DayError> {
        let mut lines =
            text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end_matches('\r')));
        let header: Vec<&str> =
            lines.next().map(|(_, line)| line.split('\t').map(str::trim).collect()).unwrap_or_default();
        let mut positions = Vec::with_capacity(columns.len());
        for column in columns {
            let found = header.iter().position(|name| name == column);
            positions.push(found.ok_or_else(|| DayError::Cell {
                file,
                line: 1,
                column,
                problem: "this column is missing".to_string(),
                hint: format!("the first line names the columns, separated by tabs: {}", columns.join(", ")),
            })?);
        }
        let rows: Vec<Row<'a>> = lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(line, text)| Row { line, cells: text.split('\t').map(str::trim).collect() })
            .collect();
        let table = Self { file, columns, positions, rows };
        match table.rows.get(ROWS_MAX) {
            Some(row) => {
                Err(table.wrong(row, 0, "too many rows".to_string(), format!("keep {ROWS_MAX} at most")))
            }
            None => Ok(table),
        }
    }

    fn wrong(&self, row: &Row<'_>, column: usize, problem: String, hint: String) -> DayError {
        DayError::Cell { file: self.file, line: row.line, column: self.columns[column], problem, hint }
    }

    fn cell(&self, row: &Row<'a>, column: usize) -> Result<&'a str, DayError> {
        row.cells.get(self.positions[column]).copied().filter(|cell| !cell.is_empty()).ok_or_else(|| {
            self.wrong(
                row,
                column,
                "nothing is there".to_string(),
                format!("every line has {} cells, separated by tabs", self.columns.len()),
            )
        })
    }

    fn number(&self, row: &Row<'a>, column: usize, from: i64, to: i64) -> Result<i64, DayError> {
        let text = self.cell(row, column)?;
        match text.parse::<i64>() {
            Ok(number) if (from..=to).contains(&number) => Ok(number),
            _ => Err(self.wrong(
                row,
                column,
                format!("{} is out of place", quoted(text)),
                format!("write a whole number from {from} to {to}"),
            )),
        }
    }

    fn decimal(&self, row: &Row<'a>, column: usize, from: f64, to: f64) -> Result<f64, DayError> {
        let text = self.cell(row, column)?;
        match text.parse::<f64>() {
            Ok(number) if (from..=to).contains(&number) => Ok(number),
            _ => Err(self.wrong(
                row,
                column,
                format!("{} is out of place", quoted(text)),
                format!("write a number from {from} to {to}"),
            )),
        }
    }

    fn point(&self, row: &Row<'a>) -> Result<Point, DayError> {
        let (x, y) =
            (self.number(row, 1, -METRES_MAX, METRES_MAX)?, self.number(row, 2, -METRES_MAX, METRES_MAX)?);
        Ok(Point { x, y })
    }

    fn name<T>(&self, row: &Row<'a>, column: usize) -> Result<T, DayError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.cell(row, column)?;
        text.parse().map_err(|_: T::Err| {
            let letter = &self.columns[column][..1];
            self.wrong(
                row,
                column,
                format!("{} is no name", quoted(text)),
                format!("write the letter {letter} and a number, like {letter}12"),
            )
        })
    }

    /// The name in the first column, refused when a line above has it.
    fn new_name<T>(&self, row: &Row<'a>, seen: &mut BTreeSet<T>) -> Result<T, DayError>
    where
        T: FromStr + Display + Copy + Ord + Hash,
        T::Err: Display,
    {
        let name: T = self.name(row, 0)?;
        if seen.insert(name) {
            return Ok(name);
        }
        let hint = "give every line a name of its own".to_string();
        Err(self.wrong(row, 0, format!("{name} is there twice"), hint))
    }

    /// Refuses a table without rows.
    fn not_empty(self) -> Result<Self, DayError> {
        if !self.rows.is_empty() {
            return Ok(self);
        }
        Err(DayError::Cell {
            file: self.file,
            line: 2,
            column: self.columns[0],
            problem: "the table has no rows".to_string(),
            hint: "a day needs at least one".to_string(),
        })
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn restaurants(text: &str) -> Result<Vec<DayRestaurant>, DayError> {
    let table = Table::parse(RESTAURANTS_FILE, &RESTAURANT_COLUMNS, text)?.not_empty()?;
    let mut seen = BTreeSet::new();
    let row = |row| Ok(DayRestaurant { id: table.new_name(row, &mut seen)?, at: table.point(row)? });
    table.rows.iter().map(row).collect()
}

fn riders(text: &str) -> Result<Vec<DayRider>, DayError> {
    let table = Table::parse(COURIERS_FILE, &COURIER_COLUMNS, text)?;
    let mut seen = BTreeSet::<RiderId>::new();
    let mut riders = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        let on_minute = table.number(row, 3, 0, MINUTES_MAX)?;
        let off_minute = table.number(row, 4, 0, MINUTES_MAX)?;
        if off_minute < on_minute {
            let problem = format!("the shift ends at {off_minute}, before it begins at {on_minute}");
            return Err(table.wrong(row, 4, problem, "off_time is on_time or later".to_string()));
        }
        riders.push(DayRider {
            id: table.new_name(row, &mut seen)?,
            at: table.point(row)?,
            on_minute,
            off_minute,
        });
    }
    Ok(riders)
}

fn orders(text: &str, restaurants: &[DayRestaurant]) -> Result<Vec<DayOrder>, DayError> {
    let table = Table::parse(ORDERS_FILE, &ORDER_COLUMNS, text)?.not_empty()?;
    let known: BTreeSet<RestaurantId> = restaurants.iter().map(|restaurant| restaurant.id).collect();
    let mut seen = BTreeSet::<OrderId>::new();
    let mut orders = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        let placed_minute = table.number(row, 3, 0, MINUTES_MAX)?;
        let restaurant = table.name(row, 4)?;
        let ready_minute = table.number(row, 5, 0, MINUTES_MAX)?;
        if !known.contains(&restaurant) {
            let problem = format!("{restaurant} is not in {RESTAURANTS_FILE}");
            return Err(table.wrong(
                row,
                4,
                problem,
                "name a restaurant of that file, or add it there".to_string(),
            ));
        }
        if ready_minute < placed_minute {
            let problem =
                format!("the food is ready at {ready_minute}, before it is ordered at {placed_minute}");
            return Err(table.wrong(row, 5, problem, "ready_time is placement_time or later".to_string()));
        }
        orders.push(DayOrder {
            id: table.new_name(row, &mut seen)?,
            at: table.point(row)?,
            placed_minute,
            restaurant,
            ready_minute,
        });
    }
    Ok(orders)
}

fn parameters(text: &str) -> Result<Parameters, DayError> {
    let table = Table::parse(PARAMETERS_FILE, &PARAMETER_COLUMNS, text)?.not_empty()?;
    let row = &table.rows[0];
    Ok(Parameters {
        metres_per_minute: table.decimal(row, 0, 1.0, 100_000.0)?,
        pickup_minutes: table.number(row, 1, 0, 1000)?,
        dropoff_minutes: table.number(row, 2, 0, 1000)?,
        target_minutes: table.number(row, 3, 0, MINUTES_MAX)?,
        maximum_minutes: table.number(row, 4, 0, MINUTES_MAX)?,
        pay_per_order: table.decimal(row, 5, 0.0, 1e9)?,
        guaranteed_pay_per_hour: table.decimal(row, 6, 0.0, 1e9)?,
    })
}

impl Day {
    /// Parses the four tables.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file, line and column.
    pub fn parse(files: &DayFiles) -> Result<Self, DayError> {
        let restaurants = restaurants(&files.restaurants)?;
        Ok(Self {
            orders: orders(&files.orders, &restaurants)?,
            riders: riders(&files.couriers)?,
            restaurants,
            parameters: parameters(&files.parameters)?,
        })
    }

    /// Reads the four files of a folder.
    ///
    /// # Errors
    /// When a file cannot be read, or the first thing that is wrong in one.
    pub fn read(folder: &Path) -> Result<Self, DayError> {
        let text = |name: &str| {
            let path = folder.join(name);
            let failed = |source| DayError::Read { path: path.clone(), source };
            if std::fs::metadata(&path).map_err(failed)?.len() > FILE_BYTES_MAX {
                return Err(DayError::TooLarge { path });
            }
            std::fs::read_to_string(&path).map_err(failed)
        };
        Self::parse(&DayFiles {
            orders: text(ORDERS_FILE)?,
            couriers: text(COURIERS_FILE)?,
            restaurants: text(RESTAURANTS_FILE)?,
            parameters: text(PARAMETERS_FILE)?,
        })
    }
}
