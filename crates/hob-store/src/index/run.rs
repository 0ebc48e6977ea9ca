//! Reads a run: finds keys, and walks entries in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::IndexError;
use super::block::{self, CRC_BYTES, Entries};
use super::filter::{self, LINE_BYTES};
use super::write::{MAGIC, ROOTS_BYTES_MAX, TRAILER_BYTES};
use crate::varint::Cursor;

/// An immutable file of sorted entries.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
    file: File,
    roots: Vec<Root>,
}

/// Where a page is.
#[derive(Debug)]
struct Root {
    first: Box<[u8]>,
    start: u64,
    fences: u64,
    fences_bytes: u32,
    lines: u32,
}

/// What a search keeps from one key to the next, since the keys of a batch come in order.
#[derive(Default)]
pub(super) struct Search {
    page: Option<usize>,
    fences: Vec<u8>,
    block: Option<u64>,
    content: Vec<u8>,
}

impl Run {
    pub(super) fn open(path: &Path, number: u64) -> Result<Self, IndexError> {
        let broken = |source| IndexError::io("open", path, source);
        let file = File::open(path).map_err(broken)?;
        let bytes = file.metadata().map_err(broken)?.len();
        let mut trailer = [0; TRAILER_BYTES];
        let at = bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| IndexError::damaged(path))?;
        file.read_exact_at(&mut trailer, at).map_err(broken)?;
        let parsed = read_trailer(&trailer).filter(|(start, length, _)| start + *length as u64 == at);
        let (start, length, entries) = parsed.ok_or_else(|| IndexError::damaged(path))?;
        let mut roots = vec![0; length];
        file.read_exact_at(&mut roots, start).map_err(broken)?;
        let roots = block::open(&roots).and_then(read_roots).ok_or_else(|| IndexError::damaged(path))?;
        Ok(Self { number, entries, bytes, path: path.to_owned(), file, roots })
    }

    /// The value of a key, whose filter number the caller knows.
    pub(super) fn get(
        &self,
        key: &[u8],
        number: u64,
        search: &mut Search,
    ) -> Result<Option<Vec<u8>>, IndexError> {
        let after = self.roots.partition_point(|root| &*root.first <= key);
        let Some((page, root)) = after.checked_sub(1).and_then(|page| Some((page, self.roots.get(page)?)))
        else {
            return Ok(None);
        };
        if !self.may_hold(root, number)? {
            return Ok(None);
        }
        if search.page != Some(page) {
            search.page = None;
            self.read(root.fences, root.fences_bytes as usize, &mut search.fences)?;
            search.page = Some(page);
        }
        let (at, length) = find_block(&search.fences, root.start, key).ok_or_else(|| self.damaged())?;
        if search.block != Some(at) {
            search.block = None;
            self.read(at, length, &mut search.content)?;
            search.block = Some(at);
        }
        let mut entries = Entries::new(&search.content);
        let is_found = entries.seek(key).ok_or_else(|| self.damaged())?;
        Ok((is_found && entries.key == key).then(|| entries.value.to_vec()))
    }

    fn may_hold(&self, root: &Root, number: u64) -> Result<bool, IndexError> {
        let mut line = [0; LINE_BYTES];
        let place = u64::from(filter::line_of(number, root.lines)) * LINE_BYTES as u64;
        let at = root.fences + u64::from(root.fences_bytes) + place;
        self.file.read_exact_at(&mut line, at).map_err(|error| self.failed(error))?;
        let line = block::open(&line).ok_or_else(|| self.damaged())?;
        Ok(filter::may_hold(line, number))
    }

    /// Reads a sealed piece, and leaves its content.
    fn read(&self, at: u64, length: usize, out: &mut Vec<u8>) -> Result<(), IndexError> {
        out.resize(length, 0);
        self.file.read_exact_at(out, at).map_err(|error| self.failed(error))?;
        let content = block::open(out).ok_or_else(|| self.damaged())?.len();
        out.truncate(content);
        Ok(())
    }

    /// Reads every byte, and fails when one is wrong.
    pub(super) fn verify(self: &Arc<Self>) -> Result<(), IndexError> {
        let mut lines = Vec::new();
        for root in &self.roots {
            lines.resize(root.lines as usize * LINE_BYTES, 0);
            let at = root.fences + u64::from(root.fences_bytes);
            self.file.read_exact_at(&mut lines, at).map_err(|error| self.failed(error))?;
            if lines.chunks_exact(LINE_BYTES).any(|line| block::open(line).is_none()) {
                return Err(self.damaged());
            }
        }
        let mut walk = Walk::new(Arc::clone(self), &[])?;
        let mut entries = 0;
        while walk.key().is_some() {
            entries += 1;
            walk.advance()?;
        }
        if entries == self.entries { Ok(()) } else { Err(self.damaged()) }
    }

    fn damaged(&self) -> IndexError {
        IndexError::damaged(&self.path)
    }

    fn failed(&self, source: io::Error) -> IndexError {
        IndexError::io("read", &self.path, source)
    }
}

/// Where the roots are, how long they are, and how many entries there are.
fn read_trailer(trailer: &[u8]) -> Option<(u64, usize, u64)> {
    let content = block::open(trailer)?;
    let (start, rest) = content.split_first_chunk::<8>()?;
    let (entries, rest) = rest.split_first_chunk::<8>()?;
    let (length, magic) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let is_run = magic == MAGIC.to_le_bytes() && length <= ROOTS_BYTES_MAX;
    is_run.then(|| (u64::from_le_bytes(*start), length, u64::from_le_bytes(*entries)))
}

