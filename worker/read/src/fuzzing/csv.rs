//! CSV: the fast way against the slow one, cut against whole, and both against `csv-core`.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use csv_core::{ReadRecordResult, ReaderBuilder};
use moulin_core::{CsvFormat, Encoding, Format, LineEnding, PrimitiveType, RaggedRows, ReadLimits, Source};

use super::{Choices, Outcome, URI, check_places, read_limited};
use crate::columns::arrow_type;
use crate::csv::Csv;
use crate::{InputSchema, Origin};

const COLUMNS: usize = 3;

const OTHER_ENCODINGS: [Encoding; 5] =
    [Encoding::Auto, Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Latin1, Encoding::Windows1252];

/// Reads a file in a dialect, all columns texts or typed ones.
///
/// # Panics
/// When two ways of reading differ, or `csv-core` sees other records.
pub fn csv(case: &[u8]) {
    let mut choices = Choices(case);
    let mut format = dialect(&mut choices);
    let typed = choices.is();
    let (block, window) = (4 + choices.below(252), choices.below(256));
    let is_limited = choices.is();
    let more = choices.below(64);
    let file = choices.file();
    let mut limits = ReadLimits::default();
    if is_limited {
        // The end of a record is in reach.
        limits.record_bytes = (file.len() / 16 + 1 + more) as u64;
        format.skip_footer_rows = 0;
    }
    let source = Source::new(vec![URI.to_owned()], Format::Csv(format.clone()));
    // Lines end with CR when the first block has no LF: another block size is another dialect.
    let is_other = format.line_ending == LineEnding::Auto
        && file.contains(&b'\r')
        && !file.iter().take(block).any(|byte| *byte == b'\n');
    if source.validate().is_err() || is_other {
        return;
    }
    let types = if typed {
        [PrimitiveType::Long, PrimitiveType::Decimal { precision: 9, scale: 2 }, PrimitiveType::Date]
    } else {
        [PrimitiveType::String; COLUMNS]
    };
    let read_with = |block: usize, window: Option<usize>, held: &ReadLimits| {
        let csv = reader(&format, types, limits);
        let csv = if let Some(window) = window { csv.with_window(window) } else { csv };
        read_limited(&csv, file, block, held).expect("only a record of many MiB is an error")
    };
    let read = |block, window| read_with(block, window, &limits);
    let whole = file.len() + 1;
    // All records are held, also those that are too long.
    let by_record = read_with(whole, Some(0), &ReadLimits::default());
    for other in [read(whole, None), read(block, Some(window)), read(block, Some(0))] {
        assert_eq!(other.rows, by_record.rows);
        assert_eq!(other.rows_read, by_record.rows_read);
        assert_same_rejects(&other, &by_record);
        if is_plain(&format) {
            let eol = if file.contains(&b'\n') { b'\n' } else { b'\r' };
            check_places(&other, file, eol);
        }
    }
    if !typed && !is_limited && is_plain(&format) {
        check_against_csv_core(&format, file, &read(block, Some(window)));
    }
}

/// Half of the dialects are plain.
fn dialect(choices: &mut Choices<'_>) -> CsvFormat {
    let mut format = CsvFormat {
        delimiter: [",", ";", "\t", "|", "||", "é"][choices.below(6)].to_owned(),
        quote: b"\"'".get(choices.below(2)).copied(),
        quoting: choices.below(8) != 7,
        header: false,
        encoding: Encoding::Utf8,
        null_values: if choices.is() { vec!["NA".to_owned()] } else { Vec::new() },
        comment: [None, Some("#"), Some("--")][choices.below(3)].map(str::to_owned),
        ..CsvFormat::default()
    };
    if choices.is() {
        format.escape = choices.is().then_some(b'\\');
        format.doubled_quotes = choices.is();
        format.line_ending =
            [LineEnding::Auto, LineEnding::Lf, LineEnding::Crlf, LineEnding::Cr, LineEnding::Any][choices.below(5)];
        format.trailing_delimiter = choices.is();
        format.ragged_rows =
            [RaggedRows::Reject, RaggedRows::Pad, RaggedRows::Truncate, RaggedRows::Fit][choices.below(4)];
        format.trim = choices.is();
        if let Some(encoding) = OTHER_ENCODINGS.get(choices.below(2 * OTHER_ENCODINGS.len())) {
            format.encoding = *encoding;
            if format.line_ending == LineEnding::Auto {
                format.line_ending = LineEnding::Lf;
            }
        }
        format.skip_rows = choices.below(3) as u64;
        format.skip_footer_rows = choices.below(3) as u64;
    }
    format
}

