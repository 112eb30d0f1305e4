//! How data files are encoded: the table's `write.*` properties, with the defaults of PyIceberg's writer.

use std::collections::HashMap;
use std::str::FromStr;

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::modes::Modes;
use crate::Error;

/// Settings of all data files of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileSettings {
    /// Folder of the data files.
    pub(crate) data_location: String,
    /// A file is closed when it is about this large.
    pub(crate) target_file_bytes: usize,
    /// A row group is closed when it is about this large.
    pub(crate) row_group_bytes: usize,
    row_group_rows: usize,
    page_bytes: usize,
    dictionary_bytes: usize,
    compression: Compression,
    /// What is kept of each column in the table's metadata.
    pub(crate) modes: Modes,
    /// Columns with a bloom filter, each with its share of false positives.
    blooms: Vec<(ColumnPath, f64)>,
    bloom_bytes: usize,
}

impl FileSettings {
    /// # Errors
    /// `InvalidSpec`, naming the property, its value and what it can be.
    pub(crate) fn from_properties(properties: &HashMap<String, String>, location: &str) -> Result<Self, Error> {
        let data = properties.get("write.data.path").map(|path| path.trim_end_matches('/').to_owned());
        Ok(Self {
            data_location: data.unwrap_or_else(|| format!("{location}/data")),
            target_file_bytes: number(properties, "write.target-file-size-bytes", 512 << 20)?,
            row_group_bytes: number(properties, "write.parquet.row-group-size-bytes", 128 << 20)?,
            row_group_rows: number(properties, "write.parquet.row-group-limit", 1 << 20)?,
            page_bytes: number(properties, "write.parquet.page-size-bytes", 1 << 20)?,
            dictionary_bytes: number(properties, "write.parquet.dict-size-bytes", 2 << 20)?,
            compression: compression(properties)?,
            modes: Modes::from_properties(properties)?,
            blooms: blooms(properties)?,
            bloom_bytes: number(properties, "write.parquet.bloom-filter-max-bytes", 1 << 20)?,
        })
    }

    /// The properties of a Parquet writer.
    pub(crate) fn writer_properties(&self) -> WriterProperties {
        let mut builder = WriterProperties::builder();
        for (column, fpp) in &self.blooms {
            builder = builder
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_fpp(column.clone(), *fpp)
                .set_column_bloom_filter_ndv(column.clone(), self.bloom_values(*fpp));
        }
        builder
            .set_compression(self.compression)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_data_page_size_limit(self.page_bytes)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            // Pages are limited by their size alone, as PyArrow's are.
            .set_data_page_row_count_limit(usize::MAX)
            // Iceberg plans by file and row group; an index of pages would be computed for nobody.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(format!("moulin {}", env!("CARGO_PKG_VERSION")))
            .build()
    }

    // As many as a row group can hold, or as a filter of the size that is allowed is good for. Bits per value of a
    // split block filter: parquet-format, "Bloom filter".
    fn bloom_values(&self, fpp: f64) -> u64 {
        let bits_per_value = -8.0 / (1.0 - fpp.powf(1.0 / 8.0)).ln();
        let fitting = (self.bloom_bytes as f64 * 8.0 / bits_per_value) as u64;
        fitting.min(self.row_group_rows as u64).max(1)
    }
}

fn blooms(properties: &HashMap<String, String>) -> Result<Vec<(ColumnPath, f64)>, Error> {
    const ENABLED: &str = "write.parquet.bloom-filter-enabled.column.";
    const FPP: &str = "write.parquet.bloom-filter-fpp.column.";
    let mut found = Vec::new();
    for (name, text) in properties {
        let Some(column) = name.strip_prefix(ENABLED) else { continue };
        match text.as_str() {
            "true" => {}
            "false" => continue,
            _ => return Err(Error::invalid(format!("table property {name} is `{text}`, but must be true or false"))),
        }
        let fpp = match properties.get(&format!("{FPP}{column}")).map(|text| (text, text.parse::<f64>())) {
            None => 0.01,
            Some((_, Ok(fpp))) if fpp > 0.0 && fpp < 1.0 => fpp,
            Some((text, _)) => {
                return Err(Error::invalid(format!(
                    "table property {FPP}{column} is `{text}`, but must be a number between 0 and 1"
                )));
            }
        };
        found.push((ColumnPath::new(column.split('.').map(str::to_owned).collect()), fpp));
    }
    found.sort_by(|a, b| a.0.parts().cmp(b.0.parts()));
    Ok(found)
}

