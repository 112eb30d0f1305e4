//! What another thread makes is cut as if it had been read, and threads that parse do all that they are asked for.

use std::io::{Cursor, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use moulin_core::{Compression, ReadLimits};
use tokio::runtime::Handle;

use super::*;
use crate::blocks::{Pool, Splitter};
use crate::crew::Crew;
use crate::csv::Cut;
use crate::fetch::ByteStream;
use crate::inflate::{Inflaters, inflated};
use crate::pieces::{HEADROOM, PIECE_BYTES, Piece, channel};

/// A record: where it starts, how long it is, its bytes unless it was too long.
type Record = (u64, u64, Option<Vec<u8>>);

fn records(stream: ByteStream, record_bytes: u64) -> Vec<Record> {
    let limits = ReadLimits { record_bytes, ..ReadLimits::default() };
    let mut splitter = Splitter::new(stream, PIECE_BYTES, Pool::default()).with_limits(&limits);
    let mut records = Vec::new();
    while let Some(block) = splitter.next(&Cut::lines()).unwrap() {
        if let Some(long) = block.long {
            records.push((block.offset, long.length_bytes, None));
            continue;
        }
        let mut at = block.offset;
        for line in block.bytes().split_inclusive(|byte| *byte == b'\n') {
            records.push((at, line.len() as u64 - 1, Some(line.to_vec())));
            at += line.len() as u64;
        }
    }
    records
}

/// The text in pieces, as a thread of their own makes them.
fn in_pieces(text: Vec<u8>) -> ByteStream {
    let pool = Pool::default();
    let (outlet, pieces) = channel(pool.clone());
    std::thread::spawn(move || {
        let mut input = Cursor::new(text);
        loop {
            let (piece, is_last) = Piece::read(&mut input, &pool).unwrap();
            if outlet.blocking_send(piece).is_err() || is_last {
                return outlet.blocking_end(Ok(()));
            }
        }
    });
    ByteStream::Pieces(pieces)
}

fn text_of(lengths: &[usize]) -> Vec<u8> {
    let line = |(number, length): (usize, &usize)| {
        let mut line: Vec<u8> = (0..*length).map(|at| b'a' + ((at * 7 + number) % 26) as u8).collect();
        line.push(b'\n');
        line
    };
    lengths.iter().enumerate().flat_map(line).collect()
}

#[test]
fn records_over_the_borders_of_pieces_are_whole() {
    let small: Vec<usize> = (0..60_000).map(|number| number * 31 % 97).collect();
    let border = PIECE_BYTES - 1;
    let table = [
        small.clone(),
        vec![border - 1, 3, border, 0, 0, border + 1, 5],
        // One that began further before the border than there is room for, and one over several pieces.
        vec![PIECE_BYTES - HEADROOM - 100, HEADROOM + 50, 2 * PIECE_BYTES, HEADROOM - 1, 40],
        [vec![3 * PIECE_BYTES + 17], small].concat(),
        vec![],
    ];
    for (case, lengths) in table.iter().enumerate() {
        let text = text_of(lengths);
        for record_bytes in [64 << 20, (PIECE_BYTES + HEADROOM) as u64, PIECE_BYTES as u64, 4096] {
            let read = records(ByteStream::new(Cursor::new(text.clone())), record_bytes);
            let taken = records(in_pieces(text.clone()), record_bytes);
            assert!(read == taken, "case {case}, limits.record_bytes = {record_bytes}");
            assert_eq!(read.len(), lengths.len(), "case {case}");
            let too_long = |record: &&Record| record.1 > record_bytes;
            assert_eq!(taken.iter().filter(too_long).count(), taken.iter().filter(|r| r.2.is_none()).count());
        }
    }
}

#[test]
fn a_part_that_panics_is_an_error_and_one_thread_may_be_taken() {
    on_runtime(async {
        let crew = Crew::new(2, &Handle::current());
        let asked = tokio::task::spawn_blocking(move || {
            let taken = crew.take_one();
            let done: Vec<_> = (0..20).map(|number| crew.blocking_ask(move || Ok(number))).collect();
            let broken = crew.blocking_ask::<()>(|| panic!("on purpose"));
            drop(taken);
            // The other one does what is left.
            let last = crew.blocking_ask(|| Ok(20));
            (done, broken, last)
        });
        let (done, broken, last) = asked.await.unwrap();
        for (number, doing) in done.into_iter().enumerate() {
            assert_eq!(doing.done().await.unwrap(), number);
        }
        assert!(matches!(broken.done().await, Err(Error::Internal(_))));
        assert_eq!(last.done().await.unwrap(), 20);
    });
}

#[test]
fn who_inflates_does_the_work_that_the_others_cannot_keep_up_with() {
    on_runtime(async {
        let runtime = Handle::current();
        let crew = Crew::new(1, &runtime);
        let _resting = crew.take_one();
        // The only thread of the crew may have begun to wait for work before it was to rest.
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let note = move || {
            done.store(true, Relaxed);
            Ok(())
        };
        crew.ask(note).await;
        while !is_done.load(Relaxed) {
            crew.helper().help();
            tokio::task::yield_now().await;
        }
        let doing = crew.ask(|| Ok(true)).await;
        // More than may wait to be taken, and nobody takes any of it.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b'a'; 8 * PIECE_BYTES]).unwrap();
        let stored = ByteStream::new(Cursor::new(encoder.finish().unwrap()));
        let on = Inflaters { runtime: &runtime, threads: 2, helper: Some(crew.helper()) };
        let limits = ReadLimits { inflation_ratio: u32::MAX, ..ReadLimits::default() };
        let _inflated = inflated("a.gz", Compression::Gzip, &limits, stored, &Arc::default(), &Pool::default(), on);
        assert!(doing.done().await.unwrap());
        assert!(!crew.helper().help(), "nothing is left to do");
    });
}
