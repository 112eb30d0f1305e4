//! The input of a job, to its message and back.

use moulin_core as core;
use moulin_core::{Fault, Format};

use crate::decode::{missing, wrong};
use crate::{enums, v1};

/// The input of a job.
#[must_use]
pub fn encode(source: &core::Source) -> v1::Source {
    v1::Source {
        uris: source.uris.clone(),
        format: Some(match &source.format {
            Format::Csv(csv) => v1::source::Format::Csv(encode_csv(csv)),
            Format::Ndjson(ndjson) => v1::source::Format::Ndjson(v1::NdjsonFormat {
                duplicate_keys: enums::duplicate_keys(ndjson.duplicate_keys).into(),
            }),
            Format::Json(json) => v1::source::Format::Json(v1::JsonFormat {
                pointer: json.pointer.clone(),
                duplicate_keys: enums::duplicate_keys(json.duplicate_keys).into(),
            }),
            Format::Parquet => v1::source::Format::Parquet(v1::ParquetFormat {}),
        }),
        compression: enums::compression(source.compression).into(),
        columns: source.columns.iter().map(encode_column).collect(),
        provenance_columns: source
            .provenance_columns
            .iter()
            .map(|column| enums::provenance_column(*column).into())
            .collect(),
        partition_columns: source.partition_columns,
        on_bad_file: enums::on_bad_file(source.on_bad_file).into(),
        contract: Some(v1::Contract {
            tables: enums::contract_mode(source.contract.tables).into(),
            columns: enums::contract_mode(source.contract.columns).into(),
            types: enums::contract_mode(source.contract.types).into(),
        }),
        rescued_column: source.rescued_column.clone().unwrap_or_default(),
        inference: Some(v1::Inference {
            sample_rows: source.inference.sample_rows,
            sample_bytes: source.inference.sample_bytes,
        }),
        limits: Some(v1::ReadLimits {
            field_bytes: source.limits.field_bytes,
            record_bytes: source.limits.record_bytes,
            columns: source.limits.columns,
            depth: source.limits.depth,
            inflation_ratio: source.limits.inflation_ratio,
            inflated_bytes: source.limits.inflated_bytes.unwrap_or(0),
        }),
        preserve_order: source.preserve_order,
    }
}

/// The input of a job, not yet validated.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn decode(source: v1::Source) -> Result<core::Source, Fault> {
    let default = core::Inference::default();
    let inference = source.inference.unwrap_or_default();
    Ok(core::Source {
        uris: source.uris,
        format: match source.format.ok_or_else(|| missing("source.format"))? {
            v1::source::Format::Csv(csv) => Format::Csv(decode_csv(csv)?),
            v1::source::Format::Ndjson(ndjson) => {
                Format::Ndjson(core::NdjsonFormat { duplicate_keys: duplicate_keys(ndjson.duplicate_keys)? })
            }
            v1::source::Format::Json(json) => Format::Json(core::JsonFormat {
                pointer: json.pointer,
                duplicate_keys: duplicate_keys(json.duplicate_keys)?,
            }),
            v1::source::Format::Parquet(_) => Format::Parquet,
        },
        compression: enums::from_compression(known("compression", source.compression)?),
        columns: source.columns.into_iter().map(decode_column).collect::<Result<_, _>>()?,
        provenance_columns: source
            .provenance_columns
            .into_iter()
            .filter_map(|column| known("provenance_columns", column).map(enums::from_provenance_column).transpose())
            .collect::<Result<_, _>>()?,
        partition_columns: source.partition_columns,
        on_bad_file: enums::from_on_bad_file(known("on_bad_file", source.on_bad_file)?).unwrap_or_default(),
        contract: decode_contract(source.contract.unwrap_or_default())?,
        rescued_column: Some(source.rescued_column).filter(|name| !name.is_empty()),
        inference: core::Inference {
            sample_rows: or(inference.sample_rows, default.sample_rows),
            sample_bytes: or(inference.sample_bytes, default.sample_bytes),
        },
        limits: decode_limits(source.limits.unwrap_or_default()),
        preserve_order: source.preserve_order,
    })
}

/// Proto3's zero means that nothing was said.
fn or<T: Default + PartialEq>(said: T, default: T) -> T {
    if said == T::default() { default } else { said }
}

fn known<T: TryFrom<i32>>(field: &str, number: i32) -> Result<T, Fault> {
    T::try_from(number).map_err(|_| wrong(format!("source.{field} {number} is unknown to this worker")))
}

fn duplicate_keys(number: i32) -> Result<core::DuplicateKeys, Fault> {
    Ok(enums::from_duplicate_keys(known("duplicate_keys", number)?).unwrap_or_default())
}

