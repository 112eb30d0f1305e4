//! What a table's properties say of its data files is in the files.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;

use super::fixture::{Place, landing, options, write};

fn rows() -> RecordBatch {
    let texts: ArrayRef =
        Arc::new((0..100).map(|n| Some(format!("a rather long text {n:03}"))).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new((0..100).collect::<Int64Array>());
    let columns = vec![("full", &texts), ("cut", &texts), ("counted", &texts), ("unknown", &texts), ("n", &numbers)];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c.clone(), true))).unwrap()
}

#[tokio::test]
async fn metrics_modes_decide_what_the_metadata_holds_of_a_column() {
    let place = Place::new();
    let lake = place.lake().await;
    let properties = [
        ("write.metadata.metrics.default", "truncate(4)"),
        ("write.metadata.metrics.column.full", "full"),
        ("write.metadata.metrics.column.counted", "counts"),
        ("write.metadata.metrics.column.unknown", "none"),
    ];
    let target = lake.target(&landing(&[], &properties), &rows().schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[rows()]).await.unwrap();
    let file = &landed.data_files()[0];
    let upper = |id: i32| file.upper_bounds().get(&id).map(ToString::to_string);
    assert_eq!(upper(1).as_deref(), Some("\"a rather long text 099\""));
    assert_eq!(upper(2).as_deref(), Some("\"a rb\""));
    assert_eq!((upper(3), upper(4), upper(5).as_deref()), (None, None, Some("99")));
    let counted: Vec<i32> = (1..=5).filter(|id| file.value_counts().contains_key(id)).collect();
    assert_eq!(counted, [1, 2, 3, 5]);
    assert!(!file.column_sizes().contains_key(&4));
}

#[tokio::test]
async fn a_bloom_filter_is_where_it_is_asked_for_and_knows_the_values() {
    let place = Place::new();
    let lake = place.lake().await;
    let properties = [
        ("write.parquet.bloom-filter-enabled.column.full", "true"),
        ("write.parquet.bloom-filter-fpp.column.full", "0.001"),
        ("write.parquet.bloom-filter-max-bytes", "4096"),
    ];
    let target = lake.target(&landing(&[], &properties), &rows().schema()).await.unwrap();
    write(&lake, &target, options("a", 1), &[rows()]).await.unwrap();
    let file = std::fs::File::open(&place.files(".parquet")[0]).unwrap();
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(file, options).unwrap();
    let group = reader.get_row_group(0).unwrap();
    let filter = group.get_column_bloom_filter(0).unwrap();
    assert!(filter.check(&"a rather long text 042"));
    assert!((0..1000).filter(|n| filter.check(&format!("another text {n}").as_str())).count() < 20);
    assert!(group.get_column_bloom_filter(1).is_none());
    assert!(group.metadata().column(0).bloom_filter_length().unwrap() <= 4096 + 64);
}
