//! The schema of a CSV file, from its header, the declared columns and a sample of its records.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema};
use moulin_core::{Column, ContractMode, CsvFormat, PrimitiveType, Source};

use super::header::{self, Head};
use super::record::{self, Item};
use super::{Csv, NullRule, cut_error, sniff};
use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::columns::arrow_type;
use crate::fetch::ByteStream;
use crate::infer::Guess;
use crate::notation::UsualText;
use crate::{InputSchema, Origin, Sample};

/// The schema of one file; `None` when the file holds neither header nor record.
pub(crate) fn schema(
    uri: &str,
    source: &Source,
    format: &CsvFormat,
    splitter: &mut Splitter<ByteStream>,
) -> Result<Option<InputSchema>, Error> {
    let found =
        if format.dialect == moulin_core::Dialect::Auto { Some(sniff::sniff(uri, format, splitter)?) } else { None };
    let format = found.as_ref().map_or(format, |found| &found.format);
    let declared = source.columns.as_slice();
    let mut head = header::read(uri, format, &source.limits, splitter)?;
    if head.names.is_none() && format.header {
        return Ok(None);
    }
    if let Some(names) = &head.names {
        let known: HashSet<&str> = names.iter().map(String::as_str).collect();
        if let Some(missing) = declared.iter().find(|column| !known.contains(column.name.as_str())) {
            return Err(header::missing_column(uri, &missing.name, names));
        }
    }
    let (guesses, mut seen) = sample(uri, source, format, &mut head, splitter)?;
    if let Some(found) = &found {
        seen.sniffed.clone_from(&found.options);
        seen.dialect = Some(found.format.clone());
    }
    let named = head.names.is_some();
    let names = match head.names {
        Some(names) => names,
        None if guesses.is_empty() => return Ok(None),
        None => names_without_header(uri, declared, guesses.len())?,
    };
    let declared: HashMap<&str, &Column> = declared.iter().map(|column| (column.name.as_str(), column)).collect();
    // A contract that takes no new columns makes the declared ones, if there are any, all there are.
    let only_declared = !declared.is_empty() && source.contract.columns != ContractMode::Evolve;
    if only_declared
        && source.contract.columns == ContractMode::Freeze
        && let Some(more) = names.iter().find(|name| !declared.contains_key(name.as_str()))
    {
        return Err(Error::Frozen { uri: uri.to_owned(), column: more.clone() });
    }
    if only_declared && !named && names.len() > declared.len() {
        // Without their names it could not be told which fields are left out.
        seen.dialect = Some(CsvFormat { column_names: names.clone(), ..format.clone() });
    }
    let (mut fields, mut origins) = (Vec::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        let declared = declared.get(name.as_str()).and_then(|column| column.ty.primitive());
        if declared.is_none() && only_declared {
            continue;
        }
        let guess = guesses.get(at);
        let ty = declared.unwrap_or_else(|| guess.map_or(PrimitiveType::String, Guess::ty));
        fields.push(ArrowField::new(name, arrow_type(ty), true));
        origins.push(if declared.is_some() { Origin::Declared } else { Origin::Inferred });
        seen.reasons.push(guess.map(Guess::reason).unwrap_or_default());
    }
    let schema = InputSchema { arrow: Arc::new(Schema::new(fields)), origins, sample: seen };
    // A notation that does not fit its type is said with the schema, not after the job has begun.
    Csv::new(source, format, &schema)?;
    Ok(Some(schema))
}

fn names_without_header(uri: &str, declared: &[Column], fields: usize) -> Result<Vec<String>, Error> {
    let by_place = |column: &Column| (0..fields).any(|at| column.name == header::place_name(at));
    if declared.len() != fields && declared.iter().all(by_place) {
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
    source: &Source,
    format: &CsvFormat,
    head: &mut Head,
    splitter: &mut Splitter<ByteStream>,
) -> Result<(Vec<Guess>, Sample), Error> {
    let names = head.names.as_ref().map_or(0, Vec::len);
    let (mut guesses, mut seen) = (vec![Guess::default(); names], Sample::default());
    let mut next = head.rest.take();
    loop {
        let block = match next.take() {
            Some(block) => block,
            None => match splitter.next(&head.cut).map_err(|error| cut_error(uri, error))? {
                Some(block) => block,
                None => break,
            },
        };
        if let Some(long) = block.long {
            seen.rows += u64::from(long.is_record);
            seen.rows_bad += u64::from(long.is_record);
            // What comes behind the first record is the sample.
            if seen.rows <= 1 {
                continue;
            }
            break;
        }
        sample_block(uri, source, format, head, &block, (&mut guesses, &mut seen))?;
        // One block is the sample, but for what is left of a file that is no larger: its last line may have no end.
        if !splitter.is_at_end() {
            break;
        }
    }
    Ok((guesses, seen))
}

fn sample_block(
    uri: &str,
    source: &Source,
    format: &CsvFormat,
    head: &Head,
    block: &Block,
    (guesses, seen): (&mut Vec<Guess>, &mut Sample),
) -> Result<(), Error> {
    let text = &block.buffer[..block.end];
    // What is null in a column that is no string: strings are what is left when nothing else fits.
    let nulls = NullRule::of_no_string(format);
    let usual = UsualText::new(format).map_err(|why| Error::Schema(format!("csv: {why}")))?;
    let limit = source.limits.columns as usize;
    let (mut at, mut fields) = (block.start, Vec::new());
    while at < block.end && seen.rows < source.inference.sample_rows {
        let walk = record::read(&head.dialect, text, at, &mut fields, limit);
        at = walk.next;
        if walk.item == Item::Nothing {
            continue;
        }
        seen.rows += 1;
        if walk.item != Item::Record {
            seen.rows_bad += 1;
            continue;
        }
        if guesses.is_empty() {
            too_many(uri, walk.count, limit)?;
            *guesses = vec![Guess::default(); walk.count];
        }
        let fits = walk.count == guesses.len()
            || (walk.count < guesses.len() && format.ragged_rows.pads())
            || (walk.count > guesses.len() && format.ragged_rows.truncates());
        if !fits {
            seen.rows_bad += 1;
            continue;
        }
        for (field, guess) in fields.iter().zip(guesses.iter_mut()) {
            let raw = field.raw(text);
            if field.quoted || !nulls.is_null(raw) {
                usual.show(guess, &field.text(text, &head.dialect));
            } else {
                guess.see_null(raw);
            }
        }
    }
    Ok(())
}

/// # Errors
/// When the first row of a file without header has more fields than there may be columns.
fn too_many(uri: &str, fields: usize, limit: usize) -> Result<(), Error> {
    if fields <= limit {
        return Ok(());
    }
    let reason = format!("its first row has {fields} fields, and limits.columns allows {limit} (csv.columns)");
    Err(Error::BadFile { uri: uri.to_owned(), reason })
}
