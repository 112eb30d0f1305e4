//! The rows of one file become rows of the schema; those that do not are bad rows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{filter, not, take};
use arrow::datatypes::{Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::array_value_to_string;
use moulin_core::{ContractMode, PlannedFile, RejectedRow, Source};

use super::make::{self, Made, Make};
use super::{Reading, missing_column};
use crate::code::Code;
use crate::columns::column_type;
use crate::csv::Rescued;
use crate::fault::{Bad, BadRow, shown};
use crate::pipeline::{Parsed, batch_error};
use crate::{Error, iceberg_type_name};

/// How the columns of one file are read.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    /// Columns of the file: those that come out, those whose values are checked in any case, and those that the schema
    /// does not have.
    reads: Vec<Read>,
    /// Whether a row may be a bad one: then all rows are looked at.
    pub(super) checks: bool,
}

#[derive(Debug, Clone)]
struct Read {
    /// In the file.
    place: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A column of the schema.
    Column { field: FieldRef, make: Make },
    /// One that it does not have.
    Extra { name: String },
}

/// Checks that the schema has every column of a file, or that it is said what becomes of the others; answers those.
///
/// # Errors
/// `Schema` for a column that is one too many, `Frozen` when the contract forbids it.
pub(super) fn extras(
    file: &PlannedFile,
    source: &Source,
    found: &Schema,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<usize>, Error> {
    let more = (0..found.fields().len()).filter(|place| !known(found.field(*place).name()));
    let more: Vec<usize> = more.collect();
    let Some(first) = more.first() else { return Ok(more) };
    let column = found.field(*first).name();
    match source.contract.columns {
        ContractMode::Freeze => Err(Error::Frozen { uri: file.uri.clone(), column: column.clone() }),
        ContractMode::Evolve if source.rescued_column.is_none() => Err(Error::Schema(format!(
            "{} has a column `{column}` that the first file does not have; all files of a job have the same columns, \
             unless source.contract.columns or source.rescued_column says what becomes of it",
            file.uri
        ))),
        _ => Ok(more),
    }
}

impl Reading {
    /// How a file is read.
    ///
    /// # Errors
    /// `Schema` when it has other columns than the schema, or of types that cannot be made those of the schema.
    pub(super) fn fit(&self, file: &PlannedFile, found: &Schema) -> Result<Fit, Error> {
        let source = &self.input.source;
        let declared = make::by_name(&source.columns);
        let places = make::places(found);
        let names: HashSet<&str> = self.all.fields().iter().map(|field| field.name().as_str()).collect();
        let wanted: HashSet<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut fit = Fit { reads: Vec::new(), checks: false };
        for field in self.all.fields() {
            if source.rescued_column.as_ref() == Some(field.name()) {
                continue;
            }
            let place = places.get(field.name().as_str()).copied();
            let place = place.ok_or_else(|| missing_column(file, field.name(), found))?;
            let make = Make::new(file, found.field(place), field, declared.get(field.name().as_str()).copied())?;
            // The verdict on a row is the same whichever columns are asked for.
            fit.checks |= make.checks();
            if make.checks() || wanted.contains(field.name().as_str()) {
                fit.reads.push(Read { place, kind: Kind::Column { field: Arc::clone(field), make } });
            }
        }
        let discards = source.contract.columns == ContractMode::DiscardRow;
        let rescues = self.rescues();
        for place in extras(file, source, found, |name| names.contains(name))? {
            fit.checks |= discards;
            if discards || rescues {
                fit.reads.push(Read { place, kind: Kind::Extra { name: found.field(place).name().clone() } });
            }
        }
        Ok(fit)
    }

    /// Whether the column that takes what has none of its own is asked for.
    fn rescues(&self) -> bool {
        let rescued = self.input.source.rescued_column.as_deref();
        rescued.is_some_and(|name| self.schema.fields().iter().any(|field| field.name() == name))
    }

    /// The rows of a batch, which has the columns of the fit in the order of the file.
    pub(super) fn fitted(&self, file: &PlannedFile, batch: &RecordBatch, fit: &Fit) -> Result<Parsed, Error> {
        let mut rows = Rows { reading: self, bad: BTreeMap::new(), rescued: Vec::new() };
        let mut in_order: Vec<usize> = fit.reads.iter().map(|read| read.place).collect();
        in_order.sort_unstable();
        let mut made: Vec<(&str, ArrayRef)> = Vec::with_capacity(fit.reads.len());
        for read in &fit.reads {
            let array = batch.column(in_order.partition_point(|place| *place < read.place));
            match &read.kind {
                Kind::Column { field, make } => {
                    let Made { array: values, bad } = make.make(file, array, field)?;
                    rows.misfits(field, make, array, &bad)?;
                    made.push((field.name(), values));
                }
                Kind::Extra { name } => rows.extra(name, array)?,
            }
        }
        rows.parsed(batch.num_rows(), &made)
    }
}

impl Fit {
    /// The places in the file of the columns that are read.
    pub(super) fn places(&self) -> Vec<usize> {
        self.reads.iter().map(|read| read.place).collect()
    }
}

/// What becomes of the rows of a batch.
struct Rows<'a> {
    reading: &'a Reading,
    /// Bad rows: why, and the text of the value.
    bad: BTreeMap<usize, (Bad, String)>,
    /// Texts that have no column of their own: row, name, text.
    rescued: Vec<(usize, String, String)>,
}

