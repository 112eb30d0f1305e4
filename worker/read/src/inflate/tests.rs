use std::io::Write;

use flate2::write::GzEncoder;
use moulin_core::Compression::{Gzip, Zstd};

use super::*;

/// Bytes that compress by half.
fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + ((state >> 33) % 16) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn inflate(compression: Compression, stored: Vec<u8>, limits: &ReadLimits, threads: usize) -> Result<Vec<u8>, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let stream = ByteStream::new(io::Cursor::new(stored));
    let (counters, pool, on) =
        (Arc::default(), Pool::default(), Inflaters { runtime: runtime.handle(), threads, helper: None });
    let mut stream = inflated("f", compression, limits, stream, &counters, &pool, on);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes).map_err(|error| into_error("f", error))
}

/// The segments of a stream, and whether its end could not be cut.
fn cut(container: Container, stored: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut segments = Segments::new(container, ByteStream::new(io::Cursor::new(stored.to_vec())));
    let mut found = Vec::new();
    loop {
        match segments.next().unwrap() {
            Next::Segment(bytes) => found.push(bytes),
            end => return (found, matches!(end, Next::Uncut)),
        }
    }
}

#[test]
fn members_and_frames_are_found_and_small_ones_stay_together() {
    let parts: Vec<Vec<u8>> =
        [700 << 10, 0, 90 << 10, 800 << 10, 1 << 20].map(|bytes| text(bytes, bytes as u64)).into();
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], &[1, 2, 3]].concat();
    for (container, compress, more) in
        [(Container::Gzip, gz as fn(&[u8]) -> Vec<u8>, &[][..]), (Container::Zstd, zst, &skippable)]
    {
        let stored: Vec<Vec<u8>> = parts.iter().map(|part| [more, &compress(part)].concat()).collect();
        let (segments, uncut) = cut(container, &stored.concat());
        assert!(!uncut);
        // The empty and the small one go with the one behind them.
        let together = [1, 3, 1].iter().scan(0, |at, count| {
            *at += count;
            Some(stored[*at - count..*at].concat())
        });
        let together: Vec<Vec<u8>> = together.collect();
        assert_eq!(
            segments.iter().map(Vec::len).collect::<Vec<_>>(),
            together.iter().map(Vec::len).collect::<Vec<_>>()
        );
        assert!(segments == together, "{container:?}");
    }
}

#[test]
fn a_member_without_an_end_in_sight_is_not_cut() {
    let (segments, uncut) = cut(Container::Gzip, &gz(&text(12 << 20, 1)));
    assert_eq!((segments.len(), uncut), (0, true));
    let (segments, uncut) = cut(Container::Zstd, b"this is no frame");
    assert_eq!((segments.len(), uncut), (0, true));
}

#[test]
fn several_threads_inflate_what_one_does() {
    let parts: Vec<Vec<u8>> = (0..9).map(|n| text(600 << 10, n)).collect();
    // What looks like a header stands in the middle of a member whose blocks are stored as they are.
    let mut stored_plain = text(900 << 10, 77);
    stored_plain[600 << 10..][..10].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&stored_plain).unwrap();
    let misleading = encoder.finish().unwrap();
    assert!(cut(Container::Gzip, &misleading).0.len() > 1, "it is taken for a member of its own");
    let all = |compress: fn(&[u8]) -> Vec<u8>| parts.iter().map(|part| compress(part)).collect::<Vec<_>>();
    let mut mixed = all(gz);
    mixed.insert(5, misleading);
    let mut mixed_text = parts.clone();
    mixed_text.insert(5, stored_plain);
    let large = text(14 << 20, 3);
    let table = [
        (Gzip, all(gz).concat(), parts.concat()),
        (Zstd, all(zst).concat(), parts.concat()),
        (Gzip, mixed.concat(), mixed_text.concat()),
        (Gzip, [gz(&parts[0]), gz(&large), gz(&parts[1])].concat(), [&parts[0][..], &large, &parts[1]].concat()),
        (Gzip, gz(b""), Vec::new()),
        (Zstd, zst(b""), Vec::new()),
    ];
    for (number, (compression, stored, expected)) in table.into_iter().enumerate() {
        for threads in [1, 2, 5] {
            let found = inflate(compression, stored.clone(), &ReadLimits::default(), threads);
            assert!(found.is_ok_and(|found| found == expected), "case {number}, {threads} threads");
        }
    }
}