fn read_roots(content: &[u8]) -> Option<Vec<Root>> {
    let mut cursor = Cursor::new(content, 0);
    let mut roots = Vec::new();
    while cursor.position() < content.len() {
        let length = cursor.length()?;
        let first = cursor.take(length)?.into();
        let (start, fences) = (cursor.varint()?, cursor.varint()?);
        let (fences_bytes, lines) =
            (u32::try_from(cursor.varint()?).ok()?, u32::try_from(cursor.varint()?).ok()?);
        if lines == 0 || (fences_bytes as usize) < CRC_BYTES || fences < start {
            return None;
        }
        roots.push(Root { first, start, fences, fences_bytes, lines });
    }
    Some(roots)
}

/// The block of a page that holds a key, if any does: the last whose first key is not greater.
fn find_block(fences: &[u8], start: u64, key: &[u8]) -> Option<(u64, usize)> {
    let mut cursor = Cursor::new(fences, 0);
    let (mut at, mut found) = (start, None);
    while cursor.position() < fences.len() {
        let length = cursor.length()?;
        let first = cursor.take(length)?;
        let bytes = usize::try_from(cursor.varint()?).ok()?;
        if first > key && found.is_some() {
            break;
        }
        found = Some((at, bytes));
        at += bytes as u64;
    }
    found
}

/// Walks the entries of a run in order, a page in memory at a time.
pub(super) struct Walk {
    run: Arc<Run>,
    page: usize,
    /// The blocks of the page.
    bytes: Vec<u8>,
    /// Lengths of the blocks that are yet to come, last first.
    blocks: Vec<usize>,
    block_start: usize,
    block_end: usize,
    at: usize,
    key: Vec<u8>,
    value: (usize, usize),
    is_over: bool,
}

impl Walk {
    /// Stands on the first entry whose key is `from` or greater.
    pub(super) fn new(run: Arc<Run>, from: &[u8]) -> Result<Self, IndexError> {
        let page = run.roots.partition_point(|root| &*root.first <= from).saturating_sub(1);
        let mut walk = Self {
            run,
            page,
            bytes: Vec::new(),
            blocks: Vec::new(),
            block_start: 0,
            block_end: 0,
            at: 0,
            key: Vec::new(),
            value: (0, 0),
            is_over: false,
        };
        walk.advance()?;
        while walk.key().is_some_and(|key| key < from) {
            walk.advance()?;
        }
        Ok(walk)
    }

    /// The key it stands on; none at the end.
    pub(super) fn key(&self) -> Option<&[u8]> {
        (!self.is_over).then_some(&self.key)
    }

    pub(super) fn value(&self) -> &[u8] {
        self.bytes.get(self.value.0..self.value.1).unwrap_or_default()
    }

    pub(super) fn advance(&mut self) -> Result<(), IndexError> {
        while self.at == self.block_end {
            if !self.next_block()? {
                self.is_over = true;
                return Ok(());
            }
        }
        self.entry().ok_or_else(|| self.run.damaged())
    }

    fn entry(&mut self) -> Option<()> {
        let mut cursor = Cursor::new(self.bytes.get(..self.block_end)?, self.at);
        let shared = usize::try_from(cursor.varint()?).ok()?;
        let rest = usize::try_from(cursor.varint()?).ok()?;
        let value = usize::try_from(cursor.varint()?).ok()?;
        if shared > self.key.len() || (self.at == self.block_start && shared > 0) {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(cursor.take(rest)?);
        let start = cursor.position();
        cursor.take(value)?;
        self.value = (start, start + value);
        self.at = start + value;
        Some(())
    }

    /// Moves to the next block, of this page or the next; false at the end of the run.
    fn next_block(&mut self) -> Result<bool, IndexError> {
        if self.blocks.is_empty() && !self.next_page()? {
            return Ok(false);
        }
        let Some(length) = self.blocks.pop() else { return Ok(false) };
        let start = if self.block_end == 0 { 0 } else { self.block_end + CRC_BYTES };
        let sealed = self.bytes.get(start..start + length);
        let content = sealed.and_then(block::open).ok_or_else(|| self.run.damaged())?.len();
        (self.block_start, self.block_end, self.at) = (start, start + content, start);
        Ok(true)
    }

    fn next_page(&mut self) -> Result<bool, IndexError> {
        let run = Arc::clone(&self.run);
        let Some(root) = run.roots.get(self.page) else { return Ok(false) };
        self.page += 1;
        let mut fences = Vec::new();
        run.read(root.fences, root.fences_bytes as usize, &mut fences)?;
        let mut cursor = Cursor::new(&fences, 0);
        while cursor.position() < fences.len() {
            let length = cursor.length().and_then(|length| {
                cursor.take(length)?;
                usize::try_from(cursor.varint()?).ok()
            });
            self.blocks.push(length.ok_or_else(|| run.damaged())?);
        }
        self.blocks.reverse();
        let total = usize::try_from(root.fences - root.start)
            .ok()
            .filter(|total| *total == self.blocks.iter().sum::<usize>());
        self.bytes.resize(total.ok_or_else(|| run.damaged())?, 0);
        run.file.read_exact_at(&mut self.bytes, root.start).map_err(|error| run.failed(error))?;
        (self.block_start, self.block_end, self.at) = (0, 0, 0);
        Ok(true)
    }
}
