//! The values of one column of a block, nested ones among them.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use moulin_core::PrimitiveType;

use super::shape::Shape;
use crate::columns::{Column, null_buffer};

/// Values of one shape.
#[derive(Debug)]
pub(super) enum Cells {
    Plain(Column),
    List { spans: Spans, items: Box<Cells> },
    Struct(Structs),
    Map { spans: Spans, keys: Column, values: Box<Cells> },
}

/// Where the items of each list stand among those of all.
#[derive(Debug)]
pub(super) struct Spans {
    /// The end of each list, with a zero before the first.
    offsets: Vec<i32>,
    nulls: Vec<u32>,
}

/// Objects with known keys.
#[derive(Debug)]
pub(super) struct Structs {
    pub(super) rows: usize,
    nulls: Vec<u32>,
    pub(super) members: Vec<Cells>,
    /// The object in which each key was last seen, counted from 1.
    pub(super) seen: Vec<u32>,
    pub(super) objects: u32,
}

impl Spans {
    fn new() -> Self {
        Self { offsets: vec![0], nulls: Vec::new() }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Items of all lists so far.
    pub(super) fn end(&self) -> usize {
        self.offsets.last().map_or(0, |end| *end as usize)
    }

    /// A list that ends with so many items in all.
    pub(super) fn push(&mut self, end: usize) {
        self.offsets.push(end as i32);
    }

    fn push_null(&mut self) {
        self.nulls.push(self.rows() as u32);
        self.push(self.end());
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        truncate_nulls(&mut self.nulls, rows);
    }
}

fn truncate_nulls(nulls: &mut Vec<u32>, rows: usize) {
    while nulls.last().is_some_and(|row| *row as usize >= rows) {
        nulls.pop();
    }
}

impl Cells {
    /// Room for so many rows, and bytes of text.
    pub(super) fn new(shape: &Shape, rows: usize, bytes: usize) -> Self {
        match shape {
            Shape::Plain { ty, .. } => Self::Plain(Column::new(*ty, rows, bytes)),
            Shape::List { item, .. } => Self::List { spans: Spans::new(), items: Box::new(Self::new(item, 0, 0)) },
            Shape::Struct { members, .. } => Self::Struct(Structs {
                rows: 0,
                nulls: Vec::new(),
                members: members.list.iter().map(|member| Self::new(&member.shape, 0, 0)).collect(),
                seen: vec![0; members.list.len()],
                objects: 0,
            }),
            Shape::Map { value, .. } => Self::Map {
                spans: Spans::new(),
                keys: Column::new(PrimitiveType::String, 0, 0),
                values: Box::new(Self::new(value, 0, 0)),
            },
        }
    }

    /// Values so far.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(column) => column.len(),
            Self::List { spans, .. } | Self::Map { spans, .. } => spans.rows(),
            Self::Struct(structs) => structs.rows,
        }
    }

    /// Bytes of text so far, those inside of nested values left out.
    pub(super) fn text_bytes(&self) -> usize {
        if let Self::Plain(column) = self { column.text_bytes() } else { 0 }
    }

    /// Takes rows away from the end, a half-read one among them.
    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Plain(column) => column.truncate(rows),
            Self::List { spans, items } => {
                spans.truncate(rows);
                items.truncate(spans.end());
            }
            Self::Struct(structs) => {
                structs.rows = structs.rows.min(rows);
                truncate_nulls(&mut structs.nulls, rows);
                structs.members.iter_mut().for_each(|cells| cells.truncate(rows));
            }
            Self::Map { spans, keys, values } => {
                spans.truncate(rows);
                keys.truncate(spans.end());
                values.truncate(spans.end());
            }
        }
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Plain(column) => column.push_null(),
            Self::List { spans, .. } | Self::Map { spans, .. } => spans.push_null(),
            Self::Struct(structs) => {
                structs.nulls.push(structs.rows as u32);
                structs.rows += 1;
                structs.members.iter_mut().for_each(Self::push_null);
            }
        }
    }

    /// The Arrow array of the values.
    pub(super) fn finish(self, shape: &Shape) -> Result<ArrayRef, ArrowError> {
        Ok(match (self, shape) {
            (Self::Plain(column), _) => column.finish()?,
            (Self::List { spans, items }, Shape::List { item, field }) => {
                let nulls = null_buffer(&spans.nulls, spans.rows());
                let offsets = OffsetBuffer::new(spans.offsets.into());
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, items.finish(item)?, nulls)?)
            }
            (Self::Struct(structs), Shape::Struct { members, fields }) => {
                let nulls = null_buffer(&structs.nulls, structs.rows);
                let arrays = structs.members.into_iter().zip(&members.list);
                let arrays = arrays.map(|(cells, member)| cells.finish(&member.shape)).collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new(fields.clone(), arrays, nulls)?)
            }
            (Self::Map { spans, keys, values }, Shape::Map { value, entries }) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("the entries of a map are no pairs".to_owned()));
                };
                let nulls = null_buffer(&spans.nulls, spans.rows());
                let offsets = OffsetBuffer::new(spans.offsets.into());
                let pairs = StructArray::try_new(pair.clone(), vec![keys.finish()?, values.finish(value)?], None)?;
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, false)?)
            }
            (_, shape) => return Err(ArrowError::SchemaError(format!("values were not gathered as {shape:?}"))),
        })
    }
}