#[test]
fn damage_and_limits_are_the_same_for_any_number_of_threads() {
    let parts: Vec<Vec<u8>> = (0..6).map(|n| text(600 << 10, n)).collect();
    let stored: Vec<u8> = parts.iter().flat_map(|part| gz(part)).collect();
    let frames: Vec<u8> = parts.iter().flat_map(|part| zst(part)).collect();
    let mut flipped = stored.clone();
    flipped[stored.len() / 2] ^= 0x10;
    let tight = ReadLimits { inflated_bytes: Some(2 << 20), ..ReadLimits::default() };
    let usual = ReadLimits::default();
    let growing = ReadLimits { inflation_ratio: 100, ..usual };
    // What stands behind it in its segment is no excuse.
    let bomb =
        |compress: fn(&[u8]) -> Vec<u8>| [compress(&vec![b'a'; 128 << 20]), compress(&text(6 << 20, 1))].concat();
    let table = [
        (Gzip, stored[..stored.len() - 5].to_vec(), usual, "ends in its middle"),
        (Gzip, [&stored[..], b"trailing bytes"].concat(), usual, "or a broken one"),
        (Gzip, flipped, usual, "or a broken one"),
        (Zstd, frames[..frames.len() - 5].to_vec(), usual, "ends in its middle"),
        (Zstd, [&frames[..], b"trailing bytes"].concat(), usual, "or a broken one"),
        (Gzip, stored, tight, "limits.inflated_bytes = 2097152"),
        (Zstd, frames, tight, "limits.inflated_bytes = 2097152"),
        (Gzip, bomb(gz), growing, "limits.inflation_ratio = 100 times"),
        (Zstd, bomb(zst), growing, "limits.inflation_ratio = 100 times"),
        (Gzip, Vec::new(), usual, "ends in its middle"),
        (Zstd, Vec::new(), usual, "ends in its middle"),
    ];
    for (compression, stored, limits, expected) in table {
        let error = |threads| {
            inflate(compression, stored.clone(), &limits, threads).map(|bytes| bytes.len()).unwrap_err().to_string()
        };
        let serial = error(1);
        assert!(serial.contains(expected), "{serial}");
        // How much came out is known after each piece, and the last piece of a segment is shorter.
        let words = |text: &str| text.split_once("more than").map_or(text.to_owned(), |(_, limit)| limit.to_owned());
        assert_eq!(words(&error(3)), words(&serial));
    }
}

#[test]
fn no_segment_waits_for_those_before_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let parts: Vec<Vec<u8>> = (0..3).map(|n| text(3 << 20, n)).collect();
    for (container, compress) in [(Container::Gzip, gz as fn(&[u8]) -> Vec<u8>), (Container::Zstd, zst)] {
        let stored: Vec<u8> = parts.iter().flat_map(|part| compress(part)).collect();
        let (cut, _) = cut(container, &stored);
        assert_eq!(cut.len(), parts.len());
        let inflating = Inflating {
            container,
            at_once: parts.len(),
            guard: Guard { limits: ReadLimits::default(), before: 0, inflated: 0 },
            pool: Pool::default(),
            counters: Arc::default(),
            runtime: runtime.handle().clone(),
            outlet: pieces::channel(Pool::default()).0,
            helper: None,
        };
        let segments: Vec<Segment> = cut.into_iter().map(|bytes| inflating.begin(bytes.into())).collect();
        // The last one comes whole while nobody takes what the others hold.
        for (mut segment, part) in segments.into_iter().zip(&parts).rev() {
            let pieces = std::iter::from_fn(|| segment.pieces.blocking_next().unwrap());
            let bytes: Vec<u8> = pieces
                .flat_map(|made| {
                    let piece = made.piece;
                    piece.buffer[pieces::HEADROOM..piece.end].to_vec()
                })
                .collect();
            assert!(bytes == *part);
        }
    }
}

#[test]
fn a_thread_that_dies_is_no_end_of_the_stream() {
    /// A member, and then what nobody expected.
    struct Dies(io::Cursor<Vec<u8>>);
    impl Read for Dies {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => panic!("on purpose"),
                count => Ok(count),
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for threads in [1, 2] {
        let stream = ByteStream::new(Dies(io::Cursor::new(gz(&text(3 << 20, 1)))));
        let on = Inflaters { runtime: runtime.handle(), threads, helper: None };
        let mut stream = inflated("f", Gzip, &ReadLimits::default(), stream, &Arc::default(), &Pool::default(), on);
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("the thread that inflates ended before all of it was there"), "{error}");
    }
}
