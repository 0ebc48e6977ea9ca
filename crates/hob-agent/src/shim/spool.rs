//! Lines between an instance, which never waits for long, and an agent, which may be away: the oldest in memory, what
//! has no room there in a file, what has no room there either dropped and counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::spec::Line;

/// Bytes of lines in memory; also what an agent holds at most that it has not acknowledged: enough for a whole batch, so
/// that none waits to be filled.
const MEMORY_BYTES_MAX: usize = 2 << 20;
/// Bytes of lines in the file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// What a line takes beside its text.
const OVERHEAD_BYTES: usize = 100;
const LENGTH_BYTES: u64 = 4;

/// The lines of one run that no agent has acknowledged.
pub(crate) struct Spool {
    memory: VecDeque<Line>,
    memory_bytes: usize,
    /// How many of those in memory the present agent was given.
    given: usize,
    file: Option<File>,
    /// Where the next one to read begins, and where the next one to write.
    read_at: u64,
    write_at: u64,
    last_number: u64,
    /// Lines that were dropped since the last that was kept.
    dropped: u64,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    memory_bytes: usize,
    file_bytes: u64,
}

impl Spool {
    /// Empty. Without a file there is memory alone.
    pub(crate) fn new(file: Option<File>) -> Self {
        Self::with(file, Limits { memory_bytes: MEMORY_BYTES_MAX, file_bytes: FILE_BYTES_MAX })
    }

    fn with(file: Option<File>, limits: Limits) -> Self {
        Self {
            memory: VecDeque::new(),
            memory_bytes: 0,
            given: 0,
            file,
            read_at: 0,
            write_at: 0,
            last_number: 0,
            dropped: 0,
            limits,
        }
    }

    /// Takes a line, gives it its number, and keeps it or counts it.
    pub(crate) fn push(&mut self, make: impl FnOnce(u64, u64) -> Line) {
        let line = make(self.last_number + 1, self.dropped);
        let is_kept = if self.has_file_lines() { self.write(&line) } else { self.keep_or_write(line) };
        if is_kept {
            self.last_number += 1;
            self.dropped = 0;
        } else {
            self.dropped += 1;
        }
    }

    /// The number of the last line that was kept.
    pub(crate) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Lines that were dropped and not told of yet.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next line that the present agent was not given.
    pub(crate) fn next(&mut self) -> Option<&Line> {
        let line = self.memory.get(self.given)?;
        self.given += 1;
        Some(line)
    }

    /// Another agent is there: all that is not acknowledged is given once more.
    pub(crate) fn rewind(&mut self) {
        self.given = 0;
    }

    /// Forgets lines up to a number.
    pub(crate) fn acknowledge(&mut self, number: u64) {
        while self.memory.front().is_some_and(|line| line.number <= number) {
            let Some(line) = self.memory.pop_front() else { break };
            self.memory_bytes -= cost(&line);
            self.given = self.given.saturating_sub(1);
        }
        while self.has_file_lines() && self.memory_bytes < self.limits.memory_bytes / 2 {
            match self.read() {
                Ok(line) => self.remember(line),
                // The file cannot be read: what is in it is lost, and says so.
                Err(_) => {
                    let next = self.memory.back().map_or(number, |line| line.number);
                    self.dropped += self.last_number.saturating_sub(next);
                    (self.read_at, self.write_at) = (0, 0);
                }
            }
        }
    }

    fn has_file_lines(&self) -> bool {
        self.read_at < self.write_at
    }

    fn keep_or_write(&mut self, line: Line) -> bool {
        // One line always has room in memory.
        if self.memory.is_empty() || self.memory_bytes + cost(&line) <= self.limits.memory_bytes {
            self.remember(line);
            return true;
        }
        self.write(&line)
    }

    fn remember(&mut self, line: Line) {
        self.memory_bytes += cost(&line);
        self.memory.push_back(line);
    }

