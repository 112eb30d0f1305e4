//! Row groups and pages that cannot hold a wanted row are not read.

use arrow::array::{Array, ArrayRef, BooleanArray, Scalar, UInt64Array};
use arrow::compute::kernels::cmp;
use arrow::compute::{CastOptions, and, cast_with_options, nullif};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::basic::{ColumnOrder, SortOrder, Type};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics as Bounds;

use super::roots;
use crate::condition::{Comparison, Condition, Literal, Test};
use crate::landable::landable;

/// For each row group, whether it may hold a row for which all conditions are true.
///
/// A condition that the statistics say nothing about keeps all of them: the conditions are hints, and whoever gives
/// them still filters the rows.
pub(super) fn groups(footer: &ArrowReaderMetadata, schema: &Schema, conditions: &[Condition]) -> Vec<bool> {
    let groups = footer.metadata().row_groups();
    let mut keep = vec![true; groups.len()];
    for condition in conditions {
        let Some(column) = Statistics::of(footer, schema, condition) else { continue };
        let rows: Vec<u64> = groups.iter().map(|group| group.num_rows().max(0) as u64).collect();
        if let Some(bounds) = column.of_groups(groups) {
            column.narrow(condition, bounds, &rows, &mut keep);
        }
    }
    keep
}

/// The rows of a row group in pages that may hold a wanted one; `None`: all.
pub(super) fn rows(
    footer: &ArrowReaderMetadata,
    schema: &Schema,
    conditions: &[Condition],
    group: usize,
) -> Option<RowSelection> {
    let (columns, offsets) = (footer.metadata().column_index()?, footer.metadata().offset_index()?);
    let total = usize::try_from(footer.metadata().row_group(group).num_rows()).ok()?;
    let mut selection: Option<RowSelection> = None;
    for condition in conditions {
        let Some(column) = Statistics::of(footer, schema, condition) else { continue };
        let Some(pages) = offsets.get(group).and_then(|leaves| leaves.get(column.leaf)) else { continue };
        let mut starts = Vec::new();
        for page in pages.page_locations() {
            let Ok(start) = usize::try_from(page.first_row_index) else { return None };
            starts.push(start);
        }
        // Places that contradict each other are for the decoder to complain about.
        let ascends = starts.iter().chain([&total]).is_sorted_by(|one, next| one < next);
        if starts.first() != Some(&0) || !ascends {
            continue;
        }
        let ends = starts.iter().skip(1).copied().chain([total]);
        let ranges: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
        let bounds = || {
            let mins = column.converter.data_page_mins(columns, offsets, [&group]).ok()?;
            let maxes = column.converter.data_page_maxes(columns, offsets, [&group]).ok()?;
            let wrong = vec![!column.order.is_sure; mins.len()].into();
            let (mins, maxes) = (nullif(&mins, &wrong).ok()?, nullif(&maxes, &wrong).ok()?);
            Some((mins, maxes, column.converter.data_page_null_counts(columns, offsets, [&group]).ok()?))
        };
        let Some(bounds) = bounds() else { continue };
        let rows: Vec<u64> = ranges.iter().map(|(start, end)| (end - start) as u64).collect();
        let mut keep = vec![true; ranges.len()];
        column.narrow(condition, bounds, &rows, &mut keep);
        if keep.contains(&false) {
            let kept = ranges.iter().zip(&keep).filter(|(_, keep)| **keep).map(|((start, end), _)| *start..*end);
            let kept = RowSelection::from_consecutive_ranges(kept, total);
            selection = Some(selection.map_or(kept.clone(), |before| before.intersection(&kept)));
        }
    }
    selection
}

/// The statistics of one column.
struct Statistics<'a> {
    converter: StatisticsConverter<'a>,
    leaf: usize,
    order: Order,
    /// The type its values have when they are compared.
    ty: DataType,
}

impl<'a> Statistics<'a> {
    fn of(footer: &'a ArrowReaderMetadata, schema: &Schema, condition: &Condition) -> Option<Self> {
        let found = footer.schema().field_with_name(&condition.column).ok()?;
        let ty = schema.field_with_name(&condition.column).ok()?.data_type().clone();
        // Of a column that is read as another type than its own the order may be another. Floats have values beyond
        // their bounds: NaN is in no statistics.
        if landable(found.data_type()).ok()? != ty || matches!(ty, DataType::Float32 | DataType::Float64) {
            return None;
        }
        // The converter takes the place of a column for that of its root.
        if !roots::are_columns(footer) {
            return None;
        }
        let converter =
            StatisticsConverter::try_new(&condition.column, footer.schema(), footer.parquet_schema()).ok()?;
        // Of nulls that nobody counted there may be some.
        let converter = converter.with_missing_null_counts_as_zero(false);
        let leaf = converter.parquet_column_index()?;
        Some(Self { converter, leaf, order: Order::of(footer, leaf), ty })
    }

    /// The least and the greatest value of each row group, null where it is not known, and how many nulls it has.
    fn of_groups(&self, groups: &'a [RowGroupMetaData]) -> Option<(ArrayRef, ArrayRef, UInt64Array)> {
        let is_wrong = |group: &RowGroupMetaData| {
            let is_old = group.column(self.leaf).statistics().is_some_and(Bounds::is_min_max_deprecated);
            Some(if is_old { !self.order.is_by_sign } else { !self.order.is_sure })
        };
        let wrong: BooleanArray = groups.iter().map(is_wrong).collect();
        let mins = nullif(&self.converter.row_group_mins(groups).ok()?, &wrong).ok()?;
        let maxes = nullif(&self.converter.row_group_maxes(groups).ok()?, &wrong).ok()?;
        Some((mins, maxes, self.converter.row_group_null_counts(groups).ok()?))
    }

