//! What Iceberg keeps about a data file, taken from its Parquet footer.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Schema, Struct, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::bounds::{lower_bound, upper_bound};
use super::modes::{Mode, Modes};
use crate::{Error, Target};

/// Describes a file that has just been written.
pub(super) fn data_file(
    target: &Target,
    parquet: &ParquetMetaData,
    location: String,
    size: u64,
    partition: Struct,
) -> Result<DataFile, Error> {
    let mut metrics = Metrics::default();
    for column in parquet.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        metrics.add(target.metadata.current_schema(), &target.settings.modes, column);
    }
    let rows = parquet.file_metadata().num_rows();
    let offsets = parquet.row_groups().iter().filter_map(|g| g.columns().first()).map(|c| c.byte_range().0);
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(location.clone())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(target.metadata.default_partition_spec_id())
        .record_count(u64::try_from(rows).unwrap_or_default())
        .file_size_in_bytes(size)
        .upper_bounds(metrics.upper_bounds())
        .lower_bounds(metrics.lower)
        .column_sizes(metrics.sizes)
        .value_counts(metrics.values)
        .null_value_counts(metrics.nulls)
        .split_offsets(Some(offsets.filter_map(|o| i64::try_from(o).ok()).collect()));
    let sort = target.metadata.default_sort_order();
    if !sort.is_unsorted() {
        builder.sort_order_id(i32::try_from(sort.order_id).unwrap_or_default());
    }
    builder.build().map_err(|e| Error::encode(&location, e.to_string()))
}

#[derive(Default)]
struct Metrics {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
    unbounded: Vec<i32>,
}

impl Metrics {
    fn add(&mut self, schema: &Schema, modes: &Modes, column: &ColumnChunkMetaData) {
        let descriptor = column.column_descr();
        let info = descriptor.self_type().get_basic_info();
        let Some(field) = info.has_id().then(|| schema.field_by_id(info.id())).flatten() else { return };
        let mode = modes.of(schema.name_by_field_id(field.id).unwrap_or_default());
        if mode == Mode::None {
            return;
        }
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        *self.sizes.entry(field.id).or_default() += number(column.compressed_size());
        if descriptor.max_rep_level() > 0 {
            // Inside a list or map, counts and bounds are about elements; readers expect rows.
            return;
        }
        *self.values.entry(field.id).or_default() += number(column.num_values());
        let Some(statistics) = column.statistics() else { return };
        if let Some(nulls) = statistics.null_count_opt() {
            *self.nulls.entry(field.id).or_default() += nulls;
        }
        let Type::Primitive(ty) = field.field_type.as_ref() else { return };
        let length = match mode {
            Mode::None | Mode::Counts => return,
            Mode::Truncate(length) => length,
            Mode::Full => usize::MAX,
        };
        if let Some(lower) = lower_bound(ty, statistics, length) {
            keep(&mut self.lower, field.id, lower, |new, old| new < old);
        }
        match upper_bound(ty, statistics, length) {
            Some(upper) => keep(&mut self.upper, field.id, upper, |new, old| new > old),
            // A bound that cannot be written for one row group must not be taken from the others.
            None if statistics.max_bytes_opt().is_some() => self.unbounded.push(field.id),
            None => {}
        }
    }

    fn upper_bounds(&mut self) -> HashMap<i32, Datum> {
        for id in &self.unbounded {
            self.upper.remove(id);
        }
        std::mem::take(&mut self.upper)
    }
}

fn keep(bounds: &mut HashMap<i32, Datum>, id: i32, bound: Datum, better: impl Fn(&Datum, &Datum) -> bool) {
    match bounds.get_mut(&id) {
        Some(old) if better(&bound, old) => *old = bound,
        Some(_) => {}
        None => {
            bounds.insert(id, bound);
        }
    }
}
