//! A snapshot made of manifests: one new manifest with the added files, and those of the parent as they are.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use iceberg::TableRequirement;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestFile, ManifestList, ManifestListWriter, ManifestWriterBuilder,
    Operation, PartitionSpecRef, Snapshot, SnapshotSummaryCollector, Summary, TableMetadata,
};
use moulin_core::{TableName, Token};
use uuid::Uuid;

use super::{ATTEMPT_KEY, Commit};
use crate::catalog::{Loaded, Swap};
use crate::{Error, Target, warehouse::Warehouse};

const TOTALS: [(&str, &str); 6] = [
    ("total-data-files", "added-data-files"),
    ("total-delete-files", "added-delete-files"),
    ("total-records", "added-records"),
    ("total-files-size", "added-files-size"),
    ("total-position-deletes", "added-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes"),
];

/// One commit, rebuilt on every new base; its id and its manifest stay.
pub(super) struct Draft<'a> {
    table: &'a TableName,
    table_uuid: Uuid,
    files: &'a [DataFile],
    /// The spec that the files were written with; the table's default may be another one by now.
    spec_id: i32,
    extra: HashMap<String, String>,
    id: Uuid,
    snapshot_id: i64,
    manifest: Option<ManifestFile>,
    lists: u32,
    last_list: Option<String>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(target: &'a Target, commit: &'a Commit) -> Self {
        let mut extra: HashMap<String, String> = commit.summary.clone().into_iter().collect();
        extra.insert(Token::SUMMARY_KEY.to_owned(), commit.token.0.clone());
        extra.insert(ATTEMPT_KEY.to_owned(), commit.attempt.to_string());
        Self {
            table: &target.table,
            table_uuid: target.metadata.uuid(),
            files: commit.added.data_files(),
            spec_id: target.metadata.default_partition_spec_id(),
            extra,
            id: Uuid::new_v4(),
            snapshot_id: new_snapshot_id(),
            manifest: None,
            lists: 0,
            last_list: None,
        }
    }

    pub(super) fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// Writes what the snapshot needs on this base and says what the catalog has to swap.
    pub(super) async fn on(&mut self, base: &Loaded, warehouse: &Warehouse) -> Result<Swap, Error> {
        let metadata = &base.metadata;
        if metadata.uuid() != self.table_uuid {
            return Err(Error::NotFound {
                what: format!("the table {} that the job began with (another one has its name)", self.table),
            });
        }
        let summary = self.summary(metadata)?;
        let manifest = match &self.manifest {
            Some(manifest) => manifest.clone(),
            None => self.write_manifest(metadata, warehouse).await?,
        };
        self.manifest = Some(manifest.clone());
        let (list, next_row_id) = self.write_list(metadata, manifest, warehouse).await?;
        let snapshot = self.snapshot(metadata, list, summary, next_row_id);
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
        ];
        let built = metadata
            .clone()
            .into_builder(Some(base.location.clone()))
            .set_branch_snapshot(snapshot, MAIN_BRANCH)
            .and_then(iceberg::spec::TableMetadataBuilder::build)
            .map_err(Error::iceberg(self.table, "add a snapshot"))?;
        Ok(Swap { metadata: built.metadata, updates: built.changes, requirements })
    }

    fn spec<'m>(&self, metadata: &'m TableMetadata) -> &'m PartitionSpecRef {
        metadata.partition_spec_by_id(self.spec_id).unwrap_or_else(|| metadata.default_partition_spec())
    }

    /// Removes the manifest list of a try that certainly is not and will not be visible.
    pub(super) async fn forget_list(&mut self, warehouse: &Warehouse) {
        if let Some(list) = self.last_list.take()
            && let Err(error) = warehouse.remove(&list).await
        {
            tracing::debug!(%error, "left a manifest list that nothing refers to");
        }
    }

    async fn write_manifest(&self, metadata: &TableMetadata, warehouse: &Warehouse) -> Result<ManifestFile, Error> {
        let failed = || Error::iceberg(self.table, "write a manifest");
        let spec = self.spec(metadata);
        let location = format!("{}/metadata/{}-m0.avro", metadata.location(), self.id);
        let output = warehouse.io(&location).new_output(&location).map_err(failed())?;
        let schema = metadata.current_schema().clone();
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec.as_ref().clone());
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        };
        for file in self.files {
            // A negative number: the file takes the snapshot's sequence number, whatever that comes to be.
            writer.add_file(file.clone(), -1).map_err(failed())?;
        }
        let manifest = writer.write_manifest_file().await.map_err(failed())?;
        warehouse.sync(&location).await?;
        Ok(manifest)
    }

    async fn write_list(
        &mut self,
        metadata: &TableMetadata,
        manifest: ManifestFile,
        warehouse: &Warehouse,
    ) -> Result<(String, Option<u64>), Error> {
        let failed = || Error::iceberg(self.table, "write a manifest list");
        let parent = metadata.current_snapshot_id();
        let location =
            format!("{}/metadata/snap-{}-{}-{}.avro", metadata.location(), self.snapshot_id, self.lists, self.id);
        let mut manifests = vec![manifest];
        if let Some(snapshot) = metadata.current_snapshot() {
            manifests.extend(manifest_list(self.table, metadata, snapshot, warehouse).await?);
        }
        let output = warehouse.io(&location).new_output(&location).map_err(failed())?;
        let file = output.writer().await.map_err(failed())?;
        let sequence = metadata.next_sequence_number();
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(file, self.snapshot_id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(file, self.snapshot_id, parent, sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(file, self.snapshot_id, parent, sequence, Some(metadata.next_row_id()))
            }
        };
        writer.add_manifests(manifests.into_iter()).map_err(failed())?;
        let next_row_id = writer.next_row_id();
        writer.close().await.map_err(failed())?;
        warehouse.sync(&location).await?;
        self.lists += 1;
        self.last_list = Some(location.clone());
        Ok((location, next_row_id))
    }

    fn snapshot(&self, metadata: &TableMetadata, list: String, summary: Summary, next_row_id: Option<u64>) -> Snapshot {
        let snapshot = Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(metadata.current_snapshot_id())
            .with_sequence_number(metadata.next_sequence_number())
            .with_timestamp_ms(now_ms().max(metadata.last_updated_ms()))
            .with_manifest_list(list)
            .with_summary(summary)
            .with_schema_id(metadata.current_schema_id());
        match next_row_id {
            Some(next) => {
                let first = metadata.next_row_id();
                snapshot.with_row_range(first, next.saturating_sub(first)).build()
            }
            None => snapshot.build(),
        }
    }

    // The keys and rules of Java's SnapshotSummary: what is computed wins over what a caller passes.
    fn summary(&self, metadata: &TableMetadata) -> Result<Summary, Error> {
        let mut collector = SnapshotSummaryCollector::default();
        let limit = metadata.properties().get("write.summary.partition-limit").and_then(|text| text.parse().ok());
        collector.set_partition_summary_limit(limit.unwrap_or_default());
        for file in self.files {
            collector.add_file(file, metadata.current_schema().clone(), self.spec(metadata).clone());
        }
        let mut properties = self.extra.clone();
        properties.extend(collector.build());
        let previous = metadata.current_snapshot().map(|s| &s.summary().additional_properties);
        for (total, added) in TOTALS {
            let number = |text: Option<&String>| text.map(|t| t.parse::<u64>());
            let before = match previous {
                None => Some(Ok(0)),
                Some(previous) => number(previous.get(total)),
            };
            // A writer that kept no totals leaves them unknown for ever after.
            let Some(Ok(before)) = before else { continue };
            let added = number(properties.get(added)).and_then(Result::ok).unwrap_or_default();
            properties.insert(total.to_owned(), before.saturating_add(added).to_string());
        }
        Ok(Summary { operation: Operation::Append, additional_properties: properties })
    }
}

/// The manifests of a snapshot.
pub(crate) async fn manifest_list(
    table: &TableName,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
    warehouse: &Warehouse,
) -> Result<Vec<ManifestFile>, Error> {
    let bytes = warehouse.read(snapshot.manifest_list()).await?;
    let list = ManifestList::parse_with_version(&bytes, metadata.format_version())
        .map_err(Error::iceberg(table, "read a manifest list"))?;
    Ok(list.consume_entries().into_iter().collect())
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
