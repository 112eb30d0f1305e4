//! Small files are cut at every place they can be cut at, and come out as when they are read whole.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Schema};
use moulin_core::{DuplicateKeys, LineEnding, NdjsonFormat};

use super::*;
use crate::Origin;
use crate::csv::Csv;
use crate::ndjson::Ndjson;

const COLUMNS: [(&str, &str); 3] = [("a", "string"), ("b", "string"), ("c", "long")];

fn schema() -> InputSchema {
    let fields = [("a", DataType::Utf8), ("b", DataType::Utf8), ("c", DataType::Int64)];
    let fields = fields.map(|(name, ty)| Field::new(name, ty, true));
    InputSchema::new(Arc::new(Schema::new(fields.to_vec())), vec![Origin::Declared; 3])
}

#[test]
fn csv_is_the_same_at_every_split() {
    let dialect = |change: fn(&mut CsvFormat)| {
        let mut format = CsvFormat { header: false, ..CsvFormat::default() };
        change(&mut format);
        format
    };
    let table: [(CsvFormat, &str); 12] = [
        (dialect(|_| ()), "a,b,1\n\"x,\ny\",\"\"\"\",2\nlast,\"\n\n\",3\n"),
        (dialect(|_| ()), "a,b,1\r\n\"x\r\n\",\"\r\",2\r\n\"\"\"\r\n\"\"\",,3"),
        (dialect(|_| ()), "\"\",\"\",\n\n\n\"a\"\"\",\"\"\"b\",7\n\"\"\"\"\"\",\"\n\"\"\n\",8"),
        (dialect(|_| ()), "a\"b,c\",1\nx,y\n\"q\"z,1,2\nok,ok,3\n\"open,\n1,2\n"),
        (dialect(|_| ()), "é,\"ü\nß\",1\n\u{1f600},\"\u{1f600}\"\"\",x\n,,\n"),
        (dialect(|f| f.line_ending = LineEnding::Cr), "a,b,1\r\"x\ry\",\"\n\",2\rlast,,3"),
        (dialect(|f| f.line_ending = LineEnding::Any), "a,b,1\r\n\"x\r\ny\",\"\n\",2\rc,d,3\n\re,f,4"),
        (dialect(|f| f.line_ending = LineEnding::Crlf), "a,b\nb,1\r\n\"x\r\n\",\r,2\r\nc,d,3\r"),
        (dialect(|f| f.escape = Some(b'\\')), "a\\,a,b,1\n\"x\\\"\n\",\"\\\\\",2\nc\\\nc,d,3\n\\"),
        (
            dialect(|f| (f.escape, f.doubled_quotes) = (Some(b'\\'), false)),
            "\"\\\"\n\\\"\",b,1\n\"x\\\\\",\"\\\n\",2\nlast,,3",
        ),
        (dialect(|f| f.delimiter = "||".to_owned()), "a|b||b|||1\n\"x||\ny\"||\"\"\"\"||2\n|||||3\n"),
        (dialect(|f| f.comment = Some("#".to_owned())), "#\"\na,b,1\n#,,\n\"#\n\",\"x\",2\n#\nc,#d,3\n#end \""),
    ];
    let schema = schema();
    for (format, text) in &table {
        let source = source(Path::new("/t"), Format::Csv(format.clone()), &COLUMNS);
        let read = |block: usize, window: Option<usize>| {
            let csv = Csv::new(&source, format, &schema).unwrap();
            let csv = if let Some(window) = window { csv.with_window(window) } else { csv };
            read_serially(&csv, text.as_bytes(), block).unwrap()
        };
        let whole = read(text.len() + 1, Some(0));
        assert!(whole.rows_read >= 3, "{text:?}: {whole:?}");
        // A line end must be in the first block, or a file is taken for one with CR.
        let first = if format.line_ending == LineEnding::Auto { text.find('\n').unwrap() + 1 } else { 1 };
        for block in first..=text.len() + 1 {
            for window in [None, Some(0), Some(1), Some(7), Some(block)] {
                assert_eq!(read(block, window), whole, "{text:?} in blocks of {block}, windows of {window:?}");
            }
        }
    }
}

#[test]
fn ndjson_is_the_same_at_every_split() {
    let table = [
        "{\"a\":\"x\\n\\\"\",\"b\":\"é\",\"c\":1}\n\n {\"c\":2} \r\n{}\n{\"a\":\"\\ud83d\\ude00\"}",
        "{\"a\":1}\n[1]\n{\"c\":9007199254740993,\"x\":{\"y\":[1,{}]}}\n{\"c\":1\n{\"c\":3}\n",
        "{\"b\":\"\u{1f600}\",\"a\":null}\r\n\r\n\t\n{\"c\":-0}\n{\"c\":1e0}\n{\"a\":\"\\u00zz\"}\nnull\n{",
    ];
    let schema = schema();
    let source = source(Path::new("/t"), Format::Ndjson(NdjsonFormat::default()), &COLUMNS);
    for text in table {
        let read = |block: usize| {
            let ndjson = Ndjson::new(&source, DuplicateKeys::Last, &schema).unwrap();
            read_serially(&ndjson, text.as_bytes(), block).unwrap()
        };
        let whole = read(text.len() + 1);
        assert!(whole.rows_read >= 4, "{text:?}: {whole:?}");
        for block in 1..=text.len() {
            assert_eq!(read(block), whole, "{text:?} in blocks of {block}");
        }
    }
}
