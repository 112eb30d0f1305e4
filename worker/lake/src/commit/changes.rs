//! What a snapshot adds and removes, counted as its summary has it.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{DataFile, Operation, PartitionSpecRef, SchemaRef};

use crate::schema::partition_text;

/// The data files that a snapshot adds and removes, each with the spec it was written with.
pub(super) struct Changes<'a> {
    pub(super) added: Vec<(&'a DataFile, PartitionSpecRef)>,
    pub(super) removed: Vec<(DataFile, PartitionSpecRef)>,
}

/// Files, rows and bytes.
#[derive(Default)]
struct Counts {
    added: [u64; 3],
    removed: [u64; 3],
}

impl Counts {
    fn add(&mut self, file: &DataFile, is_added: bool) {
        let counts = if is_added { &mut self.added } else { &mut self.removed };
        for (count, by) in counts.iter_mut().zip([1, file.record_count(), file.file_size_in_bytes()]) {
            *count += by;
        }
    }

    /// Under the names of Java's `SnapshotSummary`; what is zero is left out.
    fn properties(&self) -> impl Iterator<Item = (&'static str, u64)> {
        const ADDED: [&str; 3] = ["added-data-files", "added-records", "added-files-size"];
        const REMOVED: [&str; 3] = ["deleted-data-files", "deleted-records", "removed-files-size"];
        let names = ADDED.into_iter().chain(REMOVED);
        names.zip(self.added.into_iter().chain(self.removed)).filter(|(_, count)| *count > 0)
    }
}

impl Changes<'_> {
    pub(super) fn operation(&self) -> Operation {
        match (self.added.is_empty(), self.removed.is_empty()) {
            (_, true) => Operation::Append,
            (true, false) => Operation::Delete,
            (false, false) => Operation::Overwrite,
        }
    }

    /// The counts, and those of each partition when there are at most `limit` (`write.summary.partition-limit`).
    pub(super) fn properties(&self, schema: &SchemaRef, limit: usize) -> HashMap<String, String> {
        let mut all = Counts::default();
        let mut partitions: BTreeMap<String, Counts> = BTreeMap::new();
        let added = self.added.iter().map(|(file, spec)| (*file, spec, true));
        for (file, spec, is_added) in added.chain(self.removed.iter().map(|(file, spec)| (file, spec, false))) {
            all.add(file, is_added);
            if !spec.is_unpartitioned() {
                partitions.entry(path(file, spec, schema)).or_default().add(file, is_added);
            }
        }
        let mut found: HashMap<String, String> =
            all.properties().map(|(name, count)| (name.to_owned(), count.to_string())).collect();
        if !partitions.is_empty() {
            found.insert("changed-partition-count".to_owned(), partitions.len().to_string());
        }
        if partitions.len() <= limit {
            found.extend(partitions.into_iter().map(|(path, counts)| {
                let texts: Vec<String> = counts.properties().map(|(name, count)| format!("{name}={count}")).collect();
                (format!("partitions.{path}"), texts.join(","))
            }));
        }
        found
    }
}

// As `origin=JFK/time_hour_month=2013-01`. A spec whose column is gone has no types any more, and its values have no text.
fn path(file: &DataFile, spec: &PartitionSpecRef, schema: &SchemaRef) -> String {
    let types = spec.partition_type(schema).ok();
    let types = types.as_ref().map_or(&[][..], |types| types.fields());
    let fields = spec.fields().iter().zip(file.partition().iter()).enumerate();
    let texts = fields.map(|(at, (field, value))| {
        let text = match types.get(at) {
            Some(ty) => partition_text(field.transform, &ty.field_type, value),
            None => format!("{value:?}"),
        };
        format!("{}={text}", field.name)
    });
    texts.collect::<Vec<_>>().join("/")
}
