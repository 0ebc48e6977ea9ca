//! Parts round trip, notice every flipped bit, and take any bytes without a panic.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::log::{Stored, Tag};

fn row(seq: u64, tag: &str, time: i64, payload: Vec<u8>) -> Stored {
    Stored { seq, tag: Tag::new(tag).unwrap(), time, payload: payload.into() }
}

/// Rows of three tags with holes between their sequences; every key is ten times its sequence.
fn specimen(count: u64, bytes: usize) -> (Vec<Stored>, Bytes) {
    let rows: Vec<Stored> = (1..=count)
        .map(|n| row(3 * n, ["a", "b/b", "c"][(n / 40 % 3) as usize], 7 * n as i64, vec![n as u8; bytes]))
        .collect();
    (rows.clone(), part_of(&rows))
}

fn part_of(rows: &[Stored]) -> Bytes {
    let mut writer = PartWriter::new();
    rows.iter().for_each(|row| writer.push(row, [row.seq * 10]).unwrap());
    writer.finish().0
}

fn read_all(bytes: &[u8], index: &PartIndex) -> Vec<Stored> {
    let frame_bytes = |frame: &Frame| &bytes[frame.range().start as usize..frame.range().end as usize];
    index
        .frames()
        .iter()
        .flat_map(|frame| decode_frame(frame_bytes(frame), frame).unwrap_or_default())
        .collect()
}

#[test]
fn a_part_tells_its_rows_tags_frames_and_keys() {
    let (rows, bytes) = specimen(6_000, 60);
    let size = bytes.len() as u64;
    let tail = &bytes[PartIndex::tail_range(size).start as usize..];
    let index =
        PartIndex::decode(&tail[tail.len() - PartIndex::needs(tail).unwrap() as usize..], size).unwrap();
    assert_eq!(read_all(&bytes, &index), rows);
    assert!(index.frames().len() > 3);
    for tag in ["a", "b/b", "c"] {
        let tag = Tag::new(tag).unwrap();
        let of_tag: Vec<&Stored> = rows.iter().filter(|row| row.tag == tag).collect();
        let counted = *index.tags().find(|(found, _)| **found == tag).unwrap().1;
        let expected = TagRows {
            rows: of_tag.len() as u64,
            bytes: of_tag.len() as u64 * 60,
            first_seq: of_tag[0].seq,
            last_seq: of_tag[of_tag.len() - 1].seq,
            min_time: of_tag[0].time,
            max_time: of_tag[of_tag.len() - 1].time,
        };
        assert_eq!(counted, expected);
    }
    let filter = index.filter_range();
    let filter = index.filter(&bytes[filter.start as usize..filter.end as usize]).unwrap();
    assert!(rows.iter().all(|row| filter.may_contain(row.seq * 10)));
    assert!(check_part(&bytes).is_sound());
}

#[test]
fn tags_choose_their_frames() {
    let mut rows: Vec<Stored> = (1..=4_000).map(|n| row(n, "often", 0, vec![1; 60])).collect();
    rows[3_000].tag = Tag::new("once").unwrap();
    let bytes = part_of(&rows);
    let index = PartIndex::decode(&bytes, bytes.len() as u64).unwrap();
    let of = |tags: &[&str]| {
        let tags: BTreeSet<Tag> = tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
        index.frames_of(Some(&tags))
    };
    assert_eq!(of(&["once"]).len(), 1);
    let frame = index.frames()[of(&["once"])[0] as usize];
    assert!(frame.first_seq <= 3_001 && 3_001 <= frame.last_seq);
    assert_eq!(of(&["once", "often"]), index.frames_of(None));
    assert!(of(&["never"]).is_empty());
}

#[test]
fn an_empty_part_is_a_part() {
    let (bytes, index) = PartWriter::new().finish();
    assert_eq!(PartIndex::decode(&bytes, bytes.len() as u64), Ok(index));
    assert!(check_part(&bytes).is_sound());
}

