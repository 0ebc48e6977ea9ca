//! Reads the figures that a descriptor is full of: times within bounds, shares, rates, paths, yes and no.

use hob_core::format_duration;

use crate::yaml::{Flaws, Node};

/// A thing that is or is not.
pub(super) fn flag(node: &Node, flaws: &mut Flaws) -> Option<bool> {
    node.one_of(&[("true", true), ("false", false)], flaws)
}

/// Milliseconds of a duration between `least` and `most` of them.
pub(super) fn millis(node: &Node, least: u64, most: u64, flaws: &mut Flaws) -> Option<u64> {
    let duration = node.duration(flaws)?;
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if (least..=most).contains(&millis) {
        return Some(millis);
    }
    let word = |millis| format_duration(std::time::Duration::from_millis(millis));
    flaws.at(node, format!("{} is out of range: from {} to {}", word(millis), word(least), word(most)));
    None
}

/// A whole number between `least` and `most`.
pub(super) fn count(node: &Node, least: u32, most: u32, flaws: &mut Flaws) -> Option<u32> {
    let number = node.number(u64::from(least), u64::from(most), flaws)?;
    u32::try_from(number).ok()
}

/// A number with or without a fraction, between `least` and `most`.
pub(super) fn decimal(node: &Node, least: f64, most: f64, flaws: &mut Flaws) -> Option<f64> {
    let text = node.text(flaws)?;
    let number = plain_decimal(text).filter(|number| (least..=most).contains(number));
    if number.is_none() {
        flaws.at(node, format!("expected a number from {least} to {most}, found `{text}`"));
    }
    number
}

/// Per cent, written with its sign: `25%`.
pub(super) fn percent(node: &Node, least: f64, most: f64, flaws: &mut Flaws) -> Option<f64> {
    let text = node.text(flaws)?;
    let number = text.strip_suffix('%').and_then(|number| plain_decimal(number.trim_end()));
    let number = number.filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let what = format!("expected per cent from {least}% to {most}%, found `{text}`");
        flaws.hint(node, what, "write it with its sign, for example 2.5%");
    }
    number
}

/// So many a second, written `20/s` or `300/m`.
pub(super) fn per_second(node: &Node, most: f64, flaws: &mut Flaws) -> Option<f64> {
    let text = node.text(flaws)?;
    let read = |text: &str| {
        let (number, unit) = text.split_once('/')?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        Some(plain_decimal(number.trim())? / seconds)
    };
    let rate = read(text).filter(|rate| *rate > 0.0 && *rate <= most);
    if rate.is_none() {
        let what = format!("`{text}` is no rate above 0 and up to {most}/s");
        flaws.hint(node, what, "write a number and per what, for example 20/s or 300/m");
    }
    rate
}

/// A path of a request, without its query.
pub(super) fn path(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let text = node.text(flaws)?;
    if text.starts_with('/') && !text.contains(['?', '#', ' ']) && is_printable(text) {
        return Some(text.to_owned());
    }
    flaws.hint(node, format!("`{text}` is no path"), "begin it with /, without query");
    None
}

/// Whether text may stand in a request's first line or a header.
pub(super) fn is_printable(text: &str) -> bool {
    text.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ')
}

/// At most `most` items; the rest is a flaw.
pub(super) fn few<'n>(node: &'n Node, most: usize, flaws: &mut Flaws) -> &'n [Node] {
    let items = node.list(flaws);
    if items.len() > most {
        flaws.at(node, format!("at most {most} may stand here, found {}", items.len()));
    }
    &items[..items.len().min(most)]
}

/// Digits with at most one point: no signs, no exponents, no words such as `inf`.
fn plain_decimal(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.len() <= 20;
    if is_plain { text.parse().ok() } else { None }
}
