//! Values are gathered in columns, and columns become Arrow arrays without a copy.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use moulin_core::{ColumnType, PrimitiveType};

use super::values;

/// The Arrow type that holds a column type.
pub(crate) fn arrow_type(ty: PrimitiveType) -> DataType {
    match ty {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Binary => DataType::Binary,
    }
}

/// The Arrow type that holds a column type, nested ones among them.
pub(crate) fn arrow_type_of(ty: &ColumnType) -> DataType {
    let field = |name: &str, ty: &ColumnType| Arc::new(Field::new(name, arrow_type_of(ty), true));
    match ty {
        ColumnType::Primitive(ty) => arrow_type(*ty),
        ColumnType::List(item) => DataType::List(field("item", item)),
        ColumnType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|inner| field(&inner.name, &inner.ty)).collect())
        }
        ColumnType::Map(value) => {
            let key = Arc::new(Field::new("key", DataType::Utf8, false));
            let pair = DataType::Struct(vec![key, field("value", value)].into());
            DataType::Map(Arc::new(Field::new("key_value", pair, false)), false)
        }
    }
}

/// The column type an Arrow type of [`arrow_type`] holds, whatever unit its moments have; `None` for all others, nested
/// ones among them.
pub(crate) fn column_type(ty: &DataType) -> Option<PrimitiveType> {
    Some(match ty {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int32 => PrimitiveType::Int,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal128(precision, scale) => {
            PrimitiveType::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? }
        }
        DataType::Date32 => PrimitiveType::Date,
        DataType::Time64(_) => PrimitiveType::Time,
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8 => PrimitiveType::String,
        DataType::Binary => PrimitiveType::Binary,
        _ => return None,
    })
}

/// Which of the first `own` columns of a schema have one of the names, and the schema of them and of those behind;
/// `None`: all of them.
pub(crate) fn kept(schema: &SchemaRef, own: usize, names: Option<&[String]>) -> (Vec<bool>, SchemaRef) {
    let names: Option<HashSet<&str>> = names.map(|names| names.iter().map(String::as_str).collect());
    let is_kept = |field: &FieldRef| names.as_ref().is_none_or(|names| names.contains(field.name().as_str()));
    let kept: Vec<bool> = schema.fields().iter().take(own).map(is_kept).collect();
    let all = kept.iter().copied().chain(std::iter::repeat(true));
    let fields: Vec<FieldRef> =
        schema.fields().iter().cloned().zip(all).filter_map(|(f, kept)| kept.then_some(f)).collect();
    (kept, Arc::new(Schema::new(fields)))
}

/// The values of one column of one block.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) ty: PrimitiveType,
    pub(crate) data: Data,
    /// Rows that are null, ascending. Their place in `data` is filled.
    pub(crate) nulls: Vec<u32>,
}

/// Values by their form in memory.
#[derive(Debug)]
pub(crate) enum Data {
    Bool(Vec<bool>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    Bytes(Bytes),
}

/// Texts one after another. Only `values[..used]` counts: the rest is room for copies of whole words.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) offsets: Vec<i32>,
    pub(crate) values: Vec<u8>,
    pub(crate) used: usize,
}

impl Bytes {
    fn new(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, values: vec![0; bytes], used: 0 }
    }

    /// Makes room for `bytes` more, and for a copy of whole words to go over their end.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, bytes: usize) {
        let needed = self.used + bytes + 64;
        if self.values.len() < needed {
            self.grow(needed);
        }
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let length = needed.max(self.values.len() + self.values.len() / 2);
        self.values.resize(length, 0);
    }

    /// Copies a part of a text, as whole words where bytes behind it may be copied too: the length of the copy is then
    /// known to the compiler.
    #[inline(always)]
    pub(crate) fn copy(&mut self, text: &[u8], start: usize, end: usize) {
        let length = end - start;
        self.reserve(length);
        let room = &mut self.values[self.used..];
        match (text[start..].first_chunk::<16>(), room.first_chunk_mut::<16>()) {
            (Some(from), Some(to)) if length <= 16 => *to = *from,
            _ => match (text[start..].first_chunk::<48>(), room.first_chunk_mut::<48>()) {
                (Some(from), Some(to)) if length <= 48 => *to = *from,
                _ => room[..length].copy_from_slice(&text[start..end]),
            },
        }
        self.used += length;
    }

    pub(crate) fn push(&mut self, text: &[u8]) {
        self.reserve(text.len());
        self.values[self.used..self.used + text.len()].copy_from_slice(text);
        self.used += text.len();
        self.offsets.push(self.used as i32);
    }
}