fn decode_contract(contract: v1::Contract) -> Result<core::Contract, Fault> {
    let mode = |field: &str, number| Ok(enums::from_contract_mode(known(field, number)?).unwrap_or_default());
    Ok(core::Contract {
        tables: mode("contract.tables", contract.tables)?,
        columns: mode("contract.columns", contract.columns)?,
        types: mode("contract.types", contract.types)?,
    })
}

fn decode_limits(limits: v1::ReadLimits) -> core::ReadLimits {
    let default = core::ReadLimits::default();
    core::ReadLimits {
        field_bytes: or(limits.field_bytes, default.field_bytes),
        record_bytes: or(limits.record_bytes, default.record_bytes),
        columns: or(limits.columns, default.columns),
        depth: or(limits.depth, default.depth),
        inflation_ratio: or(limits.inflation_ratio, default.inflation_ratio),
        inflated_bytes: Some(limits.inflated_bytes).filter(|bytes| *bytes > 0),
    }
}

fn encode_column(column: &core::Column) -> v1::Column {
    let text = &column.text;
    v1::Column {
        name: column.name.clone(),
        r#type: column.ty.to_string(),
        null_values: text.null_values.clone(),
        format: text.format.clone().unwrap_or_default(),
        timezone: text.timezone.clone().unwrap_or_default(),
        true_values: text.true_values.clone(),
        false_values: text.false_values.clone(),
        decimal_separator: text.decimal_separator.map(character).unwrap_or_default(),
        thousands_separator: text.thousands_separator.map(character).unwrap_or_default(),
    }
}

