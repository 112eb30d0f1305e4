//! Rows that lack nearly all of many columns: a few bytes are thousands of cells, and no batch has too many of them.

use std::fs;

use moulin_core::{JsonFormat, NdjsonFormat, RaggedRows};

use super::*;
use crate::pipeline::MOST_CELLS;

const COLUMNS: usize = 400;
const ROWS: usize = 1_000;

/// One row with all columns, and so many that lack all but one, as a text of a format.
fn sparse(format: &Format) -> String {
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("c{column}")).collect();
    let whole = names.iter().enumerate().map(|(column, name)| format!("\"{name}\":{column}")).collect::<Vec<_>>();
    let whole = format!("{{{}}}", whole.join(","));
    let rows = (1..ROWS).map(|row| format!("{{\"c0\":{row}}}"));
    match format {
        Format::Csv(_) => {
            let whole = (0..COLUMNS).map(|column| column.to_string()).collect::<Vec<_>>().join(",");
            let rows = (1..ROWS).map(|row| format!("{row}\n")).collect::<String>();
            format!("{}\n{whole}\n{rows}", names.join(","))
        }
        Format::Json(_) => format!("[{whole},{}]", rows.collect::<Vec<_>>().join(",")),
        _ => format!("{whole}\n{}\n", rows.collect::<Vec<_>>().join("\n")),
    }
}

#[tokio::test]
async fn no_batch_has_too_many_cells_however_short_the_rows_are() {
    let dir = tempfile::tempdir().unwrap();
    let padded = CsvFormat { ragged_rows: RaggedRows::Pad, ..CsvFormat::default() };
    for format in [Format::Csv(padded), Format::Ndjson(NdjsonFormat::default()), Format::Json(JsonFormat::default())] {
        let text = sparse(&format);
        let (plain, packed) = (dir.path().join("a"), dir.path().join("a.gz"));
        fs::write(&plain, &text).unwrap();
        fs::write(&packed, super::files::gz(text.as_bytes())).unwrap();
        for path in [&plain, &packed] {
            let source = source(path, format.clone(), &[]);
            let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
            let files = fetcher.list(&source.uris).await.unwrap();
            let schema = schema(&fetcher, &source, &files).await.unwrap();
            let read = batches(&fetcher, &source, &files, &schema, options(OnBadRow::Fail));
            let read: Vec<RecordBatch> = read.try_collect().await.unwrap();
            let first: Vec<String> = read.iter().flat_map(rows_of).map(|row| row[0].clone()).collect();
            let expected: Vec<String> = (0..ROWS).map(|row| row.to_string()).collect();
            assert_eq!(first, expected, "{format:?} of {}", path.display());
            let most = read.iter().map(|batch| batch.num_rows() * COLUMNS).max();
            assert!(most.is_some_and(|most| most <= MOST_CELLS), "{format:?} of {}: {most:?} cells", path.display());
        }
    }
}
