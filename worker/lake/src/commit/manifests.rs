//! Manifests of a snapshot: read, written, and rewritten without files that go.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestWriter,
    ManifestWriterBuilder, PartitionSpec, PartitionSpecRef, SchemaRef, Snapshot, TableMetadata,
};
use moulin_core::TableName;

use super::Removed;
use super::avro_name::{has_avro_names, with_avro_names};
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
    decoded(table, metadata.format_version(), &bytes)
}

/// The manifests of a list.
pub(super) fn decoded(table: &TableName, version: FormatVersion, list: &[u8]) -> Result<Vec<ManifestFile>, Error> {
    let list =
        ManifestList::parse_with_version(list, version).map_err(Error::iceberg(table, "read a manifest list"))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// Whether a manifest names a file that is in the table; what it does not count, it may hold.
pub(super) fn is_live(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

/// When manifests are merged: Iceberg's table properties of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merging {
    /// `commit.manifest.min-count-to-merge`: fewer small ones of one spec stay as they are.
    min_count: usize,
    /// `commit.manifest.target-size-bytes`: larger ones stay as they are, and none is made that is much larger.
    target_bytes: u64,
}

impl Merging {
    /// `None`: the table does not ask for it, as Moulin's appends are fast ones unless it does.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the property, its value and what it can be.
    pub(super) fn of(metadata: &TableMetadata) -> Result<Option<Self>, Error> {
        let text = |name: &str| metadata.properties().get(name).map(String::as_str);
        match text("commit.manifest-merge.enabled") {
            None | Some("false") => return Ok(None),
            Some("true") => {}
            Some(other) => {
                return Err(Error::invalid(format!(
                    "table property commit.manifest-merge.enabled is `{other}`, but must be true or false"
                )));
            }
        }
        let number = |name: &str, default: u64| match text(name).map(str::parse::<u64>) {
            None => Ok(default),
            Some(Ok(number)) if number > 0 => Ok(number),
            _ => Err(Error::invalid(format!(
                "table property {name} is `{}`, but must be a number above 0",
                text(name).unwrap_or_default()
            ))),
        };
        let min_count = number("commit.manifest.min-count-to-merge", 100)?;
        Ok(Some(Self {
            // Of one alone nothing can be merged.
            min_count: usize::try_from(min_count).unwrap_or(usize::MAX).max(2),
            target_bytes: number("commit.manifest.target-size-bytes", 8 << 20)?,
        }))
    }

    /// Whether some of these manifests of data files are to be merged: the spec and the size of each.
    pub(super) fn is_due(&self, manifests: impl Iterator<Item = (i32, u64)>) -> bool {
        let mut small: BTreeMap<i32, usize> = BTreeMap::new();
        manifests.filter(|(_, bytes)| *bytes < self.target_bytes).any(|(spec_id, _)| {
            let count = small.entry(spec_id).or_default();
            *count += 1;
            *count >= self.min_count
        })
    }
}

// Those of which each names more files than all the others that name fewer together, `most` at the most, and the rest: what
// was merged is not merged again before there is as much to merge it with, so that of many commits each is written again a
// few times and not with every hundredth.
fn much_larger(mut manifests: Vec<ManifestFile>, most: usize) -> (Vec<ManifestFile>, Vec<ManifestFile>) {
    let files = |m: &ManifestFile| {
        u64::from(m.added_files_count.unwrap_or_default()) + u64::from(m.existing_files_count.unwrap_or_default())
    };
    // Those that are alike stay in their order.
    manifests.sort_by_key(|manifest| std::cmp::Reverse(files(manifest)));
    let mut rest: u64 = manifests.iter().map(files).sum();
    let is_large = |manifest: &&ManifestFile| {
        rest -= files(manifest);
        files(manifest) > rest
    };
    // Two at least are to be merged.
    let most = most.min(manifests.len().saturating_sub(2));
    let large = manifests.iter().take_while(is_large).count().min(most);
    let small = manifests.split_off(large);
    (manifests, small)
}

// In their order, each bin about as large as a manifest is to become.
fn bins(manifests: Vec<ManifestFile>, target_bytes: u64) -> Vec<Vec<ManifestFile>> {
    let mut bins: Vec<Vec<ManifestFile>> = Vec::new();
    let mut bytes = 0u64;
    for manifest in manifests {
        let length = u64::try_from(manifest.manifest_length).unwrap_or_default();
        match bins.last_mut().filter(|_| bytes + length <= target_bytes) {
            Some(bin) => bin.push(manifest),
            None => {
                bins.push(vec![manifest]);
                bytes = 0;
            }
        }
        bytes += length;
    }
    bins
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

    /// The manifests with many small ones of one partition spec made few: what a table asks for by
    /// `commit.manifest-merge.enabled`. Those that this snapshot wrote stay, and so do those of delete files.
    pub(super) async fn merged(
        &mut self,
        metadata: &TableMetadata,
        manifests: Vec<ManifestFile>,
        merging: &Merging,
    ) -> Result<(Vec<ManifestFile>, Vec<String>), Error> {
        let is_small = |m: &ManifestFile| {
            let length = u64::try_from(m.manifest_length).unwrap_or(u64::MAX);
            m.content == ManifestContentType::Data
                && m.added_snapshot_id != self.snapshot_id
                && length < merging.target_bytes
        };
        let mut specs: BTreeMap<i32, Vec<ManifestFile>> = BTreeMap::new();
        let mut kept = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            if is_small(&manifest) {
                specs.entry(manifest.partition_spec_id).or_default().push(manifest);
            } else {
                kept.push(manifest);
            }
        }
        let mut written = Vec::new();
        for small in specs.into_values() {
            if small.len() < merging.min_count {
                kept.extend(small);
                continue;
            }
            let (large, small) = much_larger(small, merging.min_count / 2);
            kept.extend(large);
            for bin in bins(small, merging.target_bytes) {
                let merged = if bin.len() > 1 { self.merge(metadata, &bin).await? } else { None };
                match merged {
                    None => kept.extend(bin),
                    Some((location, manifest)) => {
                        written.push(location);
                        kept.push(manifest);
                    }
                }
            }
        }
        Ok((kept, written))
    }

    // `None`: one of them is of another engine and cannot be read as it has to be to be written again.
    async fn merge(
        &mut self,
        metadata: &TableMetadata,
        bin: &[ManifestFile],
    ) -> Result<Option<(String, ManifestFile)>, Error> {
        let table = self.table;
        let failed = || Error::iceberg(table, "merge manifests");
        let mut loaded = Vec::with_capacity(bin.len());
        for some in bin.chunks(READS) {
            // A loop: a closure over borrowed manifests makes a future that cannot be spawned.
            let mut reads = Vec::with_capacity(some.len());
            for manifest in some {
                reads.push(self.load(manifest));
            }
            loaded.extend(futures::future::try_join_all(reads).await?);
        }
        if loaded.iter().any(|manifest| !has_avro_names(&manifest.metadata().partition_spec)) {
            return Ok(None);
        }
        // The newest one's schema: it has every column that the others' specs need.
        let Some(first) = loaded.first().map(Manifest::metadata) else {
            return Err(Error::invalid(format!("{table}: there is no manifest to merge")));
        };
        let (schema, spec) = (first.schema.clone(), first.partition_spec.clone());
        let (location, mut writer) = self.writer(metadata.format_version(), &schema, &spec)?;
        for (manifest, loaded) in bin.iter().zip(&loaded) {
            for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
                let sequence = entry.sequence_number().unwrap_or_default();
                let file_sequence = Some(entry.file_sequence_number.unwrap_or(sequence));
                let added_by = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                let file = entry.data_file().clone();
                writer.add_existing_file(file, added_by, sequence, file_sequence).map_err(failed())?;
            }
        }
        Ok(Some((location.clone(), self.close(location, writer).await?)))
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
        if !has_avro_names(&spec) {
            let names: Vec<&str> = spec.fields().iter().map(|field| field.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "{table}: the manifest {} is of another engine and has partition fields that this version adds to but cannot \
                 rewrite ({}); land with on_rerun: append",
                manifest.manifest_path,
                names.join(", ")
            )));
        }
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
        let io = self.warehouse.file_io();
        manifest.load_manifest(&io).await.map_err(Error::iceberg(self.table, "read a manifest"))
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
        let spec = with_avro_names(spec)
            .map_err(|e| Error::invalid(format!("{}: its partition spec cannot be written: {e}", self.table)))?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema.clone(), spec.into_owned());
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
