//! Filters: whether a key may be in a piece of a run, asked by reading one line of 64 bytes.
//!
//! A Bloom filter whose bits for one key all stand in one line, so that it need not be in memory: reading a line of a
//! file that the system caches costs less than a microsecond. Each line carries its own checksum.

use super::block::CRC_BYTES;

pub(super) const LINE_BYTES: usize = 64;
/// Bits of a line beside its checksum.
const LINE_BITS: u64 = ((LINE_BYTES - CRC_BYTES) * 8) as u64;
/// Keys for which a line is meant: about one key in a hundred that is not there seems to be.
const LINE_KEYS: usize = 44;
/// Bits that one key sets.
const KEY_BITS: u32 = 6;

/// A number for a key: quick, spread well; that somebody may choose keys which share one costs only time.
pub(super) fn number(key: &[u8]) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut number = 0x9e37_79b9_7f4a_7c15 ^ key.len() as u64;
    let (chunks, rest) = key.as_chunks::<8>();
    for chunk in chunks {
        number = fold(number ^ u64::from_le_bytes(*chunk), 0xbf58_476d_1ce4_e5b9);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(number ^ u64::from_le_bytes(last), 0x94d0_49bb_1331_11eb)
}

/// Lines that so many keys want.
pub(super) fn lines_for(keys: usize) -> u32 {
    keys.div_ceil(LINE_KEYS).max(1) as u32
}

/// Which of the lines is a key's.
pub(super) fn line_of(number: u64, lines: u32) -> u32 {
    (((number >> 32) * u64::from(lines)) >> 32) as u32
}

fn bits(number: u64) -> impl Iterator<Item = (usize, u8)> {
    let (mut at, step) = (number & 0xffff_ffff, (number >> 17 & 0xffff) | 1);
    (0..KEY_BITS).map(move |_| {
        let bit = at % LINE_BITS;
        at = at.wrapping_mul(0x9e37_79b1).wrapping_add(step) & 0xffff_ffff;
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

/// The lines of a filter over these keys' numbers.
pub(super) fn build(numbers: &[u64]) -> Vec<u8> {
    let lines = lines_for(numbers.len());
    let mut out = vec![0; lines as usize * LINE_BYTES];
    for &number in numbers {
        let start = line_of(number, lines) as usize * LINE_BYTES;
        bits(number).for_each(|(byte, bit)| out[start + byte] |= bit);
    }
    for line in out.chunks_exact_mut(LINE_BYTES) {
        let (content, crc) = line.split_at_mut(LINE_BYTES - CRC_BYTES);
        crc.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
    }
    out
}

/// Whether the key may be there, by its line without the checksum.
pub(super) fn may_hold(line: &[u8], number: u64) -> bool {
    bits(number).all(|(byte, bit)| line.get(byte).is_some_and(|found| found & bit != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_its_keys_and_few_others() {
        let numbers: Vec<u64> = (0..4_000_u32).map(|n| number(format!("key {n}").as_bytes())).collect();
        let filter = build(&numbers);
        let lines = lines_for(numbers.len());
        let holds = |number: u64| {
            let start = line_of(number, lines) as usize * LINE_BYTES;
            may_hold(&filter[start..start + LINE_BYTES - CRC_BYTES], number)
        };
        assert!(numbers.iter().all(|number| holds(*number)));
        let wrong = (0..10_000_u32).filter(|n| holds(number(format!("other {n}").as_bytes()))).count();
        assert!(wrong < 300, "{wrong} of 10,000");
    }
}
