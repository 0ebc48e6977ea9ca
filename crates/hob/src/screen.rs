//! What people see: tables that align, colours with a meaning, JSON for programs. Data goes to standard output, talk
//! to standard error.

use std::io::Write as _;

use console::{Style, Term};
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
    is_number: bool,
}

impl Cell {
    pub(crate) fn plain(text: impl ToString) -> Self {
        Self::styled(text, Style::new())
    }

    pub(crate) fn dim(text: impl ToString) -> Self {
        Self::styled(text, Style::new().dim())
    }

    pub(crate) fn bold(text: impl ToString) -> Self {
        Self::styled(text, Style::new().bold())
    }

    pub(crate) fn styled(text: impl ToString, style: Style) -> Self {
        Self { text: text.to_string(), style, is_number: false }
    }

    /// A number: it stands at the right of its column, and is dim when there is nothing to count.
    pub(crate) fn number(text: impl ToString) -> Self {
        let text = text.to_string();
        let style = if is_nothing(&text) { Style::new().dim() } else { Style::new() };
        Self { text, style, is_number: true }
    }

    /// A number that should be none: in `style` when there are some.
    pub(crate) fn worry(count: u64, style: Style) -> Self {
        let number = Self::number(count);
        if count == 0 { number } else { Self { style, ..number } }
    }

    /// A state: green when all is well, yellow when on the way, red when not.
    pub(crate) fn state(text: impl ToString) -> Self {
        let text = text.to_string();
        let style = match text.as_str() {
            "ready" | "routed" | "complete" | "live" | "active" | "leased" | "resolved" | "watching" => {
                Style::new().green()
            }
            "failed" | "down" | "lost" | "error" | "open" | "stalled" | "unavailable" => Style::new().red(),
            "standby" | "retired" | "stopped" | "superseded" | "killed" => Style::new().dim(),
            _ => Style::new().yellow(),
        };
        Self::styled(text, style)
    }
}

/// Whether a number says that there is nothing.
fn is_nothing(text: &str) -> bool {
    text == "-"
        || text.chars().next().is_some_and(|first| first == '0') && !text.contains(|c| matches!(c, '1'..='9'))
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::plain(text)
    }
}

/// Writes a table with a head; or, when there are no rows, says so in `empty`. On a terminal, lines end at its edge.
pub(crate) fn table(head: &[&str], rows: &[Vec<Cell>], empty: &str) {
    noted_table(head, rows, &[], empty);
}

/// Writes a table with a note below each row that has one: for terminals, as a program reads a line a row.
pub(crate) fn noted_table(head: &[&str], rows: &[Vec<Cell>], notes: &[Cell], empty: &str) {
    if rows.is_empty() {
        say(empty);
        return;
    }
    let terminal = Term::stdout();
    let width = if terminal.is_term() { usize::from(terminal.size().1) } else { usize::MAX };
    let mut lines = lines(head, rows, width).into_iter();
    lines.by_ref().take(1).for_each(line);
    for (row, text) in lines.enumerate() {
        line(text);
        if let Some(note) = notes.get(row).filter(|note| !note.text.is_empty()) {
            line(format!("  {}", note.style.apply_to(&note.text)));
        }
    }
}

/// A table's lines, of `width` columns at most.
fn lines(head: &[&str], rows: &[Vec<Cell>], width: usize) -> Vec<String> {
    let wide = |text: &str| console::measure_text_width(text);
    let mut widths: Vec<usize> = head.iter().map(|text| wide(text)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(wide(&cell.text));
        }
    }
    let is_number = |column: usize| rows.iter().all(|row| row.get(column).is_some_and(|cell| cell.is_number));
    let titles = head.iter().enumerate().map(|(column, text)| {
        let cell = Cell::dim(text.to_uppercase());
        Cell { is_number: is_number(column), ..cell }
    });
    let told = |cells: &[Cell]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let fill = " ".repeat(width.saturating_sub(wide(&cell.text)));
            let text = cell.style.apply_to(&cell.text);
            if cell.is_number { format!("{fill}{text}") } else { format!("{text}{fill}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        console::truncate_str(line.trim_end(), width, "…").into_owned()
    };
    let titles: Vec<Cell> = titles.collect();
    std::iter::once(titles.as_slice()).chain(rows.iter().map(Vec::as_slice)).map(told).collect()
}

/// Writes what is known of one thing, a line each.
pub(crate) fn facts(facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let bold = Style::new().bold();
    for (name, value) in facts {
        line(format!("{}{} {value}", bold.apply_to(name), " ".repeat(width - name.len())));
    }
}

/// Words with commas; a dash for none.
pub(crate) fn listed(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

/// A number of bytes as people read it: `512 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if value < 10.0 && unit != "B" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
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

/// How long ago something began, or how long it lasts, to two places: `0.4s`, `41s`, `12m`, `2h5m`, `3d`.
pub(crate) fn lasting(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0 if seconds < 0.05 => "0s".to_owned(),
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3_600 => format!("{}m", whole / 60),
        3_600..86_400 => format!("{}h{}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d", whole / 86_400),
    }
}

/// A bar of `cells` cells, filled by `part` (0 to 1) in eighths of a cell.
pub(crate) fn bar(part: f64, cells: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * (cells * 8) as f64).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Whether standard output is a terminal that shows more than plain text.
pub(crate) fn is_terminal() -> bool {
    Term::stdout().features().is_attended()
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
    fn bytes_are_short() {
        let told = [0, 1023, 1024, 512 << 20, 24 << 30].map(bytes);
        assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "512 MiB", "24 GiB"]);
    }

    #[test]
    fn sparklines_show_the_shape() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0]), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
    }

    #[test]
    fn bars_and_lengths_of_time_are_short() {
        let bars = [0.0, 0.04, 0.5, 1.0, 7.0].map(|part| bar(part, 4));
        assert_eq!(bars, ["", "▏", "██", "████", "████"]);
        let told = [0.0, 0.44, 9.96, 41.2, 754.0, 7_510.0, 300_000.0].map(lasting);
        assert_eq!(told, ["0s", "0.4s", "10.0s", "41s", "12m", "2h5m", "3d"]);
    }

    #[test]
    fn columns_align_numbers_at_their_right_and_lines_end_at_the_edge() {
        let rows = [
            vec![Cell::bold("orders"), Cell::number(1_288), Cell::plain("it waits for its endpoint")],
            vec![Cell::bold("ü"), Cell::number(0), Cell::plain("")],
        ];
        let plain = |width| {
            let lines = lines(&["name", "lag", "why"], &rows, width).into_iter();
            lines.map(|line| console::strip_ansi_codes(&line).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            plain(80),
            ["NAME     LAG  WHY", "orders  1288  it waits for its endpoint", "ü          0"]
        );
        assert_eq!(plain(20)[1], "orders  1288  it wa…");
    }

    #[test]
    fn nothing_to_count_is_told_apart() {
        for (text, expect) in
            [("0", true), ("0s", true), ("-", true), ("0.4s", false), ("10", false), ("a", false)]
        {
            assert_eq!(is_nothing(text), expect, "{text}");
        }
    }
}
