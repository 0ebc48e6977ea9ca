//! Every case is read in one piece, byte by byte and after another request, with the same verdict.

use proptest::prelude::*;

use super::*;

fn is_good(text: &str) -> bool {
    let bytes = text.as_bytes();
    let whole = Framing::default().check(bytes) == bytes.len();
    let mut framing = Framing::default();
    let single = bytes.iter().all(|byte| framing.check(std::slice::from_ref(byte)) == 1);
    let before = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nb";
    let both = format!("{before}{text}");
    let after = Framing::default().check(both.as_bytes()) == both.len();
    assert!(whole == single && single == after, "{text:?}: {whole} {single} {after}");
    whole
}

#[test]
fn what_can_be_read_in_one_way_passes() {
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\ncontent-length:5 \r\n\r\na\nb\0cGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhe\nlo\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\n",
    ] {
        assert!(is_good(text), "{text:?}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_does_not() {
    for text in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
    ] {
        assert!(!is_good(text), "{text:?}");
    }
}

proptest! {
    #[test]
    fn cutting_changes_nothing_and_what_is_bad_stays_bad(
        bytes in prop::collection::vec(prop::sample::select(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()), 0..200),
        cut in 1_usize..50,
    ) {
        let whole = Framing::default().check(&bytes);
        let mut framing = Framing::default();
        let mut good = 0;
        for part in bytes.chunks(cut) {
            let taken = framing.check(part);
            good += taken;
            if taken < part.len() {
                prop_assert_eq!(framing.check(b"GET / HTTP/1.1\r\n\r\n"), 0);
                break;
            }
        }
        prop_assert_eq!(good, whole);
    }
}
