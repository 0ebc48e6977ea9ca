//! Redis's protocol, as far as streams need it.

use anyhow::{Result, bail};

use super::{Consume, InOrder, Publish};
use crate::events::Events;

/// Appends a command.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The length of the value at the front of the input; none when it is not whole. Texts in it go to `found`.
pub fn value<'a>(input: &'a [u8], found: &mut Vec<&'a [u8]>) -> Result<Option<usize>> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let (line, mut used) = (&input[..end - 1], end + 1);
    let number = || String::from_utf8_lossy(&line[1..]).parse::<i64>();
    match line[0] {
        b'+' | b':' => {}
        b'-' => bail!("redis says {}", String::from_utf8_lossy(line)),
        b'$' => {
            let length = number()?;
            if length >= 0 {
                let Some(text) = input.get(used..used + length as usize) else { return Ok(None) };
                if input.len() < used + length as usize + 2 {
                    return Ok(None);
                }
                found.push(text);
                used += length as usize + 2;
            }
        }
        b'*' => {
            for _ in 0..number()?.max(0) {
                match value(&input[used..], found)? {
                    Some(length) => used += length,
                    None => return Ok(None),
                }
            }
        }
        _ => bail!("redis says {}", String::from_utf8_lossy(line)),
    }
    Ok(Some(used))
}

/// Appends to a stream with XADD, pipelined within a unit.
pub struct Publisher {
    batch: usize,
    order: InOrder,
    event: Vec<u8>,
}

impl Publisher {
    pub fn new(batch: usize) -> Self {
        Self { batch, order: InOrder::new(batch), event: Vec::new() }
    }
}

impl Publish for Publisher {
    fn unit(&mut self, events: &mut Events, out: &mut Vec<u8>) {
        for _ in 0..self.batch {
            self.event.clear();
            events.write(&mut self.event);
            command(out, &[b"XADD", b"bench", b"*", b"e", &self.event]);
        }
    }

    fn read(&mut self, input: &[u8], done: &mut Vec<u64>) -> Result<usize> {
        let (mut used, mut found) = (0, Vec::new());
        while let Some(length) = value(&input[used..], &mut found)? {
            self.order.answered(done);
            used += length;
            found.clear();
        }
        Ok(used)
    }
}

/// Reads as the only consumer of a group, and acknowledges.
pub struct Consumer {
    group: String,
}

impl Consumer {
    pub fn new(group: String) -> Self {
        Self { group }
    }

    fn ask(&self, out: &mut Vec<u8>) {
        let words: [&[u8]; 11] = [
            b"XREADGROUP",
            b"GROUP",
            self.group.as_bytes(),
            b"c",
            b"COUNT",
            b"1000",
            b"BLOCK",
            b"10000",
            b"STREAMS",
            b"bench",
            b">",
        ];
        command(out, &words);
    }
}

impl Consume for Consumer {
    fn start(&mut self, out: &mut Vec<u8>) {
        self.ask(out);
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let (mut used, mut found) = (0, Vec::new());
        while let Some(length) = value(&input[used..], &mut found)? {
            let is_number = input[used] == b':';
            used += length;
            if is_number {
                continue;
            }
            // The stream's name, then for each entry its id, the field's name and the event.
            let entries = || found.iter().skip(1).collect::<Vec<_>>();
            let ids: Vec<&[u8]> =
                entries().chunks(3).map(|entry| **entry.first().unwrap_or(&&&b""[..])).collect();
            entries().chunks_exact(3).for_each(|entry| seen(entry[2]));
            if !ids.is_empty() {
                let mut words: Vec<&[u8]> = vec![b"XACK", b"bench", self.group.as_bytes()];
                words.extend(ids);
                command(out, &words);
            }
            self.ask(out);
            found.clear();
        }
        Ok(used)
    }
}
