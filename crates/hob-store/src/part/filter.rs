//! A membership filter over 64-bit keys: says for certain that a key is in none of a part's rows.
//!
//! A Bloom filter in blocks of 32 bytes: a key chooses one block and sets one bit in each of its eight words, so that
//! a question touches one line of the processor's cache. About one question in a hundred gets a false "perhaps".

use super::{PartError, damaged};

const BLOCK_BYTES: usize = 32;
const WORDS: usize = 8;
/// Bits a key; gives about 1 % of false answers.
const KEY_BITS: usize = 11;
/// Odd numbers that spread a key over the words of its block.
const SALTS: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Says whether a part may contain a key.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    blocks: Vec<[u32; WORDS]>,
}

impl KeyFilter {
    /// A filter over these keys.
    pub(super) fn of(keys: &[u64]) -> Self {
        let bytes = (keys.len() * KEY_BITS).div_ceil(8);
        let count = if keys.is_empty() { 0 } else { bytes.div_ceil(BLOCK_BYTES).max(1) };
        let mut filter = Self { blocks: vec![[0; WORDS]; count] };
        for key in keys {
            let key = mix(*key);
            let at = filter.place(key);
            filter.blocks[at].iter_mut().zip(bits(key)).for_each(|(word, bit)| *word |= bit);
        }
        filter
    }

    /// Whether one of the rows may have this key; `false` is certain.
    pub fn may_contain(&self, key: u64) -> bool {
        if self.blocks.is_empty() {
            return false;
        }
        let key = mix(key);
        self.blocks[self.place(key)].iter().zip(bits(key)).all(|(word, bit)| word & bit != 0)
    }

    /// Bytes that it takes in memory and on disk.
    pub fn size(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    fn place(&self, key: u64) -> usize {
        (((key >> 32) * self.blocks.len() as u64) >> 32) as usize
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PartError> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        if !rest.is_empty() {
            return Err(damaged("filter"));
        }
        let word = |block: &[u8; BLOCK_BYTES], nth: usize| super::u32_at(block, 4 * nth);
        let blocks = blocks.iter().map(|block| std::array::from_fn(|nth| word(block, nth))).collect();
        Ok(Self { blocks })
    }
}

fn bits(key: u64) -> impl Iterator<Item = u32> {
    SALTS.into_iter().map(move |salt| 1 << ((key as u32).wrapping_mul(salt) >> 27))
}

/// Spreads a key over all 64 bits, whatever its caller did.
fn mix(key: u64) -> u64 {
    let key = (key ^ (key >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_few_others() {
        for count in [0_u64, 1, 7, 1_000, 100_000] {
            let keys: Vec<u64> = (0..count).collect();
            let filter = KeyFilter::decode(&KeyFilter::of(&keys).encode()).unwrap();
            assert!(keys.iter().all(|key| filter.may_contain(*key)));
            let wrong = (count..count + 10_000).filter(|key| filter.may_contain(*key)).count();
            assert!(wrong < 250, "{wrong} of 10000 with {count} keys");
            assert!(filter.size() <= count as usize * 2 + BLOCK_BYTES);
        }
    }

    #[test]
    fn half_a_block_is_no_filter() {
        assert!(KeyFilter::decode(&[0; 33]).is_err());
    }
}
