//! Landed files as text, so that another process can commit what this one has written.

use iceberg::spec::{deserialize_data_file_from_json, serialize_data_file_to_json};
use serde::{Deserialize, Serialize};

use super::Landed;
use crate::{Error, Target};

/// Everything that a commit of data files needs besides the table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Another table of the same name does not take them.
    table_uuid: String,
    /// The partition spec that they were written with.
    partition_spec_id: i32,
    /// Where they are.
    locations: Vec<String>,
    /// Name, partition, size and statistics of each, as Iceberg writes data files in JSON.
    files: Vec<String>,
}

impl Landed {
    /// The files with their statistics as text, from which [`Landed::from_text`] makes them again.
    ///
    /// # Errors
    /// `Internal`: a value of the statistics cannot be written.
    pub fn to_text(&self, target: &Target) -> Result<String, Error> {
        let metadata = &target.metadata;
        let partitions = metadata.default_partition_type();
        let files = self.data_files().iter().map(|file| {
            let text = serialize_data_file_to_json(file.clone(), partitions, metadata.format_version());
            text.map_err(Error::iceberg(&target.table, "write down data files"))
        });
        let stored = Stored {
            table_uuid: metadata.uuid().to_string(),
            partition_spec_id: metadata.default_partition_spec_id(),
            locations: self.locations().map(str::to_owned).collect(),
            files: files.collect::<Result<_, _>>()?,
        };
        serde_json::to_string(&stored).map_err(|error| unreadable(target, &error))
    }

    /// Where the files are that [`Landed::to_text`] wrote down.
    ///
    /// # Errors
    /// `InvalidSpec`: the text is none of these.
    pub fn locations_in_text(text: &str) -> Result<Vec<String>, Error> {
        let stored: Stored = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("data files that were written down cannot be read: {error}")))?;
        Ok(stored.locations)
    }

    /// The files that [`Landed::to_text`] wrote down.
    ///
    /// # Errors
    /// `NotFound`: the table is another one than they were written for; `Internal`: the text is none of these.
    pub fn from_text(target: &Target, text: &str) -> Result<Self, Error> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| unreadable(target, &error))?;
        let metadata = &target.metadata;
        if stored.table_uuid != metadata.uuid().to_string() {
            let what = format!("the table {} that the rows were written for (another one has its name)", target.table);
            return Err(Error::NotFound { what });
        }
        let schema = metadata.current_schema();
        let spec = metadata.partition_spec_by_id(stored.partition_spec_id);
        let spec = spec.unwrap_or_else(|| metadata.default_partition_spec());
        let partitions = spec.partition_type(schema).map_err(Error::iceberg(&target.table, "read a partition spec"))?;
        let read = |text: &String| {
            deserialize_data_file_from_json(text, stored.partition_spec_id, &partitions, schema)
                .map_err(Error::iceberg(&target.table, "read data files that were written down"))
        };
        let files = stored.files.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { files, ..Self::default() })
    }
}

fn unreadable(target: &Target, error: &serde_json::Error) -> Error {
    Error::invalid(format!("{}: data files that were written down cannot be read: {error}", target.table))
}