#[test]
fn rows_out_of_order_are_refused() {
    let mut writer = PartWriter::new();
    writer.push(&row(5, "a", 0, vec![]), []).unwrap();
    assert_eq!(writer.push(&row(5, "a", 0, vec![]), []), Err(PartError::Order { seq: 5, last: 5 }));
}

#[test]
fn another_version_is_named() {
    let (_, bytes) = specimen(3, 3);
    let mut bytes = bytes.to_vec();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(check_header(&bytes), Err(PartError::OtherVersion { found: 9 }));
}

/// What was written once must stay readable.
#[test]
fn the_format_is_fixed() {
    let bytes = part_of(&[row(7, "a", -3, b"one".to_vec()), row(9, "b", 4, b"two".to_vec())]);
    let index = PartIndex::decode(&bytes, bytes.len() as u64).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&bytes[..16]), "484f42504152540a010000005c16f98f");
    let golden = concat!(
        "0501400207020007",
        "02",
        "0161010307000000123a300000010000000000000010000000",
        "00000162010309000e00123a3000000100000000000000100000000000"
    );
    assert_eq!(hex(&index.encode()), golden);
}

#[test]
fn a_lost_index_loses_no_row() {
    let (rows, bytes) = specimen(6_000, 60);
    let index = PartIndex::decode(&bytes, bytes.len() as u64).unwrap();
    let cut = bytes.slice(..index.filter_range().start as usize + 5);
    assert!(PartIndex::decode(&cut, cut.len() as u64).is_err());
    let salvaged = salvage_part(&cut);
    assert_eq!((salvaged.frames(), salvaged.tags().count()), (index.frames(), 3));
    assert!(salvaged.tags().eq(index.tags()));
    assert_eq!(read_all(&cut, &salvaged), rows);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rows_round_trip(
        steps in vec((1..1_000_u64, "[a-c/]{1,3}", any::<i64>(), vec(any::<u8>(), 0..300)), 0..400),
    ) {
        let mut seq = 0;
        let rows: Vec<Stored> = steps.into_iter().map(|(step, tag, time, payload)| {
            seq += step;
            row(seq, &tag, time, payload)
        }).collect();
        let bytes = part_of(&rows);
        let index = PartIndex::decode(&bytes, bytes.len() as u64).unwrap();
        prop_assert_eq!(read_all(&bytes, &index), rows);
        prop_assert!(check_part(&bytes).is_sound());
    }

    #[test]
    fn any_bytes_are_refused_or_decode(bytes in vec(any::<u8>(), 0..600)) {
        fuzz_decode_part(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_sound_beginning_and_end_are_taken(
        at in any::<prop::sample::Index>(), noise in vec(any::<u8>(), 1..80),
    ) {
        let (_, bytes) = specimen(30, 9);
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        bytes.splice(at..at, noise);
        fuzz_decode_part(&bytes);
    }

    /// A flipped bit is noticed, and costs at most the rows of its own frame.
    #[test]
    fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8) {
        let (rows, bytes) = specimen(3_000, 60);
        let index = PartIndex::decode(&bytes, bytes.len() as u64).unwrap();
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let check = check_part(&bytes);
        prop_assert!(!check.is_sound(), "byte {}", at);
        let hit = index.frames().iter().find(|frame| frame.range().contains(&(at as u64)));
        let found = match PartIndex::decode(&bytes, bytes.len() as u64) {
            Ok(found) => found,
            Err(_) => salvage_part(&bytes),
        };
        let lost = |seq: u64| hit.is_some_and(|frame| (frame.first_seq..=frame.last_seq).contains(&seq));
        let expected: Vec<Stored> = rows.into_iter().filter(|row| !lost(row.seq)).collect();
        prop_assert_eq!(read_all(&bytes, &found), expected);
        prop_assert_eq!(check.frames.len(), usize::from(hit.is_some()));
    }
}
