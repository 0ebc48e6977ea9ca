//! Variable-length integers: seven bits a byte, least significant first; signed ones zigzag. The one place that writes and
//! reads them: blocks of logs, parts, the index, and the rows that the bus keeps in these.

/// Longest form of a 64-bit integer, in bytes.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Appends an integer.
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer.
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes an integer off the front of a slice; `None` when it is cut short or larger than 64 bits.
pub fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..VARINT_BYTES_MAX {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if place == VARINT_BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a signed integer off the front of a slice.
pub fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(unzigzag)
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Takes what it reads off the front of a slice; `None` at its end or when the bytes make no sense.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut rest = self.bytes.get(self.position..)?;
        let value = take(&mut rest)?;
        self.position = self.bytes.len() - rest.len();
        Some(value)
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    /// A length that the rest of the bytes can hold.
    pub(crate) fn length(&mut self) -> Option<usize> {
        let length = usize::try_from(self.varint()?).ok()?;
        (length <= self.bytes.len() - self.position).then_some(length)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(length)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(value: u64, signed: i64, behind: Vec<u8>) {
            let mut out = Vec::new();
            write(&mut out, value);
            write_signed(&mut out, signed);
            out.extend(&behind);
            let mut rest = out.as_slice();
            prop_assert_eq!((take(&mut rest), take_signed(&mut rest)), (Some(value), Some(signed)));
            prop_assert_eq!(rest, &behind);
            let mut cursor = Cursor::new(&out, 0);
            prop_assert_eq!((cursor.varint(), cursor.signed()), (Some(value), Some(signed)));
            prop_assert_eq!(&out[cursor.position()..], &behind);
        }
    }

    #[test]
    fn what_is_cut_short_or_too_large_is_none() {
        for bytes in
            [&[][..], &[0x80], &[0xff; 10], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]]
        {
            assert_eq!((take(&mut &*bytes), Cursor::new(bytes, 0).varint()), (None, None), "{bytes:?}");
        }
        let greatest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(take(&mut &greatest[..]), Some(u64::MAX));
    }
}
