//! Values as JSON text, one cell at a time.

use arrow::array::{
    Array, AsArray as _, BinaryArray, FixedSizeBinaryArray, Float32Array, Float64Array, ListArray, MapArray,
    StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How values are shown: ISO 8601 with as many digits as there are; a value that has no text is an error.
pub(super) const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

/// The cells of one column of one batch, made to be written as JSON.
pub(super) enum Cells<'a> {
    /// Numbers and truth values: their own text.
    Bare(&'a dyn Array, ArrayFormatter<'a>),
    /// Dates and times: their text in quotes.
    Quoted(&'a dyn Array, ArrayFormatter<'a>),
    F32(&'a Float32Array),
    F64(&'a Float64Array),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Fixed(&'a FixedSizeBinaryArray),
    List(&'a ListArray, Box<Cells<'a>>),
    Struct(&'a StructArray, Vec<(String, Cells<'a>)>),
    Map {
        array: &'a MapArray,
        keys: Box<Cells<'a>>,
        values: Box<Cells<'a>>,
    },
}

impl<'a> Cells<'a> {
    /// The cells of a column of one of the types that rows land as.
    pub(super) fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::Float32 => Self::F32(array.as_primitive::<Float32Type>()),
            DataType::Float64 => Self::F64(array.as_primitive::<Float64Type>()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>()),
            DataType::FixedSizeBinary(_) => Self::Fixed(array.as_fixed_size_binary()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list, Box::new(Self::new(list.values())?))
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let cells = fields.iter().zip(array.columns()).map(|(field, column)| {
                    Ok((serde_json::Value::from(field.name().as_str()).to_string(), Self::new(column)?))
                });
                Self::Struct(array, cells.collect::<Result<_, ArrowError>>()?)
            }
            DataType::Map(..) => {
                let array = array.as_map();
                let keys = Box::new(Self::new(array.keys())?);
                Self::Map { array, keys, values: Box::new(Self::new(array.values())?) }
            }
            DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => {
                Self::Quoted(array, ArrayFormatter::try_new(array, &OPTIONS)?)
            }
            _ => Self::Bare(array, ArrayFormatter::try_new(array, &OPTIONS)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bare(array, _) | Self::Quoted(array, _) => array.is_null(row),
            Self::F32(array) => array.is_null(row),
            Self::F64(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::Fixed(array) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
            Self::Map { array, .. } => array.is_null(row),
        }
    }

    /// Appends the JSON text of one cell.
    ///
    /// # Errors
    /// A value that has no text, e.g. a date beyond the calendar.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self {
            Self::Bare(_, formatter) => text(formatter, row, out)?,
            Self::Quoted(_, formatter) => {
                out.push(b'"');
                text(formatter, row, out)?;
                out.push(b'"');
            }
            Self::F32(array) => float(array.value(row).is_finite(), &array.value(row), out),
            Self::F64(array) => float(array.value(row).is_finite(), &array.value(row), out),
            Self::Text(array) => quoted(array.value(row), out),
            Self::Binary(array) => bytes(array.value(row), out),
            Self::Fixed(array) => bytes(array.value(row), out),
            Self::List(array, items) => items.write_list(array.offsets(), row, out)?,
            Self::Struct(_, fields) => {
                for (at, (name, cells)) in fields.iter().enumerate() {
                    out.push(if at == 0 { b'{' } else { b',' });
                    out.extend_from_slice(name.as_bytes());
                    out.push(b':');
                    cells.write(row, out)?;
                }
                out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
            Self::Map { array, keys, values } => write_map(array.offsets(), keys, values, row, out)?,
        }
        Ok(())
    }

    fn write_list(&self, offsets: &OffsetBuffer<i32>, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        out.push(b'[');
        for (at, item) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.write(item, out)?;
        }
        out.push(b']');
        Ok(())
    }
}

/// Keys that are no texts are quoted: JSON has no other keys.
fn write_map(
    offsets: &OffsetBuffer<i32>,
    keys: &Cells<'_>,
    values: &Cells<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    out.push(b'{');
    for (at, pair) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let start = out.len();
        keys.write(pair, out)?;
        if out.get(start) != Some(&b'"') {
            let key = String::from_utf8_lossy(&out[start..]).into_owned();
            out.truncate(start);
            quoted(&key, out);
        }
        out.push(b':');
        values.write(pair, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends the text of a value as it is.
pub(super) fn text(formatter: &ArrayFormatter<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    out.extend_from_slice(formatter.value(row).try_to_string()?.as_bytes());
    Ok(())
}

/// The shortest digits that mean the number; what JSON has no number for is a text.
fn float(is_finite: bool, number: &dyn std::fmt::Debug, out: &mut Vec<u8>) {
    let digits = format!("{number:?}");
    if is_finite {
        out.extend_from_slice(digits.as_bytes());
    } else {
        quoted(&digits, out);
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    quoted(&STANDARD.encode(bytes), out);
}
