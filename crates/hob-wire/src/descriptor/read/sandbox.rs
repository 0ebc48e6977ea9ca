//! Reads what a service's instances may reach.

use super::figure::few;
use crate::descriptor::{Isolation, Sandbox};
use crate::yaml::{Flaws, Node, Reader};

/// Files and folders of one list.
const PATHS_MAX: usize = 64;
/// Ports to connect to.
const PORTS_MAX: usize = 64;

pub(super) fn sandbox(node: &Node, flaws: &mut Flaws) -> Option<Sandbox> {
    let mut map = Reader::map(node, flaws)?;
    let levels = [("L0", Isolation::L0), ("L1", Isolation::L1), ("L2", Isolation::L2), ("L3", Isolation::L3)];
    let isolation = map.take("isolation").and_then(|n| n.one_of(&levels, flaws));
    let read = map.take("read").map(|n| paths(n, flaws)).unwrap_or_default();
    let write = map.take("write").map(|n| paths(n, flaws)).unwrap_or_default();
    let connect = map.take("connect").map(|n| {
        let items = few(n, PORTS_MAX, flaws);
        items.iter().filter_map(|item| u16::try_from(item.number(1, 65_535, flaws)?).ok()).collect()
    });
    map.finish(flaws);
    Some(Sandbox { isolation, read, write, connect })
}

fn paths(node: &Node, flaws: &mut Flaws) -> Vec<String> {
    let mut paths = Vec::new();
    for item in few(node, PATHS_MAX, flaws) {
        let Some(text) = item.text(flaws) else { continue };
        if text.split('/').any(|part| part == "..") || text.contains('\0') {
            flaws.hint(item, format!("`{text}` leaves its folder"), "name the place itself, without `..`");
        } else if text.is_empty() {
            flaws.at(item, "expected a path, found nothing");
        } else {
            paths.push(text.to_owned());
        }
    }
    paths
}
