//! What people see: tables that align, colours with a meaning, JSON for programs. Data goes to standard output, talk
//! to standard error.

use std::io::Write as _;

use console::Style;
use hob_core::Timestamp;
use serde::Serialize;

/// Writes a line of data.
pub(crate) fn line(text: impl AsRef<str>) {
    // A reader that went away (a closed pipe) is no failure.
    let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
}

/// Writes a line of talk.
pub(crate) fn say(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}

/// Writes data as JSON.
pub(crate) fn json<T: Serialize>(value: &T) {
    line(serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
}

/// A cell of a table: its text, and how it is coloured.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn plain(text: impl ToString) -> Self {
        Self { text: text.to_string(), style: Style::new() }
    }

    pub(crate) fn dim(text: impl ToString) -> Self {
        Self { text: text.to_string(), style: Style::new().dim() }
    }

    pub(crate) fn bold(text: impl ToString) -> Self {
        Self { text: text.to_string(), style: Style::new().bold() }
    }

    pub(crate) fn styled(text: impl ToString, style: Style) -> Self {
        Self { text: text.to_string(), style }
    }

    /// A state: green when all is well, yellow when on the way, red when not.
    pub(crate) fn state(text: impl ToString) -> Self {
        let text = text.to_string();
        let style = match text.as_str() {
            "ready" | "routed" | "complete" | "live" | "active" | "resolved" | "watching" => {
                Style::new().green()
            }
            "failed" | "down" | "lost" | "error" | "open" | "unavailable" => Style::new().red(),
            "standby" | "retired" | "stopped" | "superseded" => Style::new().dim(),
            _ => Style::new().yellow(),
        };
        Self { text, style }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::plain(text)
    }
}

/// Writes a table with a head; or, when there are no rows, says so in `empty`.
pub(crate) fn table(head: &[&str], rows: &[Vec<Cell>], empty: &str) {
    if rows.is_empty() {
        say(empty);
        return;
    }
    let wide = |text: &str| console::measure_text_width(text);
    let mut widths: Vec<usize> = head.iter().map(|text| wide(text)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(wide(&cell.text));
        }
    }
    let last = widths.len().saturating_sub(1);
    let pad = |text: &str, column: usize| {
        let fill = if column == last { 0 } else { widths[column].saturating_sub(wide(text)) + 2 };
        " ".repeat(fill)
    };
    let head_style = Style::new().dim();
    let titles = head
        .iter()
        .enumerate()
        .map(|(i, text)| format!("{}{}", head_style.apply_to(text.to_uppercase()), pad(text, i)));
    line(titles.collect::<String>().trim_end());
    for row in rows {
        let cells = row
            .iter()
            .enumerate()
            .map(|(i, cell)| format!("{}{}", cell.style.apply_to(&cell.text), pad(&cell.text, i)));
        line(cells.collect::<String>().trim_end());
    }
}

/// How long ago something was: `12s`, `5m3s`.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(time).as_secs();
    hob_core::format_duration(std::time::Duration::from_secs(seconds)).replace("0ms", "now")
}

/// A time of day without its date, when it is short enough to be unmistakable.
pub(crate) fn time_of_day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T').map_or_else(|| text.clone(), |(_, time)| time.chars().take(12).collect())
}

/// A line of eighths: the shape of a series.
pub(crate) fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(0.0_f64, f64::max);
    let bar =
        |value: &f64| if most > 0.0 { BARS[((value / most) * 7.0).round() as usize % 8] } else { BARS[0] };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_show_the_shape() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0]), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
    }
}
