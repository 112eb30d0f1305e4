//! Numbers, and what Parquet holds as numbers: dates, times, timestamps, decimals of at most 18 digits.

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, ToByteSlice,
};
use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};
use parquet::file::statistics::Statistics;

use super::column::{Dictionary, Values};
use super::hash::{LONGEST_PROBE, fold};
use super::hybrid;

/// A number that Parquet holds in four or eight bytes.
pub(super) trait Number: ArrowNativeType {
    /// Equal for equal entries of a dictionary.
    fn bits(self) -> u64;
    /// Appends the values of an array that are not null.
    fn gather(array: &dyn Array, out: &mut Vec<Self>) -> Result<()>;
    /// Smallest and largest, without NaN.
    fn bounds(values: &[Self]) -> Option<(Self, Self)>;
    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics;
}

fn copy<T: ArrowPrimitiveType>(array: &dyn Array, out: &mut Vec<T::Native>) {
    let array = array.as_primitive::<T>();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => out.extend_from_slice(array.values()),
        Some(nulls) => out.extend(nulls.valid_indices().map(|row| array.values()[row])),
    }
}

// A decimal that claims fewer digits than its value has must not be cut.
fn narrow<V: Number + Into<i128>>(array: &dyn Array, cut: impl Fn(i128) -> V, out: &mut Vec<V>) -> Result<()> {
    let array = array.as_primitive::<Decimal128Type>();
    let mut whole = true;
    let mut narrowed = |value: i128| {
        let short = cut(value);
        whole &= short.into() == value;
        short
    };
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => out.extend(array.values().iter().map(|value| narrowed(*value))),
        Some(nulls) => out.extend(nulls.valid_indices().map(|row| narrowed(array.values()[row]))),
    }
    match whole {
        true => Ok(()),
        false => Err(ParquetError::General(format!("a decimal has more digits than {}", array.data_type()))),
    }
}

fn unknown(array: &dyn Array) -> ParquetError {
    ParquetError::General(format!("{} came in a column that was announced as another type", array.data_type()))
}

fn ordered<V: Copy + Ord>(values: &[V]) -> Option<(V, V)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(low, high), v| (low.min(*v), high.max(*v))))
}

impl Number for i32 {
    fn bits(self) -> u64 {
        u64::from(self as u32)
    }

    fn gather(array: &dyn Array, out: &mut Vec<Self>) -> Result<()> {
        match array.data_type() {
            DataType::Int32 => copy::<Int32Type>(array, out),
            DataType::Date32 => copy::<Date32Type>(array, out),
            DataType::Decimal128(_, _) => return narrow(array, |value| value as i32, out),
            _ => return Err(unknown(array)),
        }
        Ok(())
    }

    fn bounds(values: &[Self]) -> Option<(Self, Self)> {
        ordered(values)
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
        Statistics::int32(bounds.map(|b| b.0), bounds.map(|b| b.1), None, Some(nulls), false)
    }
}

impl Number for i64 {
    fn bits(self) -> u64 {
        self as u64
    }

    fn gather(array: &dyn Array, out: &mut Vec<Self>) -> Result<()> {
        match array.data_type() {
            DataType::Int64 => copy::<Int64Type>(array, out),
            DataType::Timestamp(_, _) => copy::<TimestampMicrosecondType>(array, out),
            DataType::Time64(_) => copy::<Time64MicrosecondType>(array, out),
            DataType::Decimal128(_, _) => return narrow(array, |value| value as i64, out),
            _ => return Err(unknown(array)),
        }
        Ok(())
    }

    fn bounds(values: &[Self]) -> Option<(Self, Self)> {
        ordered(values)
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
        Statistics::int64(bounds.map(|b| b.0), bounds.map(|b| b.1), None, Some(nulls), false)
    }
}

