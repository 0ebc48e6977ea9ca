//! Bits that changed by themselves.

use std::fs;

use crate::specimen::{Numbers, Specimen, overwrite};

const SEGMENT_BYTES: u64 = 1500;
const ROUNDS: u64 = 150;

async fn specimen() -> Specimen {
    let specimen = Specimen::new(&[1, 5, 2, 8, 1, 1, 20, 3, 1, 4, 1, 2], SEGMENT_BYTES, 30).await;
    let first = &specimen.blocks[0].file;
    assert!(specimen.blocks.iter().any(|block| block.file != *first), "there are several segments");
    specimen
}

/// From the seed in `HOB_TEST_SEED`, else from a fresh one; a failing test prints it.
fn numbers() -> Numbers {
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var_os("HOB_TEST_SEED").map(|seed| seed.to_str().unwrap().parse().unwrap());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("seed {seed}");
    Numbers(seed)
}

#[tokio::test]
async fn one_bit_costs_no_more_than_its_block() {
    let specimen = specimen().await;
    let mut numbers = numbers();
    for round in 0..ROUNDS {
        let copy = specimen.copy();
        let hit = &specimen.blocks[numbers.below(specimen.blocks.len() as u64) as usize];
        let path = Specimen::file_in(&copy, hit);
        let mut bytes = fs::read(&path).unwrap();
        let (at, bit) = (numbers.below(bytes.len() as u64), numbers.below(8));
        bytes[at as usize] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let missing = specimen.check(&copy, SEGMENT_BYTES).await;
        let of_file = specimen.blocks.iter().filter(|block| block.file == hit.file);
        let touched = of_file.clone().find(|block| (block.start..block.end).contains(&at));
        for seq in missing {
            let touched = touched.expect("a segment's header costs nothing");
            assert!(
                touched.sequences.contains(&seq),
                "round {round}: bit {bit} of {at} in {path:?} cost {seq}"
            );
        }
    }
}

#[tokio::test]
async fn one_bit_of_a_payload_costs_that_record() {
    let specimen = specimen().await;
    let hit = specimen.blocks.iter().find(|block| block.sequences.clone().count() == 20).unwrap();
    let content = fs::read(&hit.file).unwrap();
    for seq in hit.sequences.clone() {
        let copy = specimen.copy();
        let wanted = format!("record {seq} ");
        let at = content.windows(wanted.len()).position(|window| window == wanted.as_bytes()).unwrap();
        overwrite(&Specimen::file_in(&copy, hit), at as u64, b"R");
        assert_eq!(specimen.check(&copy, SEGMENT_BYTES).await, [seq]);
    }
}

#[tokio::test]
async fn a_lost_sector_costs_the_blocks_it_touches() {
    let specimen = specimen().await;
    let mut numbers = numbers();
    for _ in 0..ROUNDS / 3 {
        let copy = specimen.copy();
        let hit = &specimen.blocks[numbers.below(specimen.blocks.len() as u64) as usize];
        let path = Specimen::file_in(&copy, hit);
        let length = fs::metadata(&path).unwrap().len();
        let start = numbers.below(length);
        let end = (start + 1 + numbers.below(600)).min(length);
        overwrite(&path, start, &vec![0; (end - start) as usize]);
        let missing = specimen.check(&copy, SEGMENT_BYTES).await;
        for seq in missing {
            let lost = specimen.blocks.iter().find(|block| block.sequences.contains(&seq)).unwrap();
            assert!(lost.file == hit.file && lost.start < end && start < lost.end, "{seq} was not touched");
        }
    }
}
