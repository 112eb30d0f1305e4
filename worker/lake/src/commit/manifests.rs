//! Manifests of a snapshot: read, written, and rewritten without files that go.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestWriter,
    ManifestWriterBuilder, PartitionSpec, PartitionSpecRef, SchemaRef, Snapshot, TableMetadata,
};
use moulin_core::TableName;

use super::Removed;
use crate::{Error, warehouse::Warehouse};

/// Manifests read at once.
const READS: usize = 8;

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

/// Whether a manifest names a file that is in the table; what it does not count, it may hold.
pub(super) fn is_live(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

/// Writes the manifests of one snapshot.
pub(super) struct Manifests<'a> {
    pub(super) table: &'a TableName,
    pub(super) warehouse: &'a Warehouse,
    pub(super) snapshot_id: i64,
    /// Begin of the names of all files of the snapshot.
    pub(super) prefix: String,
    pub(super) count: u32,
}

/// Manifests without the files that go.
pub(super) struct Without {
    pub(super) manifests: Vec<ManifestFile>,
    /// The files that go, as the table knew them.
    pub(super) removed: Vec<(DataFile, PartitionSpecRef)>,
    /// The manifests that were written for it.
    pub(super) written: Vec<String>,
}

impl Manifests<'_> {
    /// A manifest of added files. Good on every base: the files take the snapshot's sequence number, whatever that
    /// comes to be.
    pub(super) async fn added(
        &mut self,
        version: FormatVersion,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        files: &[&DataFile],
    ) -> Result<ManifestFile, Error> {
        let table = self.table;
        let failed = || Error::iceberg(table, "write a manifest");
        let (location, mut writer) = self.writer(version, schema, spec)?;
        for file in files {
            writer.add_file((*file).clone(), -1).map_err(failed())?;
        }
        self.close(location, writer).await
    }

    /// The manifests with those that name a removed file written again: what stays as existing, what goes as deleted.
    ///
    /// # Errors
    /// `FilesGone`: a file is not in the table.
    pub(super) async fn without(
        &mut self,
        metadata: &TableMetadata,
        manifests: Vec<ManifestFile>,
        removed: &Removed,
    ) -> Result<Without, Error> {
        let mut missing: BTreeSet<&str> = removed.locations.iter().map(String::as_str).collect();
        let mut done =
            Without { manifests: Vec::with_capacity(manifests.len()), removed: Vec::new(), written: Vec::new() };
        let is_candidate = |m: &ManifestFile| m.content == ManifestContentType::Data && is_live(m);
        let (likely, others): (Vec<_>, Vec<_>) = manifests
            .into_iter()
            .partition(|m| is_candidate(m) && removed.added_by.is_some_and(|id| m.added_snapshot_id == id));
        for group in [likely, others] {
            let mut group = group.into_iter();
            while !missing.is_empty() {
                let next: Vec<ManifestFile> = group.by_ref().take(READS).collect();
                if next.is_empty() {
                    break;
                }
                let reads = next.into_iter().map(|manifest| async {
                    let loaded = if is_candidate(&manifest) { Some(self.load(&manifest).await?) } else { None };
                    Ok::<_, Error>((manifest, loaded))
                });
                let read: Vec<_> = futures::stream::iter(reads).buffered(READS).try_collect().await?;
                for (manifest, loaded) in read {
                    let names_one = loaded.filter(|loaded| {
                        loaded.entries().iter().any(|e| e.is_alive() && missing.contains(e.file_path()))
                    });
                    match names_one {
                        Some(loaded) => self.rewrite(metadata, &manifest, &loaded, &mut missing, &mut done).await?,
                        None => done.manifests.push(manifest),
                    }
                }
            }
            done.manifests.extend(group);
        }
        if let Some(first) = missing.first() {
            return Err(Error::FilesGone {
                table: self.table.clone(),
                missing: missing.len(),
                of: removed.locations.len(),
                location: (*first).to_owned(),
            });
        }
        Ok(done)
    }

    async fn rewrite(
        &mut self,
        metadata: &TableMetadata,
        manifest: &ManifestFile,
        loaded: &Manifest,
        missing: &mut BTreeSet<&str>,
        done: &mut Without,
    ) -> Result<(), Error> {
        let table = self.table;
        let failed = || Error::iceberg(table, "write a manifest again");
        // Its own schema and spec: the table's may have no column any more that the spec needs.
        let (schema, spec) = (loaded.metadata().schema.clone(), loaded.metadata().partition_spec.clone());
        let (location, mut writer) = self.writer(metadata.format_version(), &schema, &spec)?;
        let spec = PartitionSpecRef::new(spec);
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file().clone();
            let sequence = entry.sequence_number().unwrap_or_default();
            let file_sequence = Some(entry.file_sequence_number.unwrap_or(sequence));
            if missing.remove(entry.file_path()) {
                done.removed.push((file.clone(), spec.clone()));
                writer.add_delete_file(file, sequence, file_sequence).map_err(failed())?;
            } else {
                let added_by = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                writer.add_existing_file(file, added_by, sequence, file_sequence).map_err(failed())?;
            }
        }
        done.written.push(location.clone());
        done.manifests.push(self.close(location, writer).await?);
        Ok(())
    }

    async fn load(&self, manifest: &ManifestFile) -> Result<Manifest, Error> {
        let io = self.warehouse.io(&manifest.manifest_path);
        manifest.load_manifest(io).await.map_err(Error::iceberg(self.table, "read a manifest"))
    }

    fn writer(
        &mut self,
        version: FormatVersion,
        schema: &SchemaRef,
        spec: &PartitionSpec,
    ) -> Result<(String, ManifestWriter), Error> {
        let location = format!("{}-m{}.avro", self.prefix, self.count);
        self.count += 1;
        let output = self.warehouse.io(&location).new_output(&location);
        let output = output.map_err(Error::iceberg(self.table, "write a manifest"))?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema.clone(), spec.clone());
        let writer = match version {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        };
        Ok((location, writer))
    }

    async fn close(&self, location: String, writer: ManifestWriter) -> Result<ManifestFile, Error> {
        let manifest = writer.write_manifest_file().await.map_err(Error::iceberg(self.table, "write a manifest"))?;
        self.warehouse.sync(&location).await?;
        Ok(manifest)
    }
}