/// Whether `csv-core` knows the dialect too.
fn is_plain(format: &CsvFormat) -> bool {
    let plain = CsvFormat {
        delimiter: format.delimiter.clone(),
        quote: format.quote,
        quoting: format.quoting,
        header: false,
        encoding: Encoding::Utf8,
        null_values: format.null_values.clone(),
        comment: format.comment.clone(),
        ..CsvFormat::default()
    };
    *format == plain
        && format.delimiter_or_default().len() == 1
        && format.comment.as_ref().is_none_or(|comment| comment.len() == 1)
}

/// A reader of columns without names.
fn reader(format: &CsvFormat, types: [PrimitiveType; COLUMNS], limits: ReadLimits) -> Csv {
    let fields = types.iter().enumerate().map(|(at, ty)| Field::new(format!("c{at}"), arrow_type(*ty), true));
    let schema = InputSchema::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), vec![Origin::Declared; COLUMNS]);
    let source = Source { limits, ..Source::new(Vec::new(), Format::Csv(format.clone())) };
    Csv::new(&source, format, &schema).expect("a csv of primitive types")
}

/// The first rejects of both, as far as both keep them.
fn assert_same_rejects(one: &Outcome, other: &Outcome) {
    let kept = moulin_core::Counters::REJECTS_KEPT;
    let first = |outcome: &Outcome| outcome.rejects.iter().take(kept).cloned().collect::<Vec<_>>();
    assert_eq!(first(one), first(other));
}

/// Record by record: the same fields, or a reason why not.
fn check_against_csv_core(format: &CsvFormat, file: &[u8], outcome: &Outcome) {
    // With its last line end: csv-core takes a comment without one for a record.
    let file = &[file, b"\n"].concat();
    let bare_cr = file.iter().enumerate().any(|(at, byte)| *byte == b'\r' && file.get(at + 1) != Some(&b'\n'));
    // csv-core ends records at a CR alone; this reader keeps such a CR. Rejects beyond the kept ones cannot be compared.
    if bare_cr || outcome.rejects.len() as u64 + outcome.rows.len() as u64 != outcome.rows_read {
        return;
    }
    let records = records_of(format, file);
    assert_eq!(records.len() as u64, outcome.rows_read, "csv-core sees {records:?}");
    let (mut rows, mut rejects) = (outcome.rows.iter(), outcome.rejects.iter().peekable());
    for (at, record) in records.iter().enumerate() {
        let reject = rejects.next_if(|reject| reject.place.record == at as u64 + 1);
        let texts: Option<Vec<&str>> = record.iter().map(|field| std::str::from_utf8(field).ok()).collect();
        match reject.map(|reject| reject.code.as_str()) {
            // csv-core is content with text after a closing quote, and with a quote that is never closed.
            Some("csv.quote" | "csv.unclosed_quote") => {}
            Some("csv.field_count") => assert_ne!(record.len(), COLUMNS, "{record:?}"),
            Some("utf8") => assert!(texts.is_none(), "{record:?}"),
            Some(code) => panic!("{code}: {record:?}"),
            None => {
                let ours = rows.next().expect("as many rows as records that are not rejected");
                let texts = texts.expect("a row of texts is UTF-8");
                let is_null = |text: &str, ours: &str| ours == "NULL" && format.null_values.iter().any(|v| v == text);
                assert_eq!(texts.len(), ours.len());
                assert!(texts.iter().zip(ours).all(|(a, b)| a == b || is_null(a, b)), "{texts:?} {ours:?}");
            }
        }
    }
}

/// What `csv-core` reads.
pub(crate) fn records_of(format: &CsvFormat, file: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = ReaderBuilder::new()
        .delimiter(format.delimiter_or_default().as_bytes()[0])
        .quote(format.quote.unwrap_or(b'"'))
        .quoting(format.quoting)
        .comment(format.comment.as_ref().map(|text| text.as_bytes()[0]))
        .build();
    let (mut text, mut ends) = (vec![0; file.len() + 16], vec![0; file.len() + 16]);
    let (mut records, mut at) = (Vec::new(), 0);
    loop {
        let mut fields = 0;
        let mut written = 0;
        loop {
            let (result, read, wrote, ended) =
                reader.read_record(&file[at..], &mut text[written..], &mut ends[fields..]);
            at += read;
            written += wrote;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return records,
                full => panic!("{full:?} with room for the whole file"),
            }
        }
        let starts = std::iter::once(0).chain(ends[..fields].iter().copied());
        records.push(starts.zip(&ends[..fields]).map(|(start, end)| text[start..*end].to_vec()).collect());
    }
}
