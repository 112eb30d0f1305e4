//! Texts and bytes.

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::DataType;
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::column::{Dictionary, Values};
use super::hash::{LONGEST_PROBE, fold};
use super::hybrid;
use crate::write::bounds::{cut_bytes, cut_text, raised_bytes, raised_text};

/// Length of the bounds in a footer: characters of a text, else bytes.
const STATISTICS_LENGTH: usize = 64;

/// A column chunk of texts or bytes.
pub(super) struct Texts {
    is_text: bool,
    table: Option<Table>,
    indexing: bool,
    indices: Vec<u32>,
    plain: Vec<u8>,
    plain_bounds: Bounds,
}

impl Texts {
    pub(super) fn new(is_text: bool) -> Self {
        Self {
            is_text,
            table: Some(Table::new()),
            indexing: true,
            indices: Vec::new(),
            plain: Vec::new(),
            plain_bounds: Bounds::default(),
        }
    }
}

// One loop per kind of array, so that the closure is compiled into each.
fn each<'a>(array: &'a dyn Array, mut take: impl FnMut(&'a [u8])) -> Result<()> {
    macro_rules! values {
        ($array:expr) => {{
            let array = $array;
            match array.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => (0..array.len()).for_each(|row| take(array.value(row).as_ref())),
                Some(nulls) => nulls.valid_indices().for_each(|row| take(array.value(row).as_ref())),
            }
        }};
    }
    match array.data_type() {
        DataType::Utf8 => values!(array.as_string::<i32>()),
        DataType::LargeUtf8 => values!(array.as_string::<i64>()),
        DataType::Binary => values!(array.as_binary::<i32>()),
        DataType::LargeBinary => values!(array.as_binary::<i64>()),
        other => {
            return Err(ParquetError::General(format!("{other} came in a column that was announced as text or bytes")));
        }
    }
    Ok(())
}