fn number(properties: &HashMap<String, String>, name: &str, default: usize) -> Result<usize, Error> {
    let Some(text) = properties.get(name) else { return Ok(default) };
    match usize::from_str(text) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Error::invalid(format!("table property {name} is `{text}`, but must be a number above 0"))),
    }
}

fn compression(properties: &HashMap<String, String>) -> Result<Compression, Error> {
    let codec = properties.get("write.parquet.compression-codec").map_or("zstd", String::as_str);
    let level = match properties.get("write.parquet.compression-level") {
        // Some engines write the word null for "the codec's default".
        None => None,
        Some(text) if text == "null" => None,
        Some(text) => Some(text.parse::<i32>().map_err(|_| {
            Error::invalid(format!("table property write.parquet.compression-level is `{text}`, but must be a number"))
        })?),
    };
    let bad_level = |e: parquet::errors::ParquetError| {
        Error::invalid(format!("table property write.parquet.compression-level does not fit {codec}: {e}"))
    };
    let unsigned = |level: i32| u32::try_from(level).unwrap_or(u32::MAX);
    Ok(match codec.to_ascii_lowercase().as_str() {
        // Level 1 is also PyArrow's, and so PyIceberg's, default.
        "zstd" => Compression::ZSTD(level.map_or(Ok(ZstdLevel::default()), ZstdLevel::try_new).map_err(bad_level)?),
        "gzip" => Compression::GZIP(
            level.map_or(Ok(GzipLevel::default()), |l| GzipLevel::try_new(unsigned(l))).map_err(bad_level)?,
        ),
        "brotli" => Compression::BROTLI(
            level.map_or(Ok(BrotliLevel::default()), |l| BrotliLevel::try_new(unsigned(l))).map_err(bad_level)?,
        ),
        "snappy" => Compression::SNAPPY,
        "lz4" => Compression::LZ4_RAW,
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        _ => {
            return Err(Error::invalid(format!(
                "table property write.parquet.compression-codec is `{codec}`; there are zstd, gzip, brotli, snappy, lz4, uncompressed"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> Result<FileSettings, Error> {
        let properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        FileSettings::from_properties(&properties, "file:///w/t")
    }

    #[test]
    fn the_defaults_are_those_of_pyiceberg() {
        let found = settings(&[]).unwrap();
        assert_eq!(found.compression, Compression::ZSTD(ZstdLevel::try_new(1).unwrap()));
        assert_eq!(found.target_file_bytes, 512 << 20);
        assert_eq!(found.data_location, "file:///w/t/data");
        assert_eq!(settings(&[("write.data.path", "s3://other/place/")]).unwrap().data_location, "s3://other/place");
    }

    #[test]
    fn a_wrong_property_is_named_with_its_value() {
        for (name, value) in [
            ("write.target-file-size-bytes", "0"),
            ("write.target-file-size-bytes", "1 GB"),
            ("write.parquet.compression-codec", "zip"),
            ("write.parquet.compression-level", "high"),
            ("write.metadata.metrics.default", "truncate(0)"),
            ("write.metadata.metrics.column.a", "all"),
            ("write.parquet.bloom-filter-enabled.column.a", "yes"),
        ] {
            let error = settings(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        assert!(settings(&[("write.parquet.compression-level", "23")]).is_err());
        assert!(
            settings(&[("write.parquet.compression-codec", "gzip"), ("write.parquet.compression-level", "-1")])
                .is_err()
        );
    }
}