    /// Keeps what may hold a row for which the condition is true.
    fn narrow(
        &self,
        condition: &Condition,
        (mins, maxes, nulls): (ArrayRef, ArrayRef, UInt64Array),
        rows: &[u64],
        keep: &mut [bool],
    ) {
        if mins.len() != keep.len() || maxes.len() != keep.len() || nulls.len() != keep.len() {
            return;
        }
        match &condition.test {
            Test::IsNull => narrow_by(keep, |at| nulls.is_null(at) || nulls.value(at) > 0),
            Test::IsNotNull => narrow_by(keep, |at| nulls.is_null(at) || nulls.value(at) < rows[at]),
            Test::Compare(comparison, literal) => {
                if let Some(may) = self.may(*comparison, literal, &mins, &maxes) {
                    narrow_by(keep, |at| may[at]);
                }
            }
            Test::OneOf(literals) => {
                let may = |literal| self.may(Comparison::Equal, literal, &mins, &maxes);
                // What one of them says nothing about may hold that one.
                let Some(may) = literals.iter().map(may).collect::<Option<Vec<_>>>() else { return };
                narrow_by(keep, |at| may.iter().any(|may| may[at]));
            }
        }
    }

    /// For each place, whether a value between its bounds may compare so; `None`: that cannot be said.
    fn may(&self, comparison: Comparison, literal: &Literal, mins: &ArrayRef, maxes: &ArrayRef) -> Option<Vec<bool>> {
        let literal = literal.as_type(&self.ty)?;
        let may = self.compare(comparison, &literal, mins, maxes).ok()?;
        Some((0..may.len()).map(|at| may.is_null(at) || may.value(at)).collect())
    }

    fn compare(
        &self,
        comparison: Comparison,
        literal: &Scalar<ArrayRef>,
        mins: &ArrayRef,
        maxes: &ArrayRef,
    ) -> Result<BooleanArray, ArrowError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let mins = cast_with_options(mins, &self.ty, &options)?;
        let maxes = cast_with_options(maxes, &self.ty, &options)?;
        match comparison {
            Comparison::Equal => and(&cmp::lt_eq(&mins, literal)?, &cmp::gt_eq(&maxes, literal)?),
            Comparison::Less => cmp::lt(&mins, literal),
            Comparison::LessOrEqual => cmp::lt_eq(&mins, literal),
            Comparison::Greater => cmp::gt(&maxes, literal),
            Comparison::GreaterOrEqual => cmp::gt_eq(&maxes, literal),
        }
    }
}

/// In which order the bounds of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    /// Those of today (`min_value` and `max_value` in parquet.thrift) are in that of the column's type.
    is_sure: bool,
    /// The old ones (`min` and `max`) are: they were compared by sign, byte by byte where the value is of bytes.
    is_by_sign: bool,
}

impl Order {
    fn of(footer: &ArrowReaderMetadata, leaf: usize) -> Self {
        let column = footer.parquet_schema().column(leaf);
        Self::new(footer.metadata().file_metadata().column_order(leaf), column.sort_order(), column.physical_type())
    }

    /// Without a said order nothing is known but what every order makes of whole numbers with a sign.
    fn new(said: ColumnOrder, of_type: SortOrder, physical: Type) -> Self {
        let is_by_sign = matches!(physical, Type::INT32 | Type::INT64) && of_type == SortOrder::SIGNED;
        match said {
            ColumnOrder::TYPE_DEFINED_ORDER(_) => Self { is_sure: of_type != SortOrder::UNDEFINED, is_by_sign },
            ColumnOrder::UNDEFINED => Self { is_sure: is_by_sign, is_by_sign },
            ColumnOrder::UNKNOWN => Self { is_sure: false, is_by_sign: false },
        }
    }
}

fn narrow_by(keep: &mut [bool], may: impl Fn(usize) -> bool) {
    keep.iter_mut().enumerate().for_each(|(at, keep)| *keep = *keep && may(at));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_in_the_order_of_the_type_or_say_nothing() {
        use SortOrder::{SIGNED, UNSIGNED};
        let order = |is_sure, is_by_sign| Order { is_sure, is_by_sign };
        let typed = ColumnOrder::TYPE_DEFINED_ORDER(SIGNED);
        for (said, of_type, physical, expected) in [
            (typed, SIGNED, Type::INT64, order(true, true)),
            (typed, UNSIGNED, Type::INT32, order(true, false)),
            (typed, UNSIGNED, Type::BYTE_ARRAY, order(true, false)),
            (typed, SIGNED, Type::FIXED_LEN_BYTE_ARRAY, order(true, false)),
            (typed, SortOrder::UNDEFINED, Type::FIXED_LEN_BYTE_ARRAY, order(false, false)),
            (ColumnOrder::UNDEFINED, SIGNED, Type::INT32, order(true, true)),
            (ColumnOrder::UNDEFINED, UNSIGNED, Type::BYTE_ARRAY, order(false, false)),
            (ColumnOrder::UNKNOWN, SIGNED, Type::INT32, order(false, false)),
        ] {
            assert_eq!(Order::new(said, of_type, physical), expected, "{said:?} {of_type:?} {physical:?}");
        }
    }
}