macro_rules! float {
    ($ty:ty, $arrow:ty, $statistics:path) => {
        impl Number for $ty {
            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }

            fn gather(array: &dyn Array, out: &mut Vec<Self>) -> Result<()> {
                if *array.data_type() != <$arrow>::DATA_TYPE {
                    return Err(unknown(array));
                }
                copy::<$arrow>(array, out);
                Ok(())
            }

            fn bounds(values: &[Self]) -> Option<(Self, Self)> {
                let mut numbers = values.iter().copied().filter(|v| !v.is_nan());
                let first = numbers.next()?;
                let (low, high) = numbers.fold((first, first), |(low, high), v| (low.min(v), high.max(v)));
                // As the format asks: a zero bound stands for both zeros.
                Some((if low == 0.0 { -0.0 } else { low }, if high == 0.0 { 0.0 } else { high }))
            }

            fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
                $statistics(bounds.map(|b| b.0), bounds.map(|b| b.1), None, Some(nulls), false)
            }
        }
    };
}
float!(f32, Float32Type, Statistics::float);
float!(f64, Float64Type, Statistics::double);

/// A column chunk of numbers.
pub(super) struct Numbers<V: Number> {
    table: Option<Table<V>>,
    /// Whether values still go to the dictionary.
    indexing: bool,
    indices: Vec<u32>,
    plain: Vec<u8>,
    plain_bounds: Option<(V, V)>,
    gathered: Vec<V>,
}

impl<V: Number> Numbers<V> {
    pub(super) fn new() -> Self {
        Self {
            table: Some(Table::new()),
            indexing: true,
            indices: Vec::new(),
            plain: Vec::new(),
            plain_bounds: None,
            gathered: Vec::new(),
        }
    }

    fn push_plain(&mut self) {
        self.plain.extend_from_slice(self.gathered.as_slice().to_byte_slice());
        self.plain_bounds = merged(self.plain_bounds, V::bounds(&self.gathered));
    }
}

fn merged<V: Number>(one: Option<(V, V)>, other: Option<(V, V)>) -> Option<(V, V)> {
    match (one, other) {
        (Some(a), Some(b)) => {
            let low = if b.0 < a.0 { b.0 } else { a.0 };
            let high = if b.1 > a.1 { b.1 } else { a.1 };
            Some((low, high))
        }
        (one, other) => one.or(other),
    }
}

impl<V: Number> Values for Numbers<V> {
    fn push(&mut self, array: &dyn Array) -> Result<()> {
        self.gathered.clear();
        V::gather(array, &mut self.gathered)?;
        match &mut self.table {
            Some(table) if self.indexing => {
                self.indices.reserve(self.gathered.len());
                for value in &self.gathered {
                    self.indices.push(table.index(*value));
                }
            }
            _ => self.push_plain(),
        }
        Ok(())
    }

    fn page_bytes(&self) -> usize {
        let width = self.table.as_ref().map_or(1, |table| hybrid::index_width(table.values.len()));
        self.plain.len() + self.indices.len() * width as usize / 8
    }

    fn end_page(&mut self, body: &mut Vec<u8>) -> Encoding {
        match &self.table {
            Some(table) if self.indexing => {
                let width = hybrid::index_width(table.values.len());
                body.push(width as u8);
                hybrid::encode(&self.indices, width, body);
                self.indices.clear();
                Encoding::RLE_DICTIONARY
            }
            _ => {
                body.extend_from_slice(&self.plain);
                self.plain.clear();
                Encoding::PLAIN
            }
        }
    }

    fn dictionary(&self) -> Option<Dictionary> {
        let table = self.table.as_ref().filter(|_| self.indexing)?;
        let bytes = size_of_val(table.values.as_slice());
        Some(Dictionary { entries: table.values.len(), bytes, crowded: table.crowded })
    }

    fn give_up(&mut self) {
        self.indexing = false;
    }

    fn revert(&mut self) {
        if let Some(table) = self.table.take() {
            self.gathered.clear();
            self.gathered.extend(self.indices.iter().map(|index| table.values[*index as usize]));
            self.push_plain();
        }
        self.indices.clear();
        self.indexing = false;
    }

    fn end_dictionary(&mut self, body: &mut Vec<u8>) -> Option<usize> {
        let table = self.table.as_ref()?;
        body.extend_from_slice(table.values.as_slice().to_byte_slice());
        Some(table.values.len())
    }

    fn statistics(&self, nulls: u64) -> Statistics {
        let known = self.table.as_ref().and_then(|table| V::bounds(&table.values));
        V::statistics(merged(known, self.plain_bounds), nulls)
    }

