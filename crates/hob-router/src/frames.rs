//! Where one frame of a websocket ends and the next begins (RFC 6455, 5.2), so that a close frame of the router's own can
//! be put between two. Frames are counted, never changed.

/// Follows one direction of a websocket.
#[derive(Default)]
pub(crate) struct Frames {
    header: [u8; 10],
    /// Bytes of the header that are here.
    header_bytes: usize,
    /// Bytes of the frame that are still to come, once its header is complete.
    left: u64,
}

impl Frames {
    /// Whether the next byte begins a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.header_bytes == 0 && self.left == 0
    }

    /// Takes bytes in; returns how many of them belong to what has begun, so that after them a frame begins. All of
    /// them when the last frame goes on, or with `is_last` unset.
    pub(crate) fn take(&mut self, bytes: &[u8], is_last: bool) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if is_last && self.is_between() {
                return at;
            }
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= step as u64;
                at += step;
                continue;
            }
            self.header[self.header_bytes] = bytes[at];
            self.header_bytes += 1;
            at += 1;
            self.left = match self.header_length() {
                Some((length, payload)) if length == self.header_bytes => {
                    self.header_bytes = 0;
                    payload
                }
                _ => continue,
            };
        }
        at
    }

    /// The bytes of the header without the mask, and of the mask and the payload.
    fn header_length(&self) -> Option<(usize, u64)> {
        if self.header_bytes < 2 {
            return None;
        }
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        Some(match self.header[1] & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes([self.header[2], self.header[3]])) + mask),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.header[2..10]);
                (10, u64::from_be_bytes(length).saturating_add(mask))
            }
            short => (2, u64::from(short) + mask),
        })
    }
}

/// A close frame; those that go to an instance are masked, as a client's are.
pub(crate) fn close(code: u16, mask: Option<[u8; 4]>) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    match mask {
        None => vec![0x88, 2, high, low],
        Some(mask) => vec![0x88, 0x82, mask[0], mask[1], mask[2], mask[3], high ^ mask[0], low ^ mask[1]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: usize, is_masked: bool) -> Vec<u8> {
        let bit = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match payload {
            0..126 => frame.push(bit | payload as u8),
            126..65_536 => {
                frame.push(bit | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(7, payload + if is_masked { 4 } else { 0 }));
        frame
    }

    #[test]
    fn ends_are_found_however_the_bytes_are_cut() {
        let sizes =
            [(0, false), (5, true), (125, false), (126, true), (300, false), (70_000, true), (0, true)];
        let frames: Vec<Vec<u8>> = sizes.iter().map(|(size, is_masked)| frame(*size, *is_masked)).collect();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |at, frame| {
                *at += frame.len();
                Some(*at)
            })
            .collect();
        let all = frames.concat();
        for cut in [1, 2, 3, 7, 1000, all.len()] {
            let (mut follower, mut at, mut found) = (Frames::default(), 0, Vec::new());
            while at < all.len() {
                let part = &all[at..(at + cut).min(all.len())];
                let mut from = 0;
                while from < part.len() {
                    // A byte that begins a frame is taken first, so that the next end is looked for.
                    if follower.is_between() {
                        follower.take(&part[from..=from], false);
                        from += 1;
                    }
                    from += follower.take(&part[from..], true);
                    if follower.is_between() {
                        found.push(at + from);
                    }
                }
                at += part.len();
            }
            found.dedup();
            assert_eq!(found, ends, "cut into {cut}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code() {
        assert_eq!(close(1001, None), [0x88, 2, 3, 0xe9]);
        assert_eq!(close(1001, Some([1, 2, 3, 4])), [0x88, 0x82, 1, 2, 3, 4, 2, 0xeb]);
    }
}