impl Column {
    /// A column with room for so many rows, and bytes of text.
    pub(crate) fn new(ty: PrimitiveType, rows: usize, bytes: usize) -> Self {
        let data = match ty {
            PrimitiveType::Boolean => Data::Bool(Vec::with_capacity(rows)),
            PrimitiveType::Int | PrimitiveType::Date => Data::I32(Vec::with_capacity(rows)),
            PrimitiveType::Long | PrimitiveType::Time | PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
                Data::I64(Vec::with_capacity(rows))
            }
            PrimitiveType::Float => Data::F32(Vec::with_capacity(rows)),
            PrimitiveType::Double => Data::F64(Vec::with_capacity(rows)),
            PrimitiveType::Decimal { .. } => Data::I128(Vec::with_capacity(rows)),
            PrimitiveType::String | PrimitiveType::Binary => Data::Bytes(Bytes::new(rows, bytes)),
        };
        Self { ty, data, nulls: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Bool(values) => values.len(),
            Data::I32(values) => values.len(),
            Data::I64(values) => values.len(),
            Data::F32(values) => values.len(),
            Data::F64(values) => values.len(),
            Data::I128(values) => values.len(),
            Data::Bytes(bytes) => bytes.offsets.len() - 1,
        }
    }

    /// Bytes of text so far.
    pub(crate) fn text_bytes(&self) -> usize {
        if let Data::Bytes(bytes) = &self.data { bytes.used } else { 0 }
    }

    /// Takes rows away from the end.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match &mut self.data {
            Data::Bool(values) => values.truncate(rows),
            Data::I32(values) => values.truncate(rows),
            Data::I64(values) => values.truncate(rows),
            Data::F32(values) => values.truncate(rows),
            Data::F64(values) => values.truncate(rows),
            Data::I128(values) => values.truncate(rows),
            Data::Bytes(bytes) => {
                bytes.offsets.truncate(rows + 1);
                bytes.used = bytes.offsets.last().map_or(0, |offset| *offset as usize);
            }
        }
        while self.nulls.last().is_some_and(|row| *row as usize >= rows) {
            self.nulls.pop();
        }
    }

    pub(crate) fn push_null(&mut self) {
        self.nulls.push(self.len() as u32);
        match &mut self.data {
            Data::Bool(values) => values.push(false),
            Data::I32(values) => values.push(0),
            Data::I64(values) => values.push(0),
            Data::F32(values) => values.push(0.0),
            Data::F64(values) => values.push(0.0),
            Data::I128(values) => values.push(0),
            Data::Bytes(bytes) => bytes.push(b""),
        }
    }

    /// Appends the value that a text means; `false` when it means none of this type. Bytes are taken as they are.
    pub(crate) fn push_text(&mut self, text: &[u8]) -> bool {
        fn take<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
            value.map(|value| values.push(value)).is_some()
        }
        match (&mut self.data, self.ty) {
            (Data::Bool(values), _) => take(values, values::boolean(text)),
            (Data::I32(values), PrimitiveType::Date) => take(values, values::date(text)),
            (Data::I32(values), _) => take(values, values::int(text)),
            (Data::I64(values), PrimitiveType::Time) => take(values, values::time(text)),
            (Data::I64(values), PrimitiveType::Timestamp) => take(values, values::timestamp(text)),
            (Data::I64(values), PrimitiveType::Timestamptz) => take(values, values::timestamptz(text)),
            (Data::I64(values), _) => take(values, values::long(text)),
            (Data::F32(values), _) => take(values, values::float(text)),
            (Data::F64(values), _) => take(values, values::double(text)),
            (Data::I128(values), PrimitiveType::Decimal { precision, scale }) => {
                take(values, values::decimal(text, precision, scale))
            }
            (Data::I128(_), _) => false,
            (Data::Bytes(bytes), _) => {
                bytes.push(text);
                true
            }
        }
    }

    /// The Arrow array of the values.
    pub(crate) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let nulls = null_buffer(&self.nulls, self.len());
        Ok(match (self.data, self.ty) {
            (Data::Bool(values), _) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            (Data::I32(values), PrimitiveType::Date) => Arc::new(Date32Array::new(ScalarBuffer::from(values), nulls)),
            (Data::I32(values), _) => Arc::new(Int32Array::new(ScalarBuffer::from(values), nulls)),
            (Data::I64(values), PrimitiveType::Time) => Arc::new(Time64MicrosecondArray::new(values.into(), nulls)),
            (Data::I64(values), PrimitiveType::Timestamp) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls))
            }
            (Data::I64(values), PrimitiveType::Timestamptz) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
            }
            (Data::I64(values), _) => Arc::new(Int64Array::new(ScalarBuffer::from(values), nulls)),
            (Data::F32(values), _) => Arc::new(Float32Array::new(ScalarBuffer::from(values), nulls)),
            (Data::F64(values), _) => Arc::new(Float64Array::new(ScalarBuffer::from(values), nulls)),
            (Data::I128(values), ty) => {
                let array = Decimal128Array::new(ScalarBuffer::from(values), nulls);
                match arrow_type(ty) {
                    DataType::Decimal128(precision, scale) => {
                        Arc::new(array.with_precision_and_scale(precision, scale)?)
                    }
                    _ => Arc::new(array),
                }
            }
            (Data::Bytes(bytes), ty) => bytes.finish(ty, nulls)?,
        })
    }
}

impl Bytes {
    fn finish(mut self, ty: PrimitiveType, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        self.values.truncate(self.used);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let values = Buffer::from_vec(self.values);
        Ok(match ty {
            PrimitiveType::Binary => Arc::new(BinaryArray::try_new(offsets, values, nulls)?) as ArrayRef,
            _ => Arc::new(StringArray::try_new(offsets, values, nulls)?) as ArrayRef,
        })
    }
}

/// The null buffer of rows that are null, ascending; `None` without one.
pub(crate) fn null_buffer(nulls: &[u32], rows: usize) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut bits = vec![0xff_u8; rows.div_ceil(8)];
    for row in nulls {
        bits[*row as usize / 8] &= !(1 << (row % 8));
    }
    let bits = BooleanBuffer::new(Buffer::from_vec(bits), 0, rows);
    Some(NullBuffer::new(bits))
}
