//! The snapshot of some commits, on a base.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use iceberg::TableRequirement;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestFile, ManifestListWriter, PartitionSpecRef, SchemaRef, Snapshot,
    TableMetadata, TableMetadataBuilder,
};
use moulin_core::TableName;
use uuid::Uuid;

use super::Commit;
use super::changes::Changes;
use super::list::{Buffer, StoredList};
use super::manifests::{Manifests, Merging, decoded, is_live};
use super::member::Member;
use super::summary::summary;
use crate::catalog::{Loaded, Swap};
use crate::{Error, schema, warehouse::Warehouse};

/// The snapshot of some commits, rebuilt on every new base; its id and the manifests of its added files stay.
pub(super) struct Draft<'a> {
    table: &'a TableName,
    members: Vec<&'a Member>,
    id: Uuid,
    snapshot_id: i64,
    added: Option<Vec<ManifestFile>>,
    manifests: u32,
    lists: u32,
    /// Files of the last try that serve no other one.
    of_try: Vec<String>,
    /// Metadata files that the table forgets with the last try's metadata.
    expired: Vec<String>,
}

/// The manifests of the parent that stay.
enum Kept {
    /// All that are live, as they are.
    Stored(StoredList),
    /// Some of them may have been written again.
    Decoded(Vec<ManifestFile>),
}

impl<'a> Draft<'a> {
    pub(super) fn new(table: &'a TableName, members: Vec<&'a Member>) -> Self {
        let (id, snapshot_id) = (Uuid::new_v4(), new_snapshot_id());
        Self {
            table,
            members,
            id,
            snapshot_id,
            added: None,
            manifests: 0,
            lists: 0,
            of_try: Vec::new(),
            expired: Vec::new(),
        }
    }

    pub(super) fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// Writes what the snapshot needs on this base and says what the catalog has to swap.
    pub(super) async fn on(&mut self, base: &Loaded, warehouse: &Warehouse) -> Result<Swap, Error> {
        let metadata = &base.metadata;
        let parent = head(metadata, self.branch());
        let (schema, is_new) = self.schema(metadata)?;
        let added = self.added_files(metadata);
        let manifests = self.added_manifests(metadata, &schema, &added, warehouse).await?;
        let (kept, removed) = self.kept_manifests(metadata, parent, warehouse).await?;
        let changes = Changes { added: added.iter().map(|(spec, file)| (*file, spec.clone())).collect(), removed };
        let commits: Vec<&Commit> = self.members.iter().map(|member| &member.commit).collect();
        let summary = summary(metadata, &schema, parent, &commits, &changes)?;
        let parent = parent.map(Snapshot::snapshot_id);
        let (list, next_row_id) = self.write_list(metadata, parent, manifests, kept, warehouse).await?;
        let snapshot = Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(metadata.next_sequence_number())
            .with_timestamp_ms(now_ms().max(metadata.last_updated_ms()))
            .with_manifest_list(list)
            .with_summary(summary)
            .with_schema_id(if is_new { added_schema_id(&schema, metadata) } else { metadata.current_schema_id() });
        let snapshot = match next_row_id {
            Some(next) => {
                let first = metadata.next_row_id();
                snapshot.with_row_range(first, next.saturating_sub(first)).build()
            }
            None => snapshot.build(),
        };
        self.swap(base, snapshot, is_new.then_some(schema))
    }

