//! The rows of a table of rejects, and what is to become of each.
//!
//! What happens to a row follows from what it says: who rejected it, from which file, whether a replay has taken it. Never
//! from the data file that it is in, for anyone may write that again at any time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, Int64Array, RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use moulin_core::{Fault, FaultKind, RejectsChange, TableInput, TableName, Token};
use moulin_engine::transform::RowCondition;
use moulin_lake::{TableFile, TableSnapshot};

use super::rejects_table::{ORIGIN, REPLAYED_BY, SCHEMA, TOKEN, of};
use crate::worker::Worker;

/// A table of rejects as it stands.
#[derive(Clone)]
pub(crate) struct RejectRows {
    snapshot: TableSnapshot,
    /// Its columns, and those of [`SCHEMA`] that it does not have yet.
    schema: SchemaRef,
}

impl RejectRows {
    /// The rejects of a table; `None`: there is no table of them.
    ///
    /// # Errors
    /// The catalog does not answer.
    pub(crate) async fn open(worker: &Worker, table: &TableName) -> Result<Option<Self>, Fault> {
        let table = of(table);
        if worker.lake.table_uuid(&table).await?.is_none() {
            return Ok(None);
        }
        let pin = worker.lake.pin(&TableInput::new(table.clone())).await?;
        let snapshot = worker.lake.table_at(&table, pin).await?;
        let there = snapshot.schema().fields();
        let missing = SCHEMA.fields().iter().filter(|field| there.find(field.name()).is_none());
        let missing = missing.map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), true)));
        let schema = Arc::new(Schema::new(there.iter().cloned().chain(missing).collect::<Vec<_>>()));
        Ok(Some(Self { snapshot, schema }))
    }

    /// The snapshot that is read.
    pub(crate) fn snapshot_id(&self) -> Option<i64> {
        self.snapshot.pin().snapshot_id
    }

    /// The columns of its rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its data files.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub(crate) async fn files(&self) -> Result<Vec<TableFile>, Fault> {
        Ok(self.snapshot.table_files().await?)
    }

    /// The rows of one data file, with all columns.
    pub(crate) fn rows(&self, file: &TableFile) -> BoxStream<'static, Result<RecordBatch, Fault>> {
        let schema = Arc::clone(&self.schema);
        self.snapshot.rows_of(file).map(move |batch| widened(&batch?, &schema)).boxed()
    }
}

fn widened(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Fault> {
    let column = |field: &Arc<Field>| {
        let there = batch.column_by_name(field.name()).cloned();
        there.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    };
    let columns: Vec<ArrayRef> = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| not_rejects(&error))
}

fn not_rejects(error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::new(FaultKind::Internal, "the table of rejects does not have their columns").with_source(error)
}

/// A column of rejects in the type that [`SCHEMA`] gives it.
///
/// # Errors
/// `Internal`: there is no such column.
pub(crate) fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef, Fault> {
    let missing = || Fault::new(FaultKind::Internal, format!("the table of rejects has no column `{name}`"));
    let ty = SCHEMA.field_with_name(name).map_err(|_| missing())?.data_type();
    let there = batch.column_by_name(name).ok_or_else(missing)?;
    arrow::compute::cast(there, ty).map_err(|error| not_rejects(&error))
}

/// A column of texts.
///
/// # Errors
/// As [`column`].
pub(crate) fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray, Fault> {
    let array = column(batch, name)?;
    array.as_string_opt::<i32>().cloned().ok_or_else(|| Fault::new(FaultKind::Internal, format!("`{name}` is no text")))
}

/// The job that read each row from its file.
///
/// # Errors
/// As [`column`].
pub(crate) fn origins(batch: &RecordBatch) -> Result<StringArray, Fault> {
    let (origin, token) = (texts(batch, ORIGIN)?, texts(batch, TOKEN)?);
    // Of rows from before there was the column.
    let one = |row: usize| if origin.is_valid(row) { origin.value(row) } else { token.value(row) };
    Ok(StringArray::from_iter_values((0..batch.num_rows()).map(one)))
}

/// What is to become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Stays,
    /// It goes: the job that rejected it, or read it from its file, is done anew.
    Goes,
    /// The replay that had taken it is done anew, and does not take it again.
    Opens,
    /// The replay takes it.
    Taken,
    /// It is what the replay asks for, and cannot be read again.
    Left(Why),
}

/// Why a row that a replay asks for is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Only the first bytes of the record were kept.
    Cut,
    /// It is one of a Parquet file.
    WithoutBytes,
    /// It was read as another format.
    OtherFormat,
}

/// Says of each row what is to become of it.
pub(crate) struct Judge {
    own: Token,
    change: RejectsChange,
    /// `None`: no row is taken.
    asked: Option<Asked>,
}

