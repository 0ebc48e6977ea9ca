//! Splits what a process writes into lines of a bounded length.

/// Longest line, in bytes; what follows up to the line's end is left out, and the line says so.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
const CUT: &str = " … [cut]";

/// Keeps the line that has not ended yet.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    partial: Vec<u8>,
    is_cut: bool,
}

impl Splitter {
    /// Takes in bytes as they come and gives the lines that they end, without their ends. What is no UTF-8 is replaced.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.add(&rest[..end]);
            lines.push(self.take());
            rest = &rest[end + 1..];
        }
        self.add(rest);
        lines
    }

    /// The last line when it has no end.
    pub(crate) fn finish(mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.partial.len();
        self.is_cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        if !self.is_cut && self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        let mut line = String::from_utf8_lossy(&self.partial).into_owned();
        if std::mem::take(&mut self.is_cut) {
            line.push_str(CUT);
        }
        self.partial.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_split_wherever_the_bytes_are() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"one\r\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o\n\nthr\xffee"), ["two", ""]);
        assert_eq!(splitter.finish().as_deref(), Some("thr\u{fffd}ee"));
        assert_eq!(Splitter::default().finish(), None);
    }

    #[test]
    fn a_long_line_is_cut_and_marked() {
        let mut splitter = Splitter::default();
        let long = vec![b'x'; LINE_BYTES_MAX + 5];
        assert!(splitter.push(&long).is_empty());
        let lines = splitter.push(b"yz\nnext\n");
        assert_eq!(lines[0].len(), LINE_BYTES_MAX + CUT.len());
        assert!(lines[0].ends_with("x … [cut]"));
        assert_eq!(lines[1], "next");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..400) {
            let all = |pieces: &[&[u8]]| {
                let mut splitter = Splitter::default();
                let mut lines: Vec<String> = pieces.iter().flat_map(|piece| splitter.push(piece)).collect();
                lines.extend(splitter.finish());
                lines
            };
            let (left, right) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(all(&[&bytes]), all(&[left, right]));
        }
    }
}