    // What the catalog has to swap, and what must still hold when it does.
    fn swap(&mut self, base: &Loaded, snapshot: Snapshot, new_schema: Option<SchemaRef>) -> Result<Swap, Error> {
        let (metadata, branch) = (&base.metadata, self.branch());
        let mut requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: branch.to_owned(),
                snapshot_id: metadata.snapshot_for_ref(branch).map(|snapshot| snapshot.snapshot_id()),
            },
        ];
        let table = self.table;
        let failed = || Error::iceberg(table, "add a snapshot");
        let mut builder = TableMetadata::clone(metadata).into_builder(Some(base.location.clone()));
        if let Some(schema) = new_schema {
            let (current_schema_id, last) = (metadata.current_schema_id(), metadata.last_column_id());
            requirements.push(TableRequirement::CurrentSchemaIdMatch { current_schema_id });
            requirements.push(TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: last });
            builder = builder.add_current_schema(schema.as_ref().clone()).map_err(failed())?;
        }
        let built = self
            .with_properties(builder)
            .and_then(|builder| builder.set_branch_snapshot(snapshot, branch))
            .and_then(TableMetadataBuilder::build)
            .map_err(failed())?;
        self.expired = built.expired_metadata_logs.into_iter().map(|log| log.metadata_file).collect();
        Ok(Swap { metadata: built.metadata.into(), updates: built.changes, requirements })
    }

    /// Removes the metadata files that the table has forgotten with this commit, if it asks for that.
    pub(super) async fn remove_expired(&mut self, base: &Loaded, warehouse: &Warehouse) {
        let asked = base.metadata.properties().get("write.metadata.delete-after-commit.enabled");
        if asked.is_none_or(|text| text != "true") {
            return;
        }
        for location in self.expired.drain(..) {
            if let Err(error) = warehouse.remove(&location).await {
                tracing::debug!(%error, "left a metadata file that the table has forgotten");
            }
        }
    }

    fn branch(&self) -> &'a str {
        self.members.first().map_or(MAIN_BRANCH, |member| member.commit.branch.as_str())
    }

    /// Removes what was written for a try that certainly is not and will not be visible.
    pub(super) async fn forget_try(&mut self, warehouse: &Warehouse) {
        for location in self.of_try.drain(..) {
            if let Err(error) = warehouse.remove(&location).await {
                tracing::debug!(%error, "left a file of metadata that nothing refers to");
            }
        }
    }

    /// Keeps what was written for a try that may still become visible.
    pub(super) fn keep_try(&mut self) {
        self.of_try.clear();
    }

    // The table's schema with what all members' files need, and whether it is another one than the table has.
    fn schema(&self, metadata: &TableMetadata) -> Result<(SchemaRef, bool), Error> {
        let mut now = metadata.current_schema().clone();
        let mut last_id = metadata.last_column_id();
        for member in &self.members {
            if let Some(next) = member.reconciled(self.table, &now, last_id)? {
                last_id = last_id.max(next.highest_field_id());
                now = next.into();
            }
        }
        let is_new = !schema::same_fields(&now, metadata.current_schema());
        Ok((now, is_new))
    }

    fn added_files(&self, metadata: &TableMetadata) -> Vec<(PartitionSpecRef, &'a DataFile)> {
        let of_member = |member: &&'a Member| {
            // The spec that the files were written with; the table's default may be another one by now.
            let id = member.target.metadata.default_partition_spec_id();
            let spec = metadata.partition_spec_by_id(id).unwrap_or_else(|| metadata.default_partition_spec()).clone();
            member.commit.added.data_files().iter().map(move |file| (spec.clone(), file))
        };
        self.members.iter().flat_map(of_member).collect()
    }

    // One manifest for each partition spec that files were written with: most often one.
    async fn added_manifests(
        &mut self,
        metadata: &TableMetadata,
        schema: &SchemaRef,
        added: &[(PartitionSpecRef, &DataFile)],
        warehouse: &Warehouse,
    ) -> Result<Vec<ManifestFile>, Error> {
        if let Some(added) = &self.added {
            return Ok(added.clone());
        }
        let mut specs: BTreeMap<i32, (PartitionSpecRef, Vec<&DataFile>)> = BTreeMap::new();
        for (spec, file) in added {
            specs.entry(spec.spec_id()).or_insert_with(|| (spec.clone(), Vec::new())).1.push(file);
        }
        let mut written = Vec::with_capacity(specs.len());
        let mut manifests = self.writer(metadata, warehouse);
        for (spec, files) in specs.into_values() {
            written.push(manifests.added(metadata.format_version(), schema, &spec, &files).await?);
        }
        self.manifests = manifests.count;
        self.added = Some(written.clone());
        Ok(written)
    }

    // The parent's manifests without the files that go, and those files.
    async fn kept_manifests(
        &mut self,
        metadata: &TableMetadata,
        parent: Option<&Snapshot>,
        warehouse: &Warehouse,
    ) -> Result<(Kept, Vec<(DataFile, PartitionSpecRef)>), Error> {
        let merging = Merging::of(metadata)?;
        let Some(parent) = parent else { return Ok((Kept::Decoded(Vec::new()), Vec::new())) };
        let bytes = warehouse.read(parent.manifest_list()).await?;
        let only_adds = self.members.iter().all(|member| member.commit.removed.locations.is_empty());
        if only_adds
            && metadata.format_version() == FormatVersion::V2
            && let Some(stored) = StoredList::of(bytes.clone())
            && !merging.is_some_and(|merging| stored.is_to_merge(&merging))
        {
            return Ok((Kept::Stored(stored), Vec::new()));
        }
        let mut manifests = decoded(self.table, metadata.format_version(), &bytes)?;
        // No manifest stays that only tells what an earlier snapshot removed.
        manifests.retain(is_live);
        let (manifests, removed) = self.without_removed(metadata, manifests, warehouse).await?;
        // What has row ids that its list gave it (version 3) is not taken from one manifest into another.
        let Some(merging) = merging.filter(|_| metadata.format_version() != FormatVersion::V3) else {
            return Ok((Kept::Decoded(manifests), removed));
        };
        let mut writer = self.writer(metadata, warehouse);
        let (merged, written) = writer.merged(metadata, manifests, &merging).await?;
        self.manifests = writer.count;
        self.of_try.extend(written);
        Ok((Kept::Decoded(merged), removed))
    }

    async fn without_removed(
        &mut self,
        metadata: &TableMetadata,
        mut manifests: Vec<ManifestFile>,
        warehouse: &Warehouse,
    ) -> Result<(Vec<ManifestFile>, Vec<(DataFile, PartitionSpecRef)>), Error> {
        let mut removed = Vec::new();
        let members = self.members.clone();
        for commit in members.iter().map(|member| &member.commit).filter(|c| !c.removed.locations.is_empty()) {
            if metadata.format_version() == FormatVersion::V3 {
                let table = self.table;
                return Err(Error::invalid(format!(
                    "{table} has format version 3, whose files this version can add to but not replace; land with on_rerun: append"
                )));
            }
            let mut writer = self.writer(metadata, warehouse);
            let without = writer.without(metadata, manifests, &commit.removed).await?;
            self.manifests = writer.count;
            self.of_try.extend(without.written);
            manifests = without.manifests;
            removed.extend(without.removed);
        }
        Ok((manifests, removed))
    }

    fn writer<'w>(&self, metadata: &TableMetadata, warehouse: &'w Warehouse) -> Manifests<'w>
    where
        'a: 'w,
    {
        Manifests {
            table: self.table,
            warehouse,
            snapshot_id: self.snapshot_id,
            prefix: format!("{}/metadata/{}", metadata.location(), self.id),
            count: self.manifests,
        }
    }

    async fn write_list(
        &mut self,
        metadata: &TableMetadata,
        parent: Option<i64>,
        added: Vec<ManifestFile>,
        kept: Kept,
        warehouse: &Warehouse,
    ) -> Result<(String, Option<u64>), Error> {
        let location =
            format!("{}/metadata/snap-{}-{}-{}.avro", metadata.location(), self.snapshot_id, self.lists, self.id);
        let with = |kept| added.iter().cloned().chain(kept);
        let (bytes, next_row_id) = match kept {
            Kept::Decoded(kept) => self.encoded(metadata, parent, with(kept)).await?,
            Kept::Stored(stored) => {
                let (bytes, next_row_id) = self.encoded(metadata, parent, with(Vec::new())).await?;
                match StoredList::of(bytes) {
                    Some(list) => (list.followed_by(&stored), next_row_id),
                    // The crate has come to write another schema.
                    None => {
                        let mut kept = decoded(self.table, metadata.format_version(), stored.bytes())?;
                        kept.retain(is_live);
                        self.encoded(metadata, parent, with(kept)).await?
                    }
                }
            }
        };
        warehouse.write(&location, bytes).await?;
        self.lists += 1;
        self.of_try.push(location.clone());
        Ok((location, next_row_id))
    }

    // The file of a list, and the first row id that it leaves to the next snapshot (version 3).
    async fn encoded(
        &self,
        metadata: &TableMetadata,
        parent: Option<i64>,
        manifests: impl Iterator<Item = ManifestFile>,
    ) -> Result<(Bytes, Option<u64>), Error> {
        let failed = || Error::iceberg(self.table, "write a manifest list");
        let buffer = Buffer::default();
        let (file, sequence) = (Box::new(buffer.clone()), metadata.next_sequence_number());
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(file, self.snapshot_id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(file, self.snapshot_id, parent, sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(file, self.snapshot_id, parent, sequence, Some(metadata.next_row_id()))
            }
        };
        writer.add_manifests(manifests).map_err(failed())?;
        let next_row_id = writer.next_row_id();
        writer.close().await.map_err(failed())?;
        Ok((buffer.taken(), next_row_id))
    }

    fn with_properties(&self, builder: TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder> {
        let set = self.members.iter().flat_map(|member| member.commit.properties.clone());
        let set: std::collections::HashMap<String, String> = set.collect();
        if set.is_empty() { Ok(builder) } else { builder.set_properties(set) }
    }
}

fn head<'m>(metadata: &'m TableMetadata, branch: &str) -> Option<&'m Snapshot> {
    metadata.snapshot_for_ref(branch).or_else(|| metadata.current_snapshot()).map(AsRef::as_ref)
}

// As the builder of metadata, and every catalog, gives it: a schema that was there before keeps its id.
fn added_schema_id(schema: &SchemaRef, metadata: &TableMetadata) -> i32 {
    let known = metadata.schemas_iter().find(|other| schema::same_fields(schema, other));
    let highest = || metadata.schemas_iter().map(|other| other.schema_id()).max().unwrap_or_default();
    known.map_or_else(|| highest() + 1, |other| other.schema_id())
}

fn new_snapshot_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    i64::try_from((high ^ low) >> 1).unwrap_or(i64::MAX)
}

// Iceberg orders a table's history by its snapshots' own clock; nothing of Moulin depends on it.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
