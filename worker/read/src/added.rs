//! Columns that the reader adds to those of the files: folders named `key=value`, and where each row comes from.
//!
//! They stand after the columns of the file, those of folders first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use moulin_core::{ColumnText, CsvFormat, PlannedFile, PrimitiveType, ProvenanceColumn, Source};

use crate::columns::{Column, arrow_type};
use crate::fetch::percent_decoded;
use crate::notation::Notation;
use crate::pipeline::batch_error;
use crate::{Error, InputSchema, Origin, values};

/// The name of a folder whose value is null, as Hive writes it.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";
/// Rows for which a value that is the same for a whole file is repeated at the least.
const REPEATED_ROWS: usize = 16 << 10;

/// The added columns of a source.
#[derive(Debug, Clone)]
pub(crate) struct Added {
    folders: Vec<Folder>,
    provenance: Vec<ProvenanceColumn>,
}

/// A column whose values stand in the paths of the files.
#[derive(Debug, Clone)]
struct Folder {
    field: Field,
    /// One row for each file.
    values: ArrayRef,
}

impl Added {
    /// Finds the folders of all files, and the type that holds the values of each.
    ///
    /// # Errors
    /// `InvalidSpec` when the files have different folders, or a value is none of the declared type.
    pub(crate) fn new(source: &Source, files: &[PlannedFile]) -> Result<Self, Error> {
        let folders = if source.partition_columns { folders(source, files)? } else { Vec::new() };
        Ok(Self { folders, provenance: source.provenance_columns.clone() })
    }

    /// The source without what is declared about folders: the rest must be in the files.
    pub(crate) fn source_of_files(&self, source: &Source) -> Source {
        let mut source = source.clone();
        source.columns.retain(|column| self.folders.iter().all(|folder| folder.field.name() != &column.name));
        source
    }

    /// The schema of the files with the added columns.
    ///
    /// # Errors
    /// `InvalidSpec` when the files have a column of the same name.
    pub(crate) fn extend(&self, mut schema: InputSchema) -> Result<InputSchema, Error> {
        let mut fields: Vec<Arc<Field>> = schema.arrow.fields().iter().cloned().collect();
        let partitions = self.folders.iter().map(|folder| (folder.field.clone(), Origin::Partition));
        let provenance = self.provenance.iter().map(|column| {
            let ty = if *column == ProvenanceColumn::File { DataType::Utf8 } else { DataType::Int64 };
            (Field::new(column.name(), ty, true), Origin::Provenance)
        });
        for (field, origin) in partitions.chain(provenance) {
            if schema.arrow.index_of(field.name()).is_ok() {
                let whence = if origin == Origin::Partition { "a folder of their paths" } else { "the reader" };
                return Err(Error::Schema(format!(
                    "column `{}` is in the files, and {whence} gives one of the same name",
                    field.name()
                )));
            }
            fields.push(Arc::new(field));
            schema.origins.push(origin);
            if !schema.sample.reasons.is_empty() {
                schema.sample.reasons.push(format!("it is a {} column", origin.as_str()));
            }
        }
        schema.arrow = Arc::new(Schema::new(fields));
        Ok(schema)
    }

    /// Whether the place of each row in its file is wanted.
    pub(crate) fn offsets(&self) -> bool {
        self.provenance.contains(&ProvenanceColumn::Offset)
    }

    /// The added columns of one file, of which the schema with all columns is known.
    pub(crate) fn of_file(&self, schema: &SchemaRef, number: usize, uri: &str) -> OfFile {
        let folders = self.folders.iter().map(|folder| Repeated::new(folder.values.slice(number, 1)));
        let file = Repeated::new(Arc::new(StringArray::from(vec![uri])));
        OfFile { schema: Arc::clone(schema), folders: folders.collect(), provenance: self.provenance.clone(), file }
    }
}