    fn reset(&mut self, dictionary: bool) {
        self.table = dictionary.then(|| self.table.take().map_or_else(Table::new, Table::emptied));
        self.indexing = dictionary;
        self.indices.clear();
        self.plain.clear();
        self.plain_bounds = None;
    }
}

/// Open addressing with double hashing; the value stands in the slot, so that a look-up touches one line.
///
/// Keys, dates and amounts are mostly dense: a value is looked for at its own low bits first, so that values that are close
/// to each other share their lines of the cache, and only then where a hash says.
struct Table<V> {
    slots: Vec<Slot<V>>,
    values: Vec<V>,
    crowded: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot<V> {
    value: V,
    /// Index of the value and 1; 0: empty.
    number: u32,
}

impl<V: Number> Table<V> {
    fn new() -> Self {
        Self { slots: vec![Slot::default(); 1024], values: Vec::new(), crowded: false }
    }

    // The next chunk has about as many values: a table that grew does not grow again.
    fn emptied(mut self) -> Self {
        self.values.clear();
        self.slots.fill(Slot::default());
        self.crowded = false;
        self
    }

    #[inline]
    fn index(&mut self, value: V) -> u32 {
        let at = value.bits() as usize & (self.slots.len() - 1);
        let slot = self.slots[at];
        if slot.number != 0 && slot.value.bits() == value.bits() {
            return slot.number - 1;
        }
        self.index_elsewhere(value, at)
    }

    fn index_elsewhere(&mut self, value: V, first: usize) -> u32 {
        let mask = self.slots.len() - 1;
        let (mut next, step) = elsewhere(value);
        let (mut at, mut probes) = (first, 0);
        loop {
            let slot = self.slots[at];
            if slot.number == 0 {
                return self.insert(value, at);
            }
            if slot.value.bits() == value.bits() {
                return slot.number - 1;
            }
            at = next & mask;
            next = next.wrapping_add(step);
            probes += 1;
            self.crowded |= probes > LONGEST_PROBE;
        }
    }

    #[cold]
    fn insert(&mut self, value: V, at: usize) -> u32 {
        self.values.push(value);
        let number = self.values.len() as u32;
        self.slots[at] = Slot { value, number };
        if self.values.len() * 2 > self.slots.len() {
            self.grow();
        }
        number - 1
    }

    fn grow(&mut self) {
        let slots = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(slots, Slot::default());
        for (number, value) in (1u32..).zip(&self.values) {
            let mut at = value.bits() as usize & (slots - 1);
            let (mut next, step) = elsewhere(*value);
            while self.slots[at].number != 0 {
                at = next & (slots - 1);
                next = next.wrapping_add(step);
            }
            self.slots[at] = Slot { value: *value, number };
        }
    }
}

/// Where a value is looked for when its own place is another one's, and how far the next places are from each other: odd, so
/// that all are come by.
#[inline]
fn elsewhere<V: Number>(value: V) -> (usize, usize) {
    let hash = fold(value.bits());
    (hash as usize, (hash >> 32) as usize | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_get_their_numbers_however_they_lie() {
        let dense: fn(i64) -> i64 = |n| n - 1500;
        let strided: fn(i64) -> i64 = |n| n * 1_000_000 * 1024;
        let twice: fn(i64) -> i64 = |n| (n % 1500) + (n / 1500) * (1 << 40);
        let mut table = Table::<i64>::new();
        for lie in [dense, strided, twice] {
            let mut indices = || (0..3000).map(|n| table.index(lie(n))).collect::<Vec<_>>();
            let first = indices();
            assert_eq!(first, (0..3000).collect::<Vec<_>>());
            assert_eq!(indices(), first);
            assert!(!table.crowded);
            table = table.emptied();
        }
    }

    #[test]
    fn values_made_to_collide_end_the_dictionary() {
        let mut numbers = Numbers::<i64>::new();
        let table = numbers.table.as_mut().unwrap();
        table.slots.fill(Slot { value: 1, number: u32::MAX });
        // The last one that is come by.
        let (value, mask) = (2, table.slots.len() - 1);
        let (next, step) = elsewhere(value);
        let last = next.wrapping_sub(step) & mask;
        table.slots[last].number = 0;
        table.index(value);
        assert!(numbers.dictionary().unwrap().crowded);
    }
}
