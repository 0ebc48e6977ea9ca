//! Blocks and files that are lost, stale, in the wrong place or of somebody else.

use std::fs;

use hob_store::{Gap, OpenError, SegmentedLog};

use crate::specimen::{Specimen, append, bytes_of, open, options, overwrite, read_all, record};

const SEGMENT_BYTES: u64 = 64 << 10;

#[tokio::test]
async fn a_block_that_vanished_is_missed() {
    let specimen = Specimen::new(&[2, 2, 3, 2, 2], SEGMENT_BYTES, 10).await;
    let copy = specimen.copy();
    let lost = &specimen.blocks[2];
    let path = Specimen::file_in(&copy, lost);
    let mut bytes = fs::read(&path).unwrap();
    bytes.drain(lost.start as usize..lost.end as usize);
    fs::write(&path, bytes).unwrap();
    assert_eq!(specimen.check(&copy, SEGMENT_BYTES).await, [5, 6, 7]);
}

#[tokio::test]
async fn blocks_in_the_wrong_order_are_noticed() {
    let specimen = Specimen::new(&[2, 2, 2, 2, 2], SEGMENT_BYTES, 10).await;
    let copy = specimen.copy();
    let (left, right) = (&specimen.blocks[1], &specimen.blocks[2]);
    let path = Specimen::file_in(&copy, left);
    overwrite(&path, left.start, &[bytes_of(right), bytes_of(left)].concat());
    assert_eq!(specimen.check(&copy, SEGMENT_BYTES).await, [3, 4]);
}

#[tokio::test]
async fn a_stale_block_breaks_the_chain_and_is_not_believed() {
    let specimen = Specimen::new(&[2, 2], SEGMENT_BYTES, 10).await;
    let (stale, kept) = (specimen.copy(), specimen.copy());
    for (copy, sizes) in [(&stale, [7].as_slice()), (&kept, &[8, 9, 10])] {
        let log = open(copy.path(), SEGMENT_BYTES);
        for n in sizes {
            append(&log, vec![record(*n, if *n == 10 { 9 } else { 10 })]).await;
        }
    }
    let name = specimen.blocks[0].file.file_name().unwrap();
    let start = specimen.blocks[1].end;
    let from = fs::read(stale.path().join(name)).unwrap();
    overwrite(&kept.path().join(name), start, &from[start as usize..]);
    let log = open(kept.path(), SEGMENT_BYTES);
    let read = read_all(&log).await;
    assert_eq!((log.head(), read.gaps), (7, vec![Gap { first: 5, last: 6 }]));
    assert!(read.records.iter().map(|stored| stored.seq).eq([1, 2, 3, 4, 7]));
}

#[tokio::test]
async fn a_segment_that_vanished_is_missed() {
    let specimen = Specimen::new(&[2; 12], 300, 60).await;
    let lost = &specimen.blocks[5].file;
    let copy = specimen.copy();
    fs::remove_file(copy.path().join(lost.file_name().unwrap())).unwrap();
    let of_lost = specimen.blocks.iter().filter(|block| block.file == *lost);
    let expected: Vec<u64> = of_lost.flat_map(|block| block.sequences.clone()).collect();
    assert_eq!(specimen.check(&copy, 300).await, expected);
}

#[tokio::test]
async fn the_identity_is_found_again_in_the_segments() {
    let specimen = Specimen::new(&[2; 5], 300, 60).await;
    for damage in [None, Some("?")] {
        let copy = specimen.copy();
        let id = copy.path().join("id");
        let before = fs::read(&id).unwrap();
        fs::remove_file(&id).unwrap();
        damage.into_iter().for_each(|text| fs::write(&id, text).unwrap());
        assert_eq!(specimen.check(&copy, 300).await, Vec::<u64>::new());
        assert_eq!(fs::read(&id).unwrap(), before);
    }
}

#[tokio::test]
async fn a_segment_of_another_log_or_version_is_refused_untouched() {
    let specimen = Specimen::new(&[2; 5], 300, 60).await;
    let other = Specimen::new(&[2; 5], 300, 60).await;
    let copy = specimen.copy();
    let last = specimen.blocks.last().unwrap();
    let path = Specimen::file_in(&copy, last);
    fs::copy(&other.blocks.last().unwrap().file, &path).unwrap();
    let before = fs::read(&path).unwrap();
    let error = SegmentedLog::open(copy.path(), options(300)).err().unwrap();
    assert!(matches!(error, OpenError::ForeignSegment { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}