#[inline]
fn put(value: &[u8], out: &mut Vec<u8>) {
    // Rows come in arrays that are below 2 GiB in all.
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

impl Values for Texts {
    fn push(&mut self, array: &dyn Array) -> Result<()> {
        match &mut self.table {
            Some(table) if self.indexing => {
                let indices = &mut self.indices;
                indices.reserve(array.len());
                each(array, |value| indices.push(table.index(value)))
            }
            _ => {
                let (plain, bounds) = (&mut self.plain, &mut self.plain_bounds);
                each(array, |value| {
                    put(value, plain);
                    bounds.widen(value);
                })
            }
        }
    }

    fn page_bytes(&self) -> usize {
        let width = self.table.as_ref().map_or(1, |table| hybrid::index_width(table.entries.len()));
        self.plain.len() + self.indices.len() * width as usize / 8
    }

    fn end_page(&mut self, body: &mut Vec<u8>) -> Encoding {
        match &self.table {
            Some(table) if self.indexing => {
                let width = hybrid::index_width(table.entries.len());
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
        Some(Dictionary { entries: table.entries.len(), bytes: table.page.len(), crowded: table.crowded })
    }

    fn give_up(&mut self) {
        self.indexing = false;
    }

    fn revert(&mut self) {
        if let Some(table) = self.table.take() {
            for index in &self.indices {
                put(table.value(*index), &mut self.plain);
            }
            self.plain_bounds.widen_by(&table);
        }
        self.indices.clear();
        self.indexing = false;
    }

    fn end_dictionary(&mut self, body: &mut Vec<u8>) -> Option<usize> {
        let table = self.table.as_ref()?;
        body.extend_from_slice(&table.page);
        Some(table.entries.len())
    }

    fn statistics(&self, nulls: u64) -> Statistics {
        let mut bounds = self.plain_bounds.clone();
        if let Some(table) = &self.table {
            bounds.widen_by(table);
        }
        let Some((low, high)) = bounds.values else {
            return Statistics::byte_array(None, None, None, Some(nulls), false);
        };
        let (short_low, short_high) = if self.is_text {
            (cut_text(&low, STATISTICS_LENGTH), raised_text(&high, STATISTICS_LENGTH))
        } else {
            (Some(cut_bytes(&low, STATISTICS_LENGTH)), raised_bytes(&high, STATISTICS_LENGTH))
        };
        let exact = (short_low.as_ref() == Some(&low), short_high.as_ref() == Some(&high));
        let value = |bytes: Option<Vec<u8>>| bytes.map(ByteArray::from);
        // A text that cannot be raised is written whole.
        let statistics =
            ValueStatistics::new(value(short_low), value(short_high.or(Some(high))), None, Some(nulls), false);
        Statistics::ByteArray(statistics.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
    }

    fn reset(&mut self, dictionary: bool) {
        self.table = dictionary.then(|| self.table.take().map_or_else(Table::new, Table::emptied));
        self.indexing = dictionary;
        self.indices.clear();
        self.plain.clear();
        self.plain_bounds = Bounds::default();
    }
}

/// Smallest and largest value.
#[derive(Debug, Clone, Default)]
struct Bounds {
    values: Option<(Vec<u8>, Vec<u8>)>,
    /// Their first eight bytes: most values are seen to lie between them at once.
    prefixes: (u64, u64),
}

impl Bounds {
    #[inline]
    fn widen(&mut self, value: &[u8]) {
        let prefix = prefix(value);
        if self.values.is_none() || prefix <= self.prefixes.0 || prefix >= self.prefixes.1 {
            self.widen_slowly(value, prefix);
        }
    }

    #[cold]
    fn widen_slowly(&mut self, value: &[u8], prefix: u64) {
        match &mut self.values {
            Some((low, high)) => {
                if value < low.as_slice() {
                    value.clone_into(low);
                    self.prefixes.0 = prefix;
                } else if value > high.as_slice() {
                    value.clone_into(high);
                    self.prefixes.1 = prefix;
                }
            }
            None => {
                self.values = Some((value.to_vec(), value.to_vec()));
                self.prefixes = (prefix, prefix);
            }
        }
    }

    fn widen_by(&mut self, table: &Table) {
        for index in 0..table.entries.len() {
            self.widen(table.value(index as u32));
        }
    }
}

// The first bytes as a number that is ordered as the values are; shorter ones are filled up with zeros.
#[inline]
fn prefix(value: &[u8]) -> u64 {
    match value.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => few_bytes(value).swap_bytes(),
    }
}

// At most seven bytes as a number, the first one lowest.
#[inline]
fn few_bytes(value: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk::<4>()) {
        // The two overlap in equal bytes.
        let shift = 8 * (value.len() as u32 - 4);
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift;
    }
    match *value {
        [a, b, c] => u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16,
        [a, b] => u64::from(a) | u64::from(b) << 8,
        [a] => u64::from(a),
        _ => 0,
    }
}

/// The dictionary, written as its page while it grows; found by open addressing with linear probing.
struct Table {
    slots: Vec<Slot>,
    /// How far a code's product is shifted to be a slot's number.
    shift: u32,
    page: Vec<u8>,
    /// Start and length of each value in the page.
    entries: Vec<(u32, u32)>,
    crowded: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    code: u64,
    /// Index of the value and 1; 0: empty.
    number: u32,
}

/// Set in the code of a value that the code alone does not tell from others.
const HASHED: u64 = 1 << 63;

impl Table {
    fn new() -> Self {
        Self {
            slots: vec![Slot::default(); 1024],
            shift: 64 - 10,
            page: Vec::new(),
            entries: Vec::new(),
            crowded: false,
        }
    }

    // The next chunk has about as many values: a table that grew does not grow again.
    fn emptied(mut self) -> Self {
        self.slots.fill(Slot::default());
        self.page.clear();
        self.entries.clear();
        self.crowded = false;
        self
    }

    #[inline]
    fn value(&self, index: u32) -> &[u8] {
        let (start, length) = self.entries[index as usize];
        &self.page[start as usize..][..length as usize]
    }

    #[inline]
    fn index(&mut self, value: &[u8]) -> u32 {
        let code = code(value);
        let mask = self.slots.len() - 1;
        let mut at = self.home(code);
        let mut probes = 0;
        loop {
            let slot = self.slots[at];
            if slot.number == 0 {
                return self.insert(value, code, at);
            }
            if slot.code == code && (code & HASHED == 0 || self.value(slot.number - 1) == value) {
                return slot.number - 1;
            }
            at = (at + 1) & mask;
            probes += 1;
            self.crowded |= probes > LONGEST_PROBE;
        }
    }

    // Fibonacci hashing: the high bits of the product are well mixed.
    #[inline]
    fn home(&self, code: u64) -> usize {
        (code.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    #[cold]
    fn insert(&mut self, value: &[u8], code: u64, at: usize) -> u32 {
        let start = self.page.len() + 4;
        put(value, &mut self.page);
        self.entries.push((start as u32, value.len() as u32));
        let number = self.entries.len() as u32;
        self.slots[at] = Slot { code, number };
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
        number - 1
    }

    fn grow(&mut self) {
        let mut slots = vec![Slot::default(); self.slots.len() * 4];
        self.shift -= 2;
        let mask = slots.len() - 1;
        for slot in self.slots.iter().filter(|slot| slot.number != 0) {
            let mut at = self.home(slot.code);
            while slots[at].number != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = *slot;
        }
        self.slots = slots;
    }
}

/// Of a value of at most seven bytes: itself, with its length; of a longer one: a hash.
#[inline]
fn code(value: &[u8]) -> u64 {
    if value.len() < 8 {
        return few_bytes(value) | (value.len() as u64) << 56;
    }
    let mut hash = value.len() as u64;
    let (words, _) = value.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word));
    }
    // The last eight bytes once more, whatever of them was seen already.
    if let Some(last) = value.last_chunk::<8>() {
        hash = fold(hash ^ u64::from_le_bytes(*last));
    }
    hash | HASHED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_have_codes_of_their_own_and_prefixes_in_their_order() {
        let values: [&[u8]; 12] =
            [b"", b"\0", b"\0\0", b"a", b"a\0", b"ab", b"abc", b"abcd", b"abcde", b"abcdef", b"abcdefg", b"b"];
        for (n, a) in values.iter().enumerate() {
            for b in &values[n + 1..] {
                assert_ne!(code(a), code(b), "{a:?} {b:?}");
                assert!(prefix(a) <= prefix(b), "{a:?} {b:?}");
            }
        }
        assert_eq!(few_bytes(b"abcde").to_le_bytes(), *b"abcde\0\0\0");
    }

    #[test]
    fn values_made_to_collide_end_the_dictionary() {
        let mut table = Table::new();
        table.slots.fill(Slot { code: HASHED, number: u32::MAX });
        table.slots[0].number = 0;
        table.index(b"any");
        assert!(table.crowded);
    }
}
