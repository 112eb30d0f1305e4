//! What grows with the number of commits, and the properties that bound it.

use arrow::array::RecordBatch;
use moulin_core::Contract;

use super::fixture::{Place, added, commit, land, landing, numbers, options, sorted, table, write};
use crate::commit::manifest_list;

const MERGE: [(&str, &str); 2] =
    [("commit.manifest-merge.enabled", "true"), ("commit.manifest.min-count-to-merge", "4")];

#[tokio::test]
async fn small_manifests_are_merged_when_the_table_asks_for_it_and_every_file_stays() {
    let place = Place::new();
    let lake = place.lake().await;
    let mut most = 0;
    let mut snapshots = Vec::new();
    for n in 0..20i64 {
        let landing = landing(&["bucket(2, n)"], &MERGE);
        snapshots.push(land(&lake, &landing, &format!("job-{n}"), &[numbers(n * 10..n * 10 + 10)]).await.unwrap());
        let metadata = lake.loaded(&table()).await.metadata;
        let list =
            manifest_list(&table(), &metadata, metadata.current_snapshot().unwrap(), lake.files()).await.unwrap();
        most = most.max(list.len());
    }
    assert!(most <= 5, "{most} manifests");
    let metadata = lake.loaded(&table()).await.metadata;
    let current = metadata.current_snapshot().unwrap();
    let mut files = Vec::new();
    for manifest in manifest_list(&table(), &metadata, current, lake.files()).await.unwrap() {
        let manifest = manifest.load_manifest(&lake.files().io(&manifest.manifest_path)).await.unwrap();
        files.extend(manifest.entries().iter().filter(|e| e.is_alive()).map(|e| {
            // Who added it and when is not lost by merging.
            assert_eq!(
                metadata.snapshot_by_id(e.snapshot_id().unwrap()).unwrap().sequence_number(),
                e.sequence_number().unwrap()
            );
            e.file_path().to_owned()
        }));
    }
    files.sort();
    let on_disk: Vec<String> = place.files(".parquet").into_iter().map(|path| format!("file://{path}")).collect();
    assert_eq!(files, on_disk);
    assert_eq!(current.summary().additional_properties["total-records"], "200");
    // A snapshot of before the merges is read as it was.
    assert_eq!(sorted(&added(&lake, snapshots[3].snapshot_id).await), (30..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_merged_is_merged_again_only_with_as_much() {
    let place = Place::new();
    let lake = place.lake().await;
    let mut files = Vec::new();
    for n in 0..16i64 {
        land(&lake, &landing(&[], &MERGE), &format!("job-{n}"), &[numbers(n..=n)]).await.unwrap();
        let metadata = lake.loaded(&table()).await.metadata;
        let current = metadata.current_snapshot().unwrap();
        let list = manifest_list(&table(), &metadata, current, lake.files()).await.unwrap();
        let of = |m: &iceberg::spec::ManifestFile| m.added_files_count.unwrap() + m.existing_files_count.unwrap();
        files.push(list.iter().map(of).map(|count| count.to_string()).collect::<String>());
    }
    // How many files each manifest names. Four of one file become one of four, which waits until there are as many beside it.
    let merged: Vec<_> = files.iter().filter(|files| !files.trim_matches('1').is_empty()).collect();
    assert_eq!(merged, ["14", "114", "1114", "143", "1143", "19", "119", "1119", "193", "1193", "1932", "196"]);
}

#[tokio::test]
async fn old_metadata_files_are_forgotten_and_removed_when_the_table_asks_for_it() {
    let place = Place::new();
    let lake = place.lake().await;
    let properties =
        [("write.metadata.previous-versions-max", "3"), ("write.metadata.delete-after-commit.enabled", "true")];
    for n in 0..8i64 {
        land(&lake, &landing(&[], &properties), &format!("job-{n}"), &[numbers(n..=n)]).await.unwrap();
    }
    let metadata = lake.loaded(&table()).await.metadata;
    assert_eq!((metadata.metadata_log().len(), metadata.snapshots().len()), (3, 8));
    assert_eq!(place.files(".metadata.json").len(), 4);
}

#[tokio::test]
async fn a_property_that_cannot_be_is_named_before_anything_is_visible() {
    let place = Place::new();
    let lake = place.lake().await;
    let landing = landing(&[], &[("commit.manifest-merge.enabled", "yes")]);
    let error = land(&lake, &landing, "a", &[numbers(0..1)]).await.unwrap_err().to_string();
    assert_eq!(error, "table property commit.manifest-merge.enabled is `yes`, but must be true or false");
    assert!(lake.loaded(&table()).await.metadata.current_snapshot().is_none());
}

#[tokio::test]
async fn a_metadata_file_that_is_made_of_the_one_before_is_what_the_table_is() {
    let place = Place::new();
    let lake = place.lake().await;
    let properties = [("write.metadata.previous-versions-max", "3")];
    for n in 0..8i64 {
        // Another process writes in between, whose file is not known here.
        let lake = if n == 4 { place.lake().await } else { lake.clone() };
        let column = if n == 6 { "added" } else { "n" };
        let rows =
            RecordBatch::try_from_iter_with_nullable([(column, numbers(n..=n).column(0).clone(), true)]).unwrap();
        let landing = landing(&[], &properties);
        let target = lake.target_that_follows(&landing, &rows.schema(), &Contract::default()).await.unwrap();
        let mut commit = commit(&format!("job-{n}"), write(&lake, &target, options("a", 1), &[rows]).await.unwrap());
        if n == 2 {
            commit.branch = "audit".to_owned();
        }
        if n == 5 {
            commit.properties.insert("owner".into(), "a \"quoted\" name".into());
        }
        lake.commit(&target, commit).await.unwrap();
        let known = lake.loaded(&table()).await;
        let text = std::fs::read_to_string(known.location.trim_start_matches("file://")).unwrap();
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        // The crate has no order for these.
        let in_order = |mut value: serde_json::Value| {
            for (array, by) in [("snapshots", "sequence-number"), ("schemas", "schema-id")] {
                value[array].as_array_mut().unwrap().sort_by_key(|one| one[by].as_i64());
            }
            value
        };
        let whole = serde_json::to_value(&known.metadata).unwrap();
        assert_eq!(in_order(written.clone()), in_order(whole), "after commit {n}");
        assert_eq!(written["snapshots"].as_array().unwrap().len(), usize::try_from(n).unwrap() + 1);
    }
    // A reader that knows nothing of it sees the same.
    let fresh = place.lake().await.loaded(&table()).await;
    assert_eq!(fresh.metadata, lake.loaded(&table()).await.metadata);
    assert_eq!(fresh.metadata.snapshot_for_ref("audit").unwrap().sequence_number(), 3);
}
