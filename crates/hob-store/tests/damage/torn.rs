//! A write that was not finished.

use std::fs;

use crate::specimen::{Place, SEGMENT_HEADER_BYTES, Specimen, open, overwrite, read_all};

const SEGMENT_BYTES: u64 = 64 << 10;

#[tokio::test]
async fn a_log_cut_anywhere_in_its_last_blocks_keeps_all_whole_ones() {
    let specimen = Specimen::new(&[3, 1, 1, 2, 1], SEGMENT_BYTES, 10).await;
    let [.., third_last, _, last] = specimen.blocks.as_slice() else { panic!("there are five blocks") };
    for cut in third_last.start..last.end {
        let copy = specimen.copy();
        let file = fs::OpenOptions::new().write(true).open(Specimen::file_in(&copy, last)).unwrap();
        file.set_len(cut).unwrap();
        let whole: Vec<&Place> = specimen.blocks.iter().filter(|block| block.end <= cut).collect();
        let log = open(copy.path(), SEGMENT_BYTES);
        let head = *whole.last().unwrap().sequences.end();
        assert_eq!(log.head(), head, "cut at {cut}");
        assert_eq!(log.stats().torn_bytes, cut - whole.last().unwrap().end);
        let read = read_all(&log).await;
        assert_eq!((read.records.as_slice(), read.gaps.len()), (&specimen.records[..head as usize], 0));
        drop(log);
        if cut % 16 == 0 {
            specimen.check(&copy, SEGMENT_BYTES).await;
        }
    }
}

#[tokio::test]
async fn what_is_cut_off_is_kept_beside_the_segment() {
    let specimen = Specimen::new(&[1, 1], SEGMENT_BYTES, 10).await;
    let copy = specimen.copy();
    let last = &specimen.blocks[1];
    let path = Specimen::file_in(&copy, last);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(last.end - 9).unwrap();
    let written = fs::read(&path).unwrap();
    drop(open(copy.path(), SEGMENT_BYTES));
    let kept = path.with_extension(format!("{}.torn", last.start));
    assert_eq!(fs::read(kept).unwrap(), written[last.start as usize..]);
    assert_eq!(fs::metadata(&path).unwrap().len(), last.start);
}

#[tokio::test]
async fn zeros_behind_the_last_block_are_cut_off() {
    let specimen = Specimen::new(&[1, 2], SEGMENT_BYTES, 10).await;
    let copy = specimen.copy();
    let last = &specimen.blocks[1];
    overwrite(&Specimen::file_in(&copy, last), last.end, &[0; 5000]);
    assert_eq!(specimen.check(&copy, SEGMENT_BYTES).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_new_segment_that_was_not_finished_is_begun_again() {
    let specimen = Specimen::new(&[2, 2, 2, 2], 200, 60).await;
    for length in 0..SEGMENT_HEADER_BYTES {
        let copy = specimen.copy();
        let next = copy.path().join(format!("{:020}.log", 9));
        fs::write(&next, vec![0x55; length as usize]).unwrap();
        assert_eq!(specimen.check(&copy, 200).await, Vec::<u64>::new(), "{length} bytes of a header");
    }
}
