//! Manifest lists whose entries are copied as they are.
//!
//! An append adds an entry or two to a list of thousands: the others are not decoded and encoded anew, but copied byte for
//! byte. That is right where both lists have the very schema of `manifest_list_v2.avsc` and are not compressed, as all
//! lists of format version 2 that Moulin writes; any other one is read and written by the crate.

use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use iceberg::io::FileWrite;

use super::avro_file::{AvroFile, Cursor, with_records};
use super::manifests::Merging;

// As the crate writes it, with every field that the specification has for format version 2.
static SCHEMA: LazyLock<Option<String>> = LazyLock::new(|| {
    let schema: serde_json::Value = serde_json::from_str(include_str!("manifest_list_v2.avsc")).ok()?;
    Some(schema.to_string())
});

/// A list as it is stored.
pub(super) struct StoredList {
    bytes: Bytes,
    header: Range<usize>,
    sync: Range<usize>,
    entries: Vec<Entry>,
}

/// What is known of a manifest without decoding its entry.
struct Entry {
    at: Range<usize>,
    is_live: bool,
    is_data: bool,
    manifest_bytes: u64,
    spec_id: i32,
}

impl StoredList {
    /// `None`: it is of another schema or compressed, or an entry of it is not what it has to be.
    pub(super) fn of(bytes: Bytes) -> Option<Self> {
        let file = AvroFile::of(&bytes)?;
        if file.schema != SCHEMA.as_ref()?.as_bytes() {
            return None;
        }
        let mut entries = Vec::new();
        for (count, mut cursor) in file.blocks {
            for _ in 0..count {
                entries.push(Entry::read(&mut cursor)?);
            }
            if !cursor.is_at_end() {
                return None;
            }
        }
        let header = 0..file.header.len();
        let sync = header.end - file.sync.len()..header.end;
        Some(Self { bytes, header, sync, entries })
    }

    /// Whether manifests of it are to be merged, for which they are decoded.
    pub(super) fn is_to_merge(&self, merging: &Merging) -> bool {
        merging.is_due(self.live().filter(|e| e.is_data).map(|entry| (entry.spec_id, entry.manifest_bytes)))
    }

    /// The file of this list with the entries of `parent` behind its own, without those manifests that only tell what an
    /// earlier snapshot removed.
    pub(super) fn followed_by(&self, parent: &Self) -> Bytes {
        let own = self.entries.iter().map(|entry| &self.bytes[entry.at.clone()]);
        let kept = parent.live().map(|entry| &parent.bytes[entry.at.clone()]);
        let (header, sync) = (&self.bytes[self.header.clone()], &self.bytes[self.sync.clone()]);
        with_records(header, sync, own.chain(kept)).into()
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_live)
    }
}

impl Entry {
    // Field by field of the schema.
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let begin = cursor.at();
        cursor.text()?; // manifest_path
        let manifest_bytes = u64::try_from(cursor.long()?).ok()?;
        let spec_id = cursor.int()?;
        let is_data = match cursor.long()? {
            0 => true,
            1 => false,
            _ => return None,
        };
        let (sequence, min_sequence) = (cursor.long()?, cursor.long()?);
        cursor.long()?; // added_snapshot_id
        let [added, existing, deleted] = [cursor.int()?, cursor.int()?, cursor.int()?];
        let rows = [cursor.long()?, cursor.long()?, cursor.long()?];
        cursor.optional(|cursor| cursor.items(partition_field))?;
        cursor.optional(Cursor::bytes)?; // key_metadata
        // A sequence number that is not given yet (-1) is one of a manifest that no list has stored.
        let numbers = [sequence, min_sequence, i64::from(added), i64::from(existing), i64::from(deleted)];
        if numbers.into_iter().chain(rows).any(|number| number < 0) {
            return None;
        }
        Some(Self { at: begin..cursor.at(), is_live: added > 0 || existing > 0, is_data, manifest_bytes, spec_id })
    }
}

fn partition_field(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.boolean()?;
    cursor.optional(Cursor::boolean)?;
    cursor.optional(Cursor::bytes)?;
    cursor.optional(Cursor::bytes)?;
    Some(())
}

/// Keeps in memory what the crate writes as a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub(super) fn taken(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

