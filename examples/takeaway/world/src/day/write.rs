//! Writes a day in the format that [`Day::parse`] reads.

use std::fmt::Write;
use std::io;
use std::path::Path;

use super::parse::{
    COURIER_COLUMNS, COURIERS_FILE, DayFiles, ORDER_COLUMNS, ORDERS_FILE, PARAMETER_COLUMNS, PARAMETERS_FILE,
    RESTAURANT_COLUMNS, RESTAURANTS_FILE,
};
use super::{Day, Parameters};

/// A table of the format: a header line and rows.
fn table(columns: &[&str], rows: impl Iterator<Item = String>) -> String {
    let mut text = columns.join("\t");
    text.push('\n');
    for row in rows {
        text.push_str(&row);
        text.push('\n');
    }
    text
}

fn parameters_row(parameters: &Parameters) -> String {
    let Parameters {
        metres_per_minute,
        pickup_minutes,
        dropoff_minutes,
        target_minutes,
        maximum_minutes,
        pay_per_order,
        guaranteed_pay_per_hour,
    } = parameters;
    let mut row = String::new();
    let written = write!(
        row,
        "{metres_per_minute}\t{pickup_minutes}\t{dropoff_minutes}\t{target_minutes}\t{maximum_minutes}\t{pay_per_order}\t{guaranteed_pay_per_hour}"
    );
    written.expect("writing to a string does not fail");
    row
}

impl Day {
    /// The four tables of this day as text.
    pub fn to_files(&self) -> DayFiles {
        let orders = self.orders.iter().map(|o| {
            format!(
                "{}\t{}\t{}\t{}\t{}\t{}",
                o.id, o.at.x, o.at.y, o.placed_minute, o.restaurant, o.ready_minute
            )
        });
        let couriers = self
            .riders
            .iter()
            .map(|r| format!("{}\t{}\t{}\t{}\t{}", r.id, r.at.x, r.at.y, r.on_minute, r.off_minute));
        let restaurants = self.restaurants.iter().map(|r| format!("{}\t{}\t{}", r.id, r.at.x, r.at.y));
        DayFiles {
            orders: table(&ORDER_COLUMNS, orders),
            couriers: table(&COURIER_COLUMNS, couriers),
            restaurants: table(&RESTAURANT_COLUMNS, restaurants),
            parameters: table(&PARAMETER_COLUMNS, std::iter::once(parameters_row(&self.parameters))),
        }
    }

    /// Writes the four tables into a folder that exists.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let files = self.to_files();
        for (name, text) in [
            (ORDERS_FILE, files.orders),
            (COURIERS_FILE, files.couriers),
            (RESTAURANTS_FILE, files.restaurants),
            (PARAMETERS_FILE, files.parameters),
        ] {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(())
    }
}