impl Rows<'_> {
    /// What the contract says to values that are none of their column's type.
    fn misfits(&mut self, field: &Field, make: &Make, array: &ArrayRef, bad: &[usize]) -> Result<(), Error> {
        if bad.is_empty() {
            return Ok(());
        }
        let types = self.reading.input.source.contract.types;
        for (row, text) in bad.iter().zip(texts(array, bad).map_err(batch_error)?) {
            if types == ContractMode::DiscardValue {
                self.rescued.push((*row, field.name().clone(), text));
                continue;
            }
            let mut bad = match column_type(field.data_type()) {
                Some(ty) => Bad::value(field.name(), ty, text.as_bytes(), false),
                None => {
                    let (value, ty) = (shown(text.as_bytes()), iceberg_type_name(field.data_type()));
                    let reason = format!("field {} has value `{value}`, expected {ty}", field.name());
                    Bad { column: field.name().clone(), ..Bad::row(Code::TypeNested, reason) }
                }
            };
            if let Some(expected) = make.expected() {
                bad.reason.push_str(&format!(", {expected}"));
            }
            bad.stops = types == ContractMode::Freeze;
            self.bad.entry(*row).or_insert((bad, text));
        }
        Ok(())
    }

    /// What the contract says to the values of a column that the schema does not have.
    fn extra(&mut self, name: &str, array: &ArrayRef) -> Result<(), Error> {
        let nulls = array.logical_nulls();
        let there = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        let there: Vec<usize> = (0..array.len()).filter(there).collect();
        let texts = texts(array, &there).map_err(batch_error)?;
        let discards = self.reading.input.source.contract.columns == ContractMode::DiscardRow;
        for (row, text) in there.into_iter().zip(texts) {
            if discards {
                let reason =
                    format!("row has a value in `{name}`, which is no column, and contract.columns is discard_row");
                let bad = Bad { column: name.to_owned(), ..Bad::row(Code::ContractColumn, reason) };
                self.bad.entry(row).or_insert((bad, text));
            } else {
                self.rescued.push((row, name.to_owned(), text));
            }
        }
        Ok(())
    }

    fn parsed(self, rows: usize, made: &[(&str, ArrayRef)]) -> Result<Parsed, Error> {
        let bad: Vec<usize> = self.bad.keys().copied().collect();
        let good = if bad.is_empty() { None } else { Some(not(&make::mask(rows, &bad)).map_err(batch_error)?) };
        let rescued = if self.reading.rescues() { Some(self.rescued(rows)?) } else { None };
        let column = |field: &FieldRef| -> Result<ArrayRef, Error> {
            let array = made.iter().find(|(name, _)| name == field.name()).map(|(_, array)| array).or(rescued.as_ref());
            let array = array.ok_or_else(|| Error::Internal(format!("column `{}` was not read", field.name())))?;
            good.as_ref()
                .map_or_else(|| Ok(Arc::clone(array)), |good: &BooleanArray| filter(array, good))
                .map_err(batch_error)
        };
        let schema = &self.reading.schema;
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows - bad.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(batch_error)?;
        let bad_after = bad.iter().enumerate().map(|(before, row)| (row - before) as u32).collect();
        let mut kept = Vec::new();
        for (row, (bad, text)) in self.bad {
            if kept.len() < self.reading.bad_rows_kept || bad.stops {
                kept.push(bad_row(row, bad, text));
            }
        }
        Ok(Parsed { batch, lines: 0, bad_after, kept, offsets: Vec::new(), bytes: 0, text_bytes: Vec::new() })
    }

    /// The column of what has no column of its own.
    fn rescued(&self, rows: usize) -> Result<ArrayRef, Error> {
        let mut values: Vec<&(usize, String, String)> = self.rescued.iter().collect();
        values.sort_by_key(|(row, ..)| *row);
        let mut values = values.into_iter().peekable();
        let mut column = Rescued::new(rows);
        for row in 0..rows {
            while let Some((_, name, text)) = values.next_if(|(of, ..)| *of == row) {
                column.keep(name, text);
            }
            column.end_record();
        }
        column.finish().map_err(batch_error)
    }
}

/// A row has no bytes of its own in a Parquet file: those of the value's text are kept.
fn bad_row(row: usize, bad: Bad, text: String) -> BadRow {
    let length_bytes = text.len() as u64;
    let mut raw = text.into_bytes();
    raw.truncate(RejectedRow::RAW_BYTES);
    BadRow { bad, records_before: row as u64, lines_before: None, byte_offset: 0, length_bytes, raw }
}

/// The texts of some values: of a text itself, of what is nested JSON, of all others what they are written as.
fn texts(array: &ArrayRef, rows: &[usize]) -> Result<Vec<String>, ArrowError> {
    let rows = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
    let array = take(array, &rows, None)?;
    if !array.data_type().is_nested() {
        return (0..array.len()).map(|row| array_value_to_string(&array, row)).collect();
    }
    let schema = Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), true)]));
    let mut json = LineDelimitedWriter::new(Vec::new());
    json.write(&RecordBatch::try_new(schema, vec![array])?)?;
    json.finish()?;
    let lines = String::from_utf8_lossy(&json.into_inner()).into_owned();
    let value = |line: &str| line.strip_prefix("{\"v\":").and_then(|line| line.strip_suffix('}')).map(str::to_owned);
    Ok(lines.lines().map(|line| value(line).unwrap_or_default()).collect())
}