    fn write(&mut self, line: &Line) -> bool {
        let Some(file) = &self.file else { return false };
        let Ok(text) = serde_json::to_vec(line) else { return false };
        let mut bytes = u32::try_from(text.len()).unwrap_or(0).to_le_bytes().to_vec();
        bytes.extend(text);
        let end = self.write_at + bytes.len() as u64;
        let is_written = end <= self.limits.file_bytes && file.write_all_at(&bytes, self.write_at).is_ok();
        if is_written {
            self.write_at = end;
        }
        is_written
    }

    fn read(&mut self) -> io::Result<Line> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact_at(&mut length, self.read_at)?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact_at(&mut text, self.read_at + LENGTH_BYTES)?;
        let line = serde_json::from_slice(&text)?;
        self.read_at += LENGTH_BYTES + text.len() as u64;
        if self.read_at == self.write_at {
            (self.read_at, self.write_at) = (0, 0);
            // Only the room is lost when it is not cut.
            let _ = file.set_len(0);
        }
        Ok(line)
    }
}

fn cost(line: &Line) -> usize {
    line.text.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_core::Timestamp;
    use hob_wire::RecordSource;
    use proptest::prelude::*;

    fn push(spool: &mut Spool, text: &str) {
        spool.push(|number, dropped| Line {
            number,
            time: Timestamp::default(),
            source: RecordSource::Stdout,
            text: text.to_owned(),
            dropped,
        });
    }

    fn spool(memory_lines: usize, file_bytes: u64) -> Spool {
        let limits = Limits { memory_bytes: memory_lines * (OVERHEAD_BYTES + 3), file_bytes };
        Spool::with(Some(tempfile::tempfile().unwrap()), limits)
    }

    fn given(spool: &mut Spool) -> Vec<(u64, String, u64)> {
        let mut lines = Vec::new();
        while let Some(line) = spool.next() {
            lines.push((line.number, line.text.clone(), line.dropped));
        }
        lines
    }

    #[test]
    fn what_no_agent_acknowledged_is_given_again_in_order_and_what_is_over_is_counted() {
        let mut spool = spool(4, 2 * 90);
        for number in 1..=9 {
            push(&mut spool, &format!("l{number:02}"));
        }
        // Four in memory, as many in the file as it holds, the rest counted.
        let kept = spool.last_number();
        assert!(kept > 4 && spool.dropped() == 9 - kept, "{kept} kept, {} dropped", spool.dropped());
        assert_eq!(given(&mut spool).len(), 4);
        spool.rewind();
        assert_eq!(given(&mut spool)[0].1, "l01");
        spool.acknowledge(4);
        let rest = given(&mut spool);
        assert_eq!(rest.last().unwrap().1, format!("l{kept:02}"));
        push(&mut spool, "new");
        assert_eq!(given(&mut spool), [(kept + 1, "new".to_owned(), 9 - kept)]);
        assert_eq!(spool.dropped(), 0);
    }

    proptest! {
        #[test]
        fn nothing_is_missing_or_doubled_while_there_is_room(steps in proptest::collection::vec(0_u8..4, 1..200)) {
            let mut spool = spool(3, 1 << 20);
            let (mut written, mut acknowledged, mut seen) = (0, 0, 0);
            for step in steps {
                match step {
                    0 | 1 => {
                        written += 1;
                        push(&mut spool, &format!("{written:03}"));
                    }
                    2 => {
                        for (number, text, dropped) in given(&mut spool) {
                            prop_assert_eq!(number, seen + 1);
                            prop_assert_eq!((text, dropped), (format!("{number:03}"), 0));
                            seen = number;
                        }
                        let next = acknowledged + (seen - acknowledged).div_ceil(2);
                        spool.acknowledge(next);
                        acknowledged = next;
                    }
                    _ => {
                        spool.rewind();
                        seen = acknowledged;
                    }
                }
            }
            spool.rewind();
            seen = acknowledged;
            while seen < written {
                let lines = given(&mut spool);
                prop_assert!(!lines.is_empty());
                for (number, _, _) in lines {
                    prop_assert_eq!(number, seen + 1);
                    seen = number;
                }
                spool.acknowledge(seen);
            }
        }
    }
}
