//! The schema of a CSV file, from its header, the declared columns and a sample of its records.

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema};
use moulin_core::{Column, CsvFormat, PrimitiveType};

use super::header::{self, Head};
use super::record::{self, Item};
use super::{NullRule, cut_error};
use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::columns::arrow_type;
use crate::fetch::ByteStream;
use crate::infer::Guess;
use crate::{InputSchema, Origin, Sample};

/// The schema of one file; `None` when the file holds neither header nor record.
pub(crate) fn schema(
    uri: &str,
    format: &CsvFormat,
    declared: &[Column],
    sample_rows: u64,
    splitter: &mut Splitter<ByteStream>,
) -> Result<Option<InputSchema>, Error> {
    let mut head = header::read(uri, format, splitter)?;
    if let Some(names) = &head.names {
        header::check_names(uri, names)?;
        if let Some(missing) = declared.iter().find(|column| !names.contains(&column.name)) {
            return Err(header::missing_column(uri, &missing.name, names));
        }
    }
    if head.names.is_none() && format.header {
        return Ok(None);
    }
    let (guesses, mut seen) = sample(uri, format, sample_rows, &mut head, splitter)?;
    seen.reasons = guesses.iter().map(Guess::reason).collect();
    let names = match head.names {
        Some(names) => names,
        None if guesses.is_empty() => return Ok(None),
        None => names_without_header(uri, declared, guesses.len())?,
    };
    let (fields, origins): (Vec<_>, Vec<_>) = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let declared = declared.iter().find(|column| column.name == *name).and_then(|column| column.ty.primitive());
            let ty = declared.unwrap_or_else(|| guesses.get(at).map_or(PrimitiveType::String, Guess::ty));
            let origin = if declared.is_some() { Origin::Declared } else { Origin::Inferred };
            (ArrowField::new(name, arrow_type(ty), true), origin)
        })
        .unzip();
    Ok(Some(InputSchema { arrow: Arc::new(Schema::new(fields)), origins, sample: seen }))
}

fn names_without_header(uri: &str, declared: &[Column], fields: usize) -> Result<Vec<String>, Error> {
    if declared.is_empty() {
        return Ok((0..fields).map(header::place_name).collect());
    }
    if declared.len() != fields {
        return Err(Error::Schema(format!(
            "source.columns declares {} columns, and the first row of {uri} has {fields} fields; a file without header needs them all",
            declared.len()
        )));
    }
    Ok(declared.iter().map(|column| column.name.clone()).collect())
}

/// Guesses of the columns from the first records, bad ones left out, and how many there were.
fn sample(
    uri: &str,
    format: &CsvFormat,
    sample_rows: u64,
    head: &mut Head,
    splitter: &mut Splitter<ByteStream>,
) -> Result<(Vec<Guess>, Sample), Error> {
    let (mut guesses, mut seen) = (Vec::new(), Sample::default());
    let mut next = head.rest.take();
    loop {
        let block = match next.take() {
            Some(block) => block,
            None => match splitter.next(head.dialect.cut()).map_err(|error| cut_error(uri, error))? {
                Some(block) => block,
                None => break,
            },
        };
        sample_block(format, sample_rows, head, &block, &mut guesses, &mut seen);
        // One block is the sample, but for what is left of a file that is no larger: its last line may have no end.
        if !splitter.is_at_end() {
            break;
        }
    }
    Ok((guesses, seen))
}

fn sample_block(
    format: &CsvFormat,
    sample_rows: u64,
    head: &Head,
    block: &Block,
    guesses: &mut Vec<Guess>,
    seen: &mut Sample,
) {
    let text = &block.buffer[..block.end];
    // What is null in a column that is no string: strings are what is left when nothing else fits.
    let nulls = NullRule::new(PrimitiveType::Long, &format.null_values);
    let (mut at, mut fields) = (block.start, Vec::new());
    while at < block.end && seen.rows < sample_rows {
        let (item, next) = record::read(&head.dialect, text, at, &mut fields);
        at = next;
        if item == Item::Nothing {
            continue;
        }
        seen.rows += 1;
        if item != Item::Record {
            seen.rows_bad += 1;
            continue;
        }
        if guesses.is_empty() {
            *guesses = vec![Guess::default(); head.names.as_ref().map_or(fields.len(), Vec::len)];
        }
        if fields.len() != guesses.len() {
            seen.rows_bad += 1;
            continue;
        }
        for (field, guess) in fields.iter().zip(guesses.iter_mut()) {
            let value = field.text(text, &head.dialect);
            if field.quoted || !nulls.is_null(&value) {
                guess.see(&value);
            } else {
                guess.see_null(&value);
            }
        }
    }
}