/// The added columns of one file.
#[derive(Debug, Clone)]
pub(crate) struct OfFile {
    schema: SchemaRef,
    folders: Vec<Repeated>,
    provenance: Vec<ProvenanceColumn>,
    file: Repeated,
}

/// Where the rows of a batch stand in their file.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    /// Records before the first row.
    pub(crate) records_before: u64,
    /// For each bad row: the rows of the batch before it.
    pub(crate) bad_after: &'a [u32],
    /// The place of each row; `None`: the format has none.
    pub(crate) offsets: Option<Vec<i64>>,
}

impl OfFile {
    /// The batch with the added columns.
    ///
    /// # Errors
    /// `Internal` when Arrow refuses the batch.
    pub(crate) fn append(&mut self, batch: RecordBatch, mut places: Places<'_>) -> Result<RecordBatch, Error> {
        if self.folders.is_empty() && self.provenance.is_empty() {
            return Ok(batch);
        }
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        for folder in &mut self.folders {
            columns.push(folder.rows(rows)?);
        }
        for column in &self.provenance {
            columns.push(match column {
                ProvenanceColumn::File => self.file.rows(rows)?,
                ProvenanceColumn::Row => Arc::new(row_numbers(rows, &places)),
                ProvenanceColumn::Offset => Arc::new(match places.offsets.take() {
                    Some(offsets) => Int64Array::from(offsets),
                    None => Int64Array::new_null(rows),
                }),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(batch_error)
    }
}

/// The number of each row in its file, from 1, bad rows counted.
fn row_numbers(rows: usize, places: &Places<'_>) -> Int64Array {
    let mut bad = 0;
    let first = places.records_before as i64 + 1;
    if places.bad_after.is_empty() {
        return (first..first + rows as i64).collect::<Vec<i64>>().into();
    }
    let number = |row: usize| {
        while places.bad_after.get(bad).is_some_and(|before| *before as usize <= row) {
            bad += 1;
        }
        first + (row + bad) as i64
    };
    (0..rows).map(number).collect::<Vec<i64>>().into()
}

/// A value that is the same for all rows of a file, repeated once for all its batches.
#[derive(Debug, Clone)]
struct Repeated(ArrayRef);

impl Repeated {
    fn new(one: ArrayRef) -> Self {
        Self(one)
    }

    fn rows(&mut self, rows: usize) -> Result<ArrayRef, Error> {
        if self.0.len() < rows {
            let firsts = UInt32Array::from(vec![0; rows.max(REPEATED_ROWS)]);
            self.0 = take(&self.0, &firsts, None).map_err(batch_error)?;
        }
        Ok(self.0.slice(0, rows))
    }
}

fn folders(source: &Source, files: &[PlannedFile]) -> Result<Vec<Folder>, Error> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let keys: Vec<String> = pairs(&first.uri).into_iter().map(|(key, _)| key).collect();
    let mut texts: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(files.len()); keys.len()];
    for file in files {
        let pairs = pairs(&file.uri);
        if !pairs.iter().map(|(key, _)| key).eq(&keys) {
            return Err(Error::Schema(format!(
                "{} and {} have different folders key=value: the partition columns of all files are the same",
                first.uri, file.uri
            )));
        }
        for (texts, (_, text)) in texts.iter_mut().zip(pairs) {
            texts.push(text);
        }
    }
    keys.into_iter().zip(texts).map(|(key, texts)| folder(source, &key, &texts, files)).collect()
}

fn folder(source: &Source, key: &str, texts: &[Option<String>], files: &[PlannedFile]) -> Result<Folder, Error> {
    let declared = source.columns.iter().find(|column| column.name == key);
    let ty = match declared {
        Some(column) => column.ty.primitive().ok_or_else(|| {
            Error::Schema(format!("source.columns, column {key}: a folder's name holds one value, not {}", column.ty))
        })?,
        None => type_of(texts),
    };
    let said = declared.map_or_else(ColumnText::default, |column| column.text.clone());
    let notation = Notation::new(ty, &said, &CsvFormat::default())
        .map_err(|why| Error::Schema(format!("column {key} of type {ty}: {why}")))?;
    let mut values = Column::new(ty, texts.len(), 0);
    for (text, file) in texts.iter().zip(files) {
        match text.as_ref().filter(|text| !said.null_values.contains(text)) {
            None => values.push_null(),
            Some(text) if notation.push(&mut values, text.as_bytes()) => {}
            Some(text) => {
                let expected = notation.expected().map(|expected| format!(", {expected}")).unwrap_or_default();
                let reason = format!("the folder `{key}={text}` of {} is no {ty}{expected}", file.uri);
                return Err(Error::Schema(reason));
            }
        }
    }
    let values = values.finish().map_err(batch_error)?;
    Ok(Folder { field: Field::new(key, arrow_type(ty), true), values })
}

/// The narrowest type that keeps all texts: `007` is no number.
fn type_of(texts: &[Option<String>]) -> PrimitiveType {
    let all = |fits: &dyn Fn(&str) -> bool| texts.iter().flatten().all(|text| fits(text));
    if texts.iter().flatten().next().is_none() {
        PrimitiveType::String
    } else if all(&|text| values::long(text.as_bytes()).is_some_and(|value| value.to_string() == text)) {
        PrimitiveType::Long
    } else if all(&|text| values::date(text.as_bytes()).is_some()) {
        PrimitiveType::Date
    } else {
        PrimitiveType::String
    }
}

/// Keys and values of the folders of a path, from the outermost; a value may be null.
fn pairs(uri: &str) -> Vec<(String, Option<String>)> {
    let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let path = path.split('?').next().unwrap_or_default();
    let Some((folders, _)) = path.rsplit_once('/') else { return Vec::new() };
    let pair = |name: &str| {
        let (key, value) = name.split_once('=').filter(|(key, _)| !key.is_empty())?;
        Some((percent_decoded(key), (value != NULL_FOLDER).then(|| percent_decoded(value))))
    };
    folders.split('/').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_path_are_keys_and_values() {
        type Pairs<'a> = &'a [(&'a str, Option<&'a str>)];
        let table: [(&str, Pairs<'_>); 5] = [
            ("file:///a/day=2024-01-02/h=7/x=1.csv", &[("day", Some("2024-01-02")), ("h", Some("7"))]),
            ("s3://bucket/k%3D=a%20b%2Fc/f.csv", &[("k=", Some("a b/c"))]),
            ("s3://bucket/k=__HIVE_DEFAULT_PARTITION__/f.csv", &[("k", None)]),
            ("http://host/k=/=v/f.csv?k=9/x=2", &[("k", Some(""))]),
            ("f.csv", &[]),
        ];
        for (uri, expected) in table {
            let pairs = pairs(uri);
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            assert_eq!(pairs, expected, "{uri}");
        }
    }

    #[test]
    fn the_narrowest_type_that_keeps_the_texts_is_taken() {
        let table: [(&[Option<&str>], &str); 6] = [
            (&[Some("1"), Some("-20"), None], "long"),
            (&[Some("01"), Some("2")], "string"),
            (&[Some("2024-01-02"), None], "date"),
            (&[Some("2024-13-02")], "string"),
            (&[None], "string"),
            (&[Some("")], "string"),
        ];
        for (texts, expected) in table {
            let texts: Vec<_> = texts.iter().map(|text| text.map(str::to_owned)).collect();
            assert_eq!(type_of(&texts).to_string(), expected, "{texts:?}");
        }
    }

    #[test]
    fn bad_rows_are_counted_in_the_numbers_of_the_others() {
        let places = Places { records_before: 10, bad_after: &[0, 0, 2, 3], offsets: None };
        assert_eq!(row_numbers(3, &places).values(), &[13, 14, 16]);
    }
}