#[async_trait::async_trait]
impl FileWrite for Buffer {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{
        ByteBuf, FieldSummary, FormatVersion, ManifestContentType, ManifestFile, ManifestList, ManifestListWriter,
    };
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> impl Strategy<Value = ManifestFile> {
        let bound = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40).prop_map(ByteBuf::from));
        let field = (any::<bool>(), proptest::option::of(any::<bool>()), bound(), bound());
        let field = field.prop_map(|(contains_null, contains_nan, lower_bound, upper_bound)| FieldSummary {
            contains_null,
            contains_nan,
            lower_bound,
            upper_bound,
        });
        let fields = proptest::option::of(proptest::collection::vec(field, 0..4));
        let count = || 0..=u32::try_from(i32::MAX).unwrap();
        let rows = || 0..=u64::try_from(i64::MAX).unwrap();
        let counts = (prop_oneof![Just(0), count()], prop_oneof![Just(0), count()], count(), rows());
        (".{0,300}", 0..=i64::MAX, any::<i64>(), any::<bool>(), counts, fields).prop_map(
            |(manifest_path, number, added_snapshot_id, is_data, (added, existing, deleted, rows), partitions)| {
                ManifestFile {
                    manifest_path,
                    manifest_length: number,
                    partition_spec_id: deleted as i32,
                    content: if is_data { ManifestContentType::Data } else { ManifestContentType::Deletes },
                    sequence_number: number / 2,
                    min_sequence_number: number / 3,
                    added_snapshot_id,
                    added_files_count: Some(added),
                    existing_files_count: Some(existing),
                    deleted_files_count: Some(deleted),
                    added_rows_count: Some(rows),
                    existing_rows_count: Some(rows / 2),
                    deleted_rows_count: Some(rows / 3),
                    partitions,
                    key_metadata: (number % 2 == 0).then(|| vec![1, 2]),
                    first_row_id: None,
                }
            },
        )
    }

    fn written(manifests: &[ManifestFile], version: FormatVersion, snapshot_id: i64) -> Bytes {
        let buffer = Buffer::default();
        let file = Box::new(buffer.clone());
        let mut writer = match version {
            FormatVersion::V1 => ManifestListWriter::v1(file, snapshot_id, None),
            FormatVersion::V2 => ManifestListWriter::v2(file, snapshot_id, Some(1), 7),
            FormatVersion::V3 => ManifestListWriter::v3(file, snapshot_id, Some(1), 7, Some(0)),
        };
        writer.add_manifests(manifests.iter().cloned()).unwrap();
        futures::executor::block_on(writer.close()).unwrap();
        buffer.taken()
    }

    fn read(list: &[u8]) -> Vec<ManifestFile> {
        let list = ManifestList::parse_with_version(list, FormatVersion::V2).unwrap();
        list.consume_entries().into_iter().collect()
    }

    proptest! {
        #[test]
        fn the_crate_reads_what_is_copied_as_what_it_wrote(
            first in proptest::collection::vec(manifest(), 0..60),
            more in proptest::collection::vec(proptest::collection::vec(manifest(), 0..3), 1..6),
        ) {
            let mut expected = first;
            let mut list = StoredList::of(written(&expected, FormatVersion::V2, 1)).unwrap();
            for (at, added) in more.into_iter().enumerate() {
                let id = i64::try_from(at).unwrap() + 2;
                let own = StoredList::of(written(&added, FormatVersion::V2, id)).unwrap();
                let file = own.followed_by(&list);
                expected.retain(crate::commit::manifests::is_live);
                expected.splice(0..0, added);
                prop_assert_eq!(&read(&file), &expected);
                list = StoredList::of(file).unwrap();
            }
        }

        #[test]
        fn what_is_cut_or_changed_is_not_copied_or_not_noticed_by_the_crate_either(
            manifests in proptest::collection::vec(manifest(), 1..4), at: proptest::sample::Index, byte: u8,
        ) {
            let bytes = written(&manifests, FormatVersion::V2, 1);
            let at = at.index(bytes.len());
            // Behind a whole header there may be no block: that is a list without entries.
            let cut = StoredList::of(bytes.slice(..at));
            prop_assert!(cut.is_none_or(|list| list.entries.is_empty() && list.header.end == at));
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            if let Some(list) = StoredList::of(changed.clone().into()) {
                let crate_reads = ManifestList::parse_with_version(&changed, FormatVersion::V2).unwrap();
                prop_assert_eq!(crate_reads.entries().len(), list.entries.len());
            }
        }
    }

    #[test]
    fn lists_of_other_format_versions_are_not_copied() {
        for version in [FormatVersion::V1, FormatVersion::V3] {
            assert!(StoredList::of(written(&[], version, 1)).is_none(), "{version}");
        }
    }
}
