//! Parquet column chunks, encoded with less work than the general writer needs.
//!
//! Columns that are not nested and hold numbers, dates, times, decimals of at most 18 digits, texts or bytes are
//! encoded here: a dictionary while it pays, plain values otherwise, pages in format version 1, which every
//! reader knows. All other columns, and codecs other than zstd, go through the parquet crate's own writer. What
//! comes out is the same format; only the number of steps per value differs.

mod column;
mod hash;
mod hybrid;
mod numbers;
mod page;
mod texts;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::Type as Physical;
use parquet::errors::Result;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;

use column::Column;
use page::Packer;

/// Encodes the row groups of one file, one after the other.
pub(super) struct RowGroups {
    schema: SchemaRef,
    columns: Vec<Root>,
    packer: Packer,
    general: ArrowRowGroupWriterFactory,
    rows: usize,
    max_rows: usize,
    /// Row groups that are in the file.
    done: usize,
}

/// One column of the table.
enum Root {
    Fast(Box<Column>),
    /// Its leaves, by their number in the Parquet schema; empty between row groups.
    General {
        leaves: std::ops::Range<usize>,
        writers: Vec<ArrowColumnWriter>,
    },
}

impl RowGroups {
    pub(super) fn new<W: Write + Send>(file: &SerializedFileWriter<W>, schema: &SchemaRef) -> Result<Self> {
        let props = file.properties();
        let packer = Packer::new(props.compression(&"".into()))?;
        let descriptors = file.schema_descr().columns();
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut leaf = 0;
        for field in schema.fields() {
            let leaves = leaf..leaf + leaf_count(field.data_type());
            leaf = leaves.end;
            // Bloom filters are the general writer's.
            let has_bloom = leaves.clone().any(|at| props.bloom_filter_properties(descriptors[at].path()).is_some());
            let packer = packer.as_ref().filter(|_| !has_bloom);
            let fast = packer.and_then(|_| fast_column(field, &descriptors[leaves.start], props));
            columns.push(match fast {
                Some(column) => Root::Fast(Box::new(column)),
                None => Root::General { leaves, writers: Vec::new() },
            });
        }
        let max_rows = props.max_row_group_row_count().unwrap_or(usize::MAX);
        let general = ArrowRowGroupWriterFactory::new(file, schema.clone());
        let packer = packer.unwrap_or_default();
        Ok(Self { schema: schema.clone(), columns, packer, general, rows: 0, max_rows, done: 0 })
    }

    /// Encodes a batch; full row groups go to the file.
    pub(super) fn write<W: Write + Send>(
        &mut self,
        batch: &RecordBatch,
        file: &mut SerializedFileWriter<W>,
    ) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(self.max_rows - self.rows);
            self.encode(&batch.slice(from, rows))?;
            from += rows;
            self.rows += rows;
            if self.rows >= self.max_rows {
                self.end(file)?;
            }
        }
        Ok(())
    }

    /// Bytes held for the row group in progress.
    pub(super) fn held_bytes(&self) -> usize {
        let held = self.columns.iter().map(|root| match root {
            Root::Fast(column) => column.held_bytes(),
            Root::General { writers, .. } => writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
        });
        held.sum()
    }

    /// Puts the row group in progress into the file.
    pub(super) fn end<W: Write + Send>(&mut self, file: &mut SerializedFileWriter<W>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group: SerializedRowGroupWriter<'_, W> = file.next_row_group()?;
        for root in &mut self.columns {
            match root {
                Root::Fast(column) => {
                    let (chunk, close) = column.end(&mut self.packer)?;
                    group.append_column(&chunk, close)?;
                }
                Root::General { writers, .. } => {
                    for writer in std::mem::take(writers) {
                        writer.close()?.append_to_row_group(&mut group)?;
                    }
                }
            }
        }
        group.close()?;
        self.rows = 0;
        self.done += 1;
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.rows == 0 {
            self.begin_general()?;
        }
        for ((root, field), array) in self.columns.iter_mut().zip(self.schema.fields()).zip(batch.columns()) {
            match root {
                Root::Fast(column) => column.write(array, &mut self.packer)?,
                Root::General { writers, .. } => {
                    for (leaf, writer) in compute_leaves(field, array)?.iter().zip(writers) {
                        writer.write(leaf)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_general(&mut self) -> Result<()> {
        if self.columns.iter().all(|root| matches!(root, Root::Fast(_))) {
            return Ok(());
        }
        let mut made: Vec<Option<ArrowColumnWriter>> =
            self.general.create_column_writers(self.done)?.into_iter().map(Some).collect();
        for root in &mut self.columns {
            if let Root::General { leaves, writers } = root {
                *writers = made[leaves.clone()].iter_mut().filter_map(Option::take).collect();
            }
        }
        Ok(())
    }
}

fn leaf_count(ty: &DataType) -> usize {
    match ty {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaf_count(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|f| leaf_count(f.data_type())).sum(),
        _ => 1,
    }
}

fn fast_column(field: &Field, descriptor: &ColumnDescPtr, props: &WriterPropertiesPtr) -> Option<Column> {
    let values: Box<dyn column::Values> = match (field.data_type(), descriptor.physical_type()) {
        (DataType::Int32 | DataType::Date32 | DataType::Decimal128(_, _), Physical::INT32) => {
            Box::new(numbers::Numbers::<i32>::new())
        }
        (
            DataType::Int64
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Decimal128(_, _),
            Physical::INT64,
        ) => Box::new(numbers::Numbers::<i64>::new()),
        (DataType::Float32, Physical::FLOAT) => Box::new(numbers::Numbers::<f32>::new()),
        (DataType::Float64, Physical::DOUBLE) => Box::new(numbers::Numbers::<f64>::new()),
        (DataType::Utf8 | DataType::LargeUtf8, Physical::BYTE_ARRAY) => Box::new(texts::Texts::new(true)),
        (DataType::Binary | DataType::LargeBinary, Physical::BYTE_ARRAY) => Box::new(texts::Texts::new(false)),
        _ => return None,
    };
    Some(Column::new(descriptor.clone(), props, values))
}

#[cfg(test)]
mod tests;