struct Asked {
    condition: Option<RowCondition>,
    formats: HashSet<String>,
    /// `None`: whoever rejected it.
    tokens: Option<HashSet<String>>,
}

impl Judge {
    /// A judge for the change of a job; it takes the rows of those tokens that are named, or those of all.
    ///
    /// # Errors
    /// The condition cannot be used on the columns.
    pub(crate) fn new(own: &Token, change: &RejectsChange, schema: &SchemaRef) -> Result<Self, Fault> {
        let asked = change.mark.as_ref().map(|mark| -> Result<Asked, Fault> {
            let now = UNIX_EPOCH + Duration::from_micros(u64::try_from(mark.asked_at_micros).unwrap_or_default());
            let condition = mark.condition.as_deref().map(|text| RowCondition::new(text, schema, now)).transpose()?;
            let tokens = (!mark.tokens.is_empty()).then(|| mark.tokens.iter().cloned().collect());
            Ok(Asked { condition, formats: mark.formats.iter().cloned().collect(), tokens })
        });
        Ok(Self { own: own.clone(), change: change.clone(), asked: asked.transpose()? })
    }

    /// What is to become of each row.
    ///
    /// # Errors
    /// The condition cannot be said of a row.
    pub(crate) fn fates(&self, batch: &RecordBatch) -> Result<Vec<Fate>, Fault> {
        let (token, origin, by) = (texts(batch, TOKEN)?, origins(batch)?, texts(batch, REPLAYED_BY)?);
        let wanted = match &self.asked {
            Some(Asked { condition: Some(condition), .. }) => Some(condition.holds(batch)?),
            _ => None,
        };
        let bytes = Bytes::of(batch)?;
        let fate = |row: usize| {
            if self.change.replaces(&self.own, token.value(row)) || self.change.replaces(&self.own, origin.value(row)) {
                return Fate::Goes;
            }
            let opens = by.is_valid(row) && self.change.replaces(&self.own, by.value(row));
            let stays = if opens { Fate::Opens } else { Fate::Stays };
            let Some(asked) = self.asked.as_ref().filter(|_| opens || by.is_null(row)) else { return stays };
            let is_asked_for = asked.tokens.as_ref().is_none_or(|tokens| tokens.contains(token.value(row)))
                && wanted.as_ref().is_none_or(|wanted| wanted.value(row));
            match bytes.why_not(row, &asked.formats) {
                _ if !is_asked_for => stays,
                None => Fate::Taken,
                Some(_) if opens => Fate::Opens,
                Some(why) => Fate::Left(why),
            }
        };
        Ok((0..batch.num_rows()).map(fate).collect())
    }
}

/// What is known of the bytes of rejects.
struct Bytes {
    raw: BinaryArray,
    length: Int64Array,
    format: StringArray,
}

impl Bytes {
    fn of(batch: &RecordBatch) -> Result<Self, Fault> {
        let wrong = |name: &str| Fault::new(FaultKind::Internal, format!("`{name}` of rejects has another type"));
        let (raw, length) = (column(batch, "raw")?, column(batch, "length_bytes")?);
        Ok(Self {
            raw: raw.as_binary_opt::<i32>().cloned().ok_or_else(|| wrong("raw"))?,
            length: length.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong("length_bytes"))?,
            format: texts(batch, "format")?,
        })
    }

    fn why_not(&self, row: usize, formats: &HashSet<String>) -> Option<Why> {
        let format = if self.format.is_valid(row) { self.format.value(row) } else { "" };
        if format == "parquet" {
            return Some(Why::WithoutBytes);
        }
        if !formats.contains(format) {
            return Some(Why::OtherFormat);
        }
        let kept = i64::try_from(self.raw.value(row).len()).unwrap_or(i64::MAX);
        (kept < self.length.value(row)).then_some(Why::Cut)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_row_that_lacks_newer_columns_is_as_open_as_any() {
        let old = Schema::new(vec![Field::new("token", DataType::Utf8, false)]);
        let batch = RecordBatch::try_new(Arc::new(old), vec![Arc::new(StringArray::from(vec!["a/0"]))]).unwrap();
        let schema = Arc::clone(&SCHEMA);
        let fields: Vec<_> =
            schema.fields().iter().map(|f| Arc::new(Field::new(f.name(), f.data_type().clone(), true))).collect();
        let wide = widened(&batch, &Arc::new(Schema::new(fields))).unwrap();
        assert_eq!(origins(&wide).unwrap().value(0), "a/0");
        assert!(texts(&wide, REPLAYED_BY).unwrap().is_null(0));
    }
}