fn decode_column(column: v1::Column) -> Result<core::Column, Fault> {
    let name = column.name;
    let ty = column.r#type.parse().map_err(|reason| wrong(format!("source.columns, column {name}: {reason}")))?;
    let byte = |option: &str, text: &str| byte(&format!("source.columns, column {name}: {option}"), text);
    let text = core::ColumnText {
        null_values: column.null_values,
        format: said(column.format),
        timezone: said(column.timezone),
        true_values: column.true_values,
        false_values: column.false_values,
        decimal_separator: byte("decimal_separator", &column.decimal_separator)?,
        thousands_separator: byte("thousands_separator", &column.thousands_separator)?,
    };
    Ok(core::Column { name, ty, text })
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn character(byte: u8) -> String {
    char::from(byte).to_string()
}

fn byte(name: &str, text: &str) -> Result<Option<u8>, Fault> {
    match text.as_bytes() {
        [] => Ok(None),
        [byte] => Ok(Some(*byte)),
        _ => Err(wrong(format!("{name} is `{text}`, expected one ASCII character"))),
    }
}

fn encode_csv(csv: &core::CsvFormat) -> v1::CsvFormat {
    v1::CsvFormat {
        delimiter: csv.delimiter.clone(),
        quote: csv.quote.map(character).unwrap_or_default(),
        no_quoting: !csv.quoting,
        no_header: !csv.header,
        null_values: csv.null_values.clone(),
        skip_lines: csv.skip_lines,
        comment: csv.comment.clone().unwrap_or_default(),
        escape: csv.escape.map(character).unwrap_or_default(),
        no_doubled_quotes: !csv.doubled_quotes,
        header_lines: csv.header_lines,
        column_names: csv.column_names.clone(),
        skip_rows: csv.skip_rows,
        skip_footer_rows: csv.skip_footer_rows,
        true_values: csv.true_values.clone(),
        false_values: csv.false_values.clone(),
        decimal_separator: character(csv.decimal_separator),
        thousands_separator: csv.thousands_separator.map(character).unwrap_or_default(),
        date_format: csv.date_format.clone().unwrap_or_default(),
        time_format: csv.time_format.clone().unwrap_or_default(),
        timestamp_format: csv.timestamp_format.clone().unwrap_or_default(),
        timezone: csv.timezone.clone().unwrap_or_default(),
        encoding: enums::encoding(csv.encoding).into(),
        line_ending: enums::line_ending(csv.line_ending).into(),
        trailing_delimiter: csv.trailing_delimiter,
        ragged_rows: enums::ragged_rows(csv.ragged_rows).into(),
        trim: csv.trim,
        dialect: enums::dialect(csv.dialect).into(),
    }
}

fn decode_csv(csv: v1::CsvFormat) -> Result<core::CsvFormat, Fault> {
    let default = core::CsvFormat::default();
    let byte = |option: &str, text: &str| byte(&format!("source.csv.{option}"), text);
    Ok(core::CsvFormat {
        delimiter: csv.delimiter,
        quote: byte("quote", &csv.quote)?,
        quoting: !csv.no_quoting,
        escape: byte("escape", &csv.escape)?,
        doubled_quotes: !csv.no_doubled_quotes,
        header: !csv.no_header,
        header_lines: or(csv.header_lines, default.header_lines),
        column_names: csv.column_names,
        null_values: csv.null_values,
        true_values: csv.true_values,
        false_values: csv.false_values,
        skip_lines: csv.skip_lines,
        skip_rows: csv.skip_rows,
        skip_footer_rows: csv.skip_footer_rows,
        comment: said(csv.comment),
        decimal_separator: byte("decimal_separator", &csv.decimal_separator)?.unwrap_or(default.decimal_separator),
        thousands_separator: byte("thousands_separator", &csv.thousands_separator)?,
        date_format: said(csv.date_format),
        time_format: said(csv.time_format),
        timestamp_format: said(csv.timestamp_format),
        timezone: said(csv.timezone),
        encoding: enums::from_encoding(known("csv.encoding", csv.encoding)?),
        line_ending: enums::from_line_ending(known("csv.line_ending", csv.line_ending)?),
        trailing_delimiter: csv.trailing_delimiter,
        ragged_rows: enums::from_ragged_rows(known("csv.ragged_rows", csv.ragged_rows)?).unwrap_or_default(),
        trim: csv.trim,
        dialect: enums::from_dialect(known("csv.dialect", csv.dialect)?).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_csv_message_means_the_defaults() {
        assert_eq!(decode_csv(v1::CsvFormat::default()).unwrap(), core::CsvFormat::default());
    }

    #[test]
    fn an_empty_source_message_means_the_defaults() {
        let empty = v1::Source {
            uris: vec!["a.ndjson".into()],
            format: Some(v1::source::Format::Ndjson(v1::NdjsonFormat::default())),
            ..v1::Source::default()
        };
        let expected = core::Source::new(vec!["a.ndjson".into()], Format::Ndjson(core::NdjsonFormat::default()));
        assert_eq!(decode(empty).unwrap(), expected);
    }

    #[test]
    fn a_source_with_every_option_comes_back_from_its_message() {
        let text = r#"{"uris": ["a.csv"], "compression": "zstd", "partition_columns": true, "preserve_order": true,
            "format": {"csv": {"delimiter": "||", "quote": "'", "escape": "\\", "doubled_quotes": false, "header": false,
                "header_lines": 2, "column_names": ["a", "b"], "null_values": ["NA"], "true_values": ["ja"],
                "false_values": ["nein"], "skip_lines": 3, "skip_rows": 4, "skip_footer_rows": 5, "comment": "--",
                "decimal_separator": ",", "thousands_separator": ".", "date_format": "%d.%m.%Y", "time_format": "%H",
                "timestamp_format": "%s", "timezone": "Europe/Berlin", "encoding": "windows_1252", "line_ending": "crlf",
                "trailing_delimiter": true, "ragged_rows": "fit", "trim": true, "dialect": "auto"}},
            "columns": [{"name": "a", "type": "timestamptz", "null_values": ["-"], "format": "%s", "timezone": "UTC"},
                {"name": "b", "type": "long", "decimal_separator": ",", "thousands_separator": "_"},
                {"name": "c", "type": "boolean", "true_values": ["x"], "false_values": ["y"]}],
            "provenance_columns": ["file", "row", "offset"], "on_bad_file": "skip", "rescued_column": "_rescued",
            "contract": {"tables": "freeze", "columns": "discard_row", "types": "discard_value"},
            "inference": {"sample_rows": 7, "sample_bytes": 8},
            "limits": {"field_bytes": 1, "record_bytes": 2, "columns": 3, "depth": 4, "inflation_ratio": 5, "inflated_bytes": 6}}"#;
        let source: core::Source = serde_json::from_str(text).unwrap();
        assert_eq!(decode(encode(&source)).unwrap(), source);
        let json = r#"{"uris": ["a.json"], "format": {"json": {"pointer": "/a/b", "duplicate_keys": "reject"}}}"#;
        let source: core::Source = serde_json::from_str(json).unwrap();
        assert_eq!(decode(encode(&source)).unwrap(), source);
    }

    #[test]
    fn a_wrong_character_names_the_option() {
        let message = decode_csv(v1::CsvFormat { quote: "''".into(), ..Default::default() }).unwrap_err().message;
        assert_eq!(message, "source.csv.quote is `''`, expected one ASCII character");
    }
}
