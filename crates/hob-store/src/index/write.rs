//! Writes a run: entries in order of their keys, once, from front to back.
//!
//! ```text
//! run        pages | roots | trailer
//! page       blocks | fences | filter
//! fences     of each block: its first key, its length
//! roots      of each page: its first key, where its blocks, fences and filter are
//! trailer    where the roots are, how many entries there are, what file this is; a checksum
//! ```
//!
//! Only the roots are kept in memory when a run is read: about 100 bytes for 4,000 entries.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::block::{self, CRC_BYTES};
use super::filter;
use crate::segmented::segment::private_file;
use crate::varint;

/// Bytes after which a block ends.
const BLOCK_BYTES: usize = 4 << 10;
/// Blocks after which a page ends.
const PAGE_BLOCKS: usize = 32;
/// The last word of a run's file.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"HRN1");
/// Bytes of the trailer: two u64, one u32, the magic, the checksum.
pub(super) const TRAILER_BYTES: usize = 28;
/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// A run on its way to the disk.
pub(super) struct RunWriter {
    file: BufWriter<File>,
    offset: u64,
    entries: u64,
    block: Vec<u8>,
    block_first: Vec<u8>,
    last: Vec<u8>,
    page: Page,
    roots: Vec<u8>,
}

/// The page that is being written.
#[derive(Default)]
struct Page {
    start: u64,
    blocks: usize,
    first: Vec<u8>,
    fences: Vec<u8>,
    numbers: Vec<u64>,
}

impl RunWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = private_file().create_new(true).open(path)?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            offset: 0,
            entries: 0,
            block: Vec::new(),
            block_first: Vec::new(),
            last: Vec::new(),
            page: Page::default(),
            roots: Vec::new(),
        })
    }

    /// Adds an entry; its key is greater than all before it.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.block.is_empty() {
            self.block_first.clear();
            self.block_first.extend_from_slice(key);
            if self.page.blocks == 0 {
                self.page.start = self.offset;
                self.page.first.clone_from(&self.block_first);
            }
            self.last.clear();
        }
        block::push(&mut self.block, &self.last, key, value);
        self.page.numbers.push(filter::number(key));
        self.last.clear();
        self.last.extend_from_slice(key);
        self.entries += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Ends the run; the file is written, not synced.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_block()?;
        self.end_page()?;
        let at = self.offset;
        block::seal(&mut self.roots);
        let roots = std::mem::take(&mut self.roots);
        self.write(&roots)?;
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        trailer.extend_from_slice(&at.to_le_bytes());
        trailer.extend_from_slice(&self.entries.to_le_bytes());
        trailer.extend_from_slice(&(roots.len() as u32).to_le_bytes());
        trailer.extend_from_slice(&MAGIC.to_le_bytes());
        block::seal(&mut trailer);
        self.write(&trailer)?;
        self.file.flush()
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        block::seal(&mut self.block);
        varint::write(&mut self.page.fences, self.block_first.len() as u64);
        self.page.fences.extend_from_slice(&self.block_first);
        varint::write(&mut self.page.fences, self.block.len() as u64);
        let sealed = std::mem::take(&mut self.block);
        self.write(&sealed)?;
        self.block = sealed;
        self.block.clear();
        self.page.blocks += 1;
        if self.page.blocks == PAGE_BLOCKS { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        if self.page.blocks == 0 {
            return Ok(());
        }
        let mut page = std::mem::take(&mut self.page);
        block::seal(&mut page.fences);
        let lines = filter::build(&page.numbers);
        varint::write(&mut self.roots, page.first.len() as u64);
        self.roots.extend_from_slice(&page.first);
        let numbers =
            [page.start, self.offset, page.fences.len() as u64, filter::lines_for(page.numbers.len()).into()];
        numbers.into_iter().for_each(|number| varint::write(&mut self.roots, number));
        self.write(&page.fences)?;
        self.write(&lines)?;
        page.fences.clear();
        page.numbers.clear();
        self.page = Page { blocks: 0, ..page };
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// The most that roots may take, which bounds what a damaged trailer makes a reader do.
pub(super) const ROOTS_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(TRAILER_BYTES == 8 + 8 + 4 + 4 + CRC_BYTES);
