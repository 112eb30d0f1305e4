//! SQL over the table `input`.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::{FutureExt, StreamExt};
use moulin_core::{Counters, Fault, FaultKind, Place, Reject, Transform};

use super::super::prepare;
use super::rows::{Ran, flights, flights_in_two, many, options, prepared, run, run_prepared, stream_of};
use crate::transform::{Input, Rows, ScanRows, Scanned, prepare_inputs};
use crate::{BatchStream, Error};

#[tokio::test]
async fn the_select_of_the_readme_filters_and_adds_a_column() {
    let ran = sql("SELECT *, dep_delay > 15 AS late FROM input WHERE origin <> 'EWR'").await.unwrap();
    assert!(ran.row_wise);
    assert_eq!((ran.rows_in, ran.rows_out), (4, 3));
    assert_eq!(ran.batch.schema().field(7), &Field::new("late", DataType::Boolean, true));
    // A delay that is not known is neither late nor not.
    let late = ran.batch.column(7).as_boolean().iter().collect::<Vec<_>>();
    assert_eq!(late, [Some(true), None, Some(false)]);
    assert_eq!(ran.batch.schema().fields()[..7], flights().schema().fields()[..]);
}

#[tokio::test]
async fn only_one_to_one_plans_are_row_wise() {
    let table = [
        ("SELECT id FROM input", true),
        ("WITH a AS (SELECT id + 1 AS id FROM input) SELECT b.id FROM a AS b WHERE b.id > 2", true),
        ("SELECT id FROM input WHERE false", true),
        ("SELECT CASE WHEN dep_delay > 15 THEN upper(origin) END AS o FROM input", true),
        ("SELECT id FROM input LIMIT 2", false),
        ("SELECT id FROM input ORDER BY id", false),
        ("SELECT DISTINCT origin FROM input", false),
        ("SELECT count(*) AS n FROM input", false),
        ("SELECT id, row_number() OVER (ORDER BY id) AS r FROM input", false),
        ("SELECT unnest([id, id]) AS id FROM input", false),
        ("SELECT id FROM input UNION ALL SELECT id FROM input", false),
        ("SELECT id FROM input WHERE dep_delay > (SELECT avg(dep_delay) FROM input)", false),
    ];
    for (query, row_wise) in table {
        let prepared = prepared(Transform::Sql(query.to_owned()), &flights().schema()).await.unwrap();
        assert_eq!(prepared.row_wise(), row_wise, "{query}");
    }
}

#[tokio::test]
async fn rows_that_no_scan_asks_for_are_counted_all_the_same() {
    let batches = many(100_000, 1);
    let ran = run(Transform::Sql("SELECT n FROM input WHERE false".to_owned()), batches, 1 << 20).await.unwrap();
    assert!(ran.row_wise);
    assert_eq!((ran.rows_in, ran.rows_out), (100_000, 0));
}

#[tokio::test]
async fn groups_joins_and_several_reads_of_the_input_are_right() {
    let ran = sql("SELECT origin, count(*) AS n, sum(price) AS total FROM input GROUP BY origin ORDER BY origin")
        .await
        .unwrap();
    assert_eq!(ran.lines(), ["EWR 1 1.00", "JFK 2 6.49", "LGA 1 0.01"]);
    let ran =
        sql("SELECT a.id FROM input a JOIN input b ON a.origin = b.origin AND a.id <> b.id ORDER BY 1").await.unwrap();
    assert_eq!(ran.lines(), ["2", "3"]);
    assert_eq!(ran.rows_in, 4);
    let ran =
        sql("SELECT id FROM input WHERE dep_delay > (SELECT avg(dep_delay) FROM input) ORDER BY id").await.unwrap();
    assert_eq!(ran.lines(), ["1", "2"]);
    let ran = sql("SELECT id FROM input UNION ALL SELECT id + 10 FROM input ORDER BY id DESC LIMIT 3").await.unwrap();
    assert_eq!(ran.lines(), ["14", "13", "12"]);
}

#[tokio::test]
async fn types_iceberg_lacks_are_widened_and_named_in_the_schema() {
    let query = "SELECT arrow_cast(id, 'UInt32') AS u, arrow_cast(origin, 'Utf8View') AS v, to_timestamp(id) AS t, \
                 arrow_cast(origin, 'Dictionary(Int32, Utf8)') AS d, CAST(id AS TEXT) AS s FROM input";
    let ran = sql(query).await.unwrap();
    let types: Vec<_> =
        ran.batch.schema().fields().iter().map(|f| moulin_read::iceberg_type_name(f.data_type())).collect();
    assert_eq!(types, ["long", "string", "timestamp", "string", "string"]);
    assert_eq!(ran.lines()[0], "1 EWR 1970-01-01T00:00:01 EWR 1");
}

#[tokio::test]
async fn an_unknown_column_is_named_with_the_one_that_was_meant() {
    let text = refused("SELECT dep_dely FROM input").await;
    assert_eq!(
        text,
        "transform.sql: no column `dep_dely`; did you mean `dep_delay`? (there are id, origin, dep_delay, price, day, time_hour, note) at line 1, column 8"
    );
    assert!(refused("SELECT id FROM input WHERE arr_delay > 1").await.contains("no column `arr_delay`"));
    assert!(refused("SELECT i.gate FROM input i").await.contains("no column `gate`"));
}

#[tokio::test]
async fn names_keep_their_case_and_the_table_may_be_in_any() {
    let schema = Arc::new(Schema::new(vec![Field::new("Dep_Delay", DataType::Int64, true)]));
    for query in ["SELECT Dep_Delay FROM input", "SELECT \"Dep_Delay\" FROM INPUT", "select Input.Dep_Delay from Input"]
    {
        let output = prepared(Transform::Sql(query.to_owned()), &schema).await.unwrap();
        assert_eq!(output.output().field(0).name(), "Dep_Delay", "{query}");
    }
    let text =
        prepared(Transform::Sql("SELECT dep_delay FROM input".to_owned()), &schema).await.unwrap_err().to_string();
    assert!(text.contains("did you mean `Dep_Delay`? names keep their case"), "{text}");
    let renamed =
        prepared(Transform::Sql("SELECT Dep_Delay AS DepDelay, COUNT(*) OVER () AS N FROM input".to_owned()), &schema)
            .await;
    assert_eq!(renamed.unwrap().output().field(0).name(), "DepDelay");
}

#[tokio::test]
async fn anything_but_one_select_over_input_is_refused() {
    let table = [
        ("SELECT id FROM flights", "no table `flights`; the job's rows are the table `input`"),
        ("SELECT id FROM other.input", "no table `other.input`"),
        ("SELECT a.id FROM input a JOIN gates g ON a.id = g.id", "no table `gates`"),
        ("SELECT id FROM '/etc/passwd'", "no table `/etc/passwd`"),
        ("SELECT id FROM input; SELECT origin FROM input", "holds 2 statements"),
        ("DROP TABLE input", "may only be a SELECT over the job's inputs, and this is DROP"),
        ("CREATE TABLE x AS SELECT * FROM input", "this is CREATE"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "this is CREATE"),
        ("COPY input TO 'x.csv'", "this is COPY"),
        ("INSERT INTO input SELECT * FROM input", "this is INSERT"),
        ("SET x = 1", "this is SET"),
        ("EXPLAIN SELECT * FROM input", "this is EXPLAIN"),
        ("SELECT id INTO x FROM input", "may only be a SELECT"),
        ("SELECT 1 AS one", "does not read the table `input`"),
        ("SELEC id FROM input", "is not valid SQL"),
        ("SELECT (id FROM input", "is not valid SQL"),
        ("-- nothing", "is empty"),
        ("SELECT origin + 1 AS x FROM input WHERE origin", "transform.sql: "),
        ("SELECT nosuch(id) FROM input", "nosuch"),
        ("SELECT a.id, b.id FROM input a JOIN input b ON a.id = b.id", "two columns `id`"),
        ("SELECT NULL AS x FROM input", "column `x` has no type"),
        ("SELECT time_hour - time_hour AS d FROM input", "column `d` is a duration"),
    ];
    for (query, expected) in table {
        let text = refused(query).await;
        assert!(text.contains(expected), "{query}\n said: {text}\n expected: {expected}");
    }
}

#[tokio::test]
async fn a_query_of_many_terms_does_not_overflow_the_stack() {
    let terms: Vec<_> = (0..3000).map(|i| format!("id = {i}")).collect();
    let ran = sql(&format!("SELECT id FROM input WHERE {}", terms.join(" OR "))).await.unwrap();
    assert_eq!(ran.rows_out, 4);
    let text = refused(&format!("SELECT id{} AS s FROM input", "+id".repeat(20_000))).await;
    assert!(text.contains("more than 10000 operators"), "{text}");
}

#[tokio::test]
async fn a_sort_and_a_group_larger_than_memory_spill() {
    let (rows, memory_bytes) = (200_000, 12 << 20);
    for query in
        ["SELECT n, word FROM input ORDER BY n", "SELECT n, max(word) AS word FROM input GROUP BY n ORDER BY n"]
    {
        let ran = run(Transform::Sql(query.to_owned()), many(rows, 200), memory_bytes).await.unwrap();
        assert_eq!(ran.batch.num_rows() as i64, rows, "{query}");
        assert!(ran.batch.column(0).as_primitive::<Int64Type>().values().iter().copied().eq(0..rows), "{query}");
    }
}

#[tokio::test]
async fn a_join_that_does_not_fit_says_how_much_it_had() {
    let query = "SELECT a.n FROM input a JOIN input b ON a.word = b.word";
    let error = run(Transform::Sql(query.to_owned()), many(100_000, 200), 4 << 20).await.err().unwrap();
    assert!(
        matches!(&error, Error::Memory(text) if text.contains("4 MiB") && text.contains("job.memory_bytes")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_while_running_is_the_transforms() {
    let error = sql("SELECT CAST(note AS BIGINT) AS n FROM input").await.err().unwrap();
    assert!(matches!(&error, Error::TransformFailed(text) if text.contains("a b")), "{error:?}");
    let error = sql("SELECT id / (id - 1) AS n FROM input").await.err().unwrap();
    assert!(matches!(&error, Error::TransformFailed(text) if text.contains("Divide by zero")), "{error:?}");
}

#[tokio::test]
async fn an_error_of_the_input_passes_through_unchanged() {
    for query in [
        "SELECT id FROM input",
        "SELECT count(*) AS n FROM input",
        "SELECT a.id FROM input a JOIN input b ON a.id = b.id",
    ] {
        let prepared = prepared(Transform::Sql(query.to_owned()), &flights().schema()).await.unwrap();
        let error = run_prepared(prepared, vec![Ok(flights()), Err(bad_row())]).await.err().unwrap();
        let fault = Fault::from(error);
        assert_eq!((fault.kind, fault.place.map(|p| p.line)), (FaultKind::BadRow, Some(7)), "{query}");
    }
}

#[tokio::test]
async fn an_input_that_is_lost_half_way_is_an_error_and_not_the_end() {
    let prepared = prepared(Transform::Sql("SELECT id FROM input".to_owned()), &flights().schema()).await.unwrap();
    let lost: BatchStream = Box::pin(futures::stream::iter([1, 0]).map(|n| Ok(flights().slice(0, 4 / n))));
    let items: Vec<_> = prepared.apply(lost, Arc::default()).collect().await;
    assert!(matches!(&items[..], [Ok(_), Err(Error::Internal(text))] if text.contains("cut off")), "{items:?}");
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_input() {
    let prepared = prepared(Transform::Sql("SELECT id FROM input".to_owned()), &flights().schema()).await.unwrap();
    let (dropped, gone) = tokio::sync::oneshot::channel::<()>();
    let endless: BatchStream = Box::pin(async_stream::stream! {
        let _told = dropped;
        loop {
            yield Ok(flights());
            tokio::task::yield_now().await;
        }
    });
    let mut rows = prepared.apply(endless, Arc::default());
    assert_eq!(rows.next().await.unwrap().unwrap().num_rows(), 4);
    drop(rows);
    gone.await.unwrap_err();
}

#[tokio::test]
async fn an_input_that_waits_holds_the_output_without_ending_it() {
    let prepared = prepared(Transform::Sql("SELECT id FROM input".to_owned()), &flights().schema()).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut rows = prepared.apply(
        Box::pin(futures::stream::unfold(receiver, |mut r| async { Some((r.recv().await?, r)) })),
        Arc::default(),
    );
    assert!(rows.next().now_or_never().is_none());
    sender.send(Ok(flights())).await.unwrap();
    assert_eq!(rows.next().await.unwrap().unwrap().num_rows(), 4);
    drop(sender);
    assert!(rows.next().await.is_none());
}

#[tokio::test]
async fn without_a_transform_rows_pass_and_are_counted() {
    let nothing = prepare(None, &flights().schema(), options(1)).await.unwrap();
    assert!(nothing.row_wise());
    let ran = run_prepared(nothing, flights_in_two().into_iter().map(Ok).collect()).await.unwrap();
    assert_eq!((ran.rows_in, ran.rows_out), (4, 4));
    assert_eq!(ran.batch, flights());
}

#[tokio::test]
async fn time_spent_is_counted_for_the_transform() {
    let prepared =
        prepared(Transform::Sql("SELECT max(word) AS w FROM input".to_owned()), &many(1, 1)[0].schema()).await.unwrap();
    let counters = Arc::new(Counters::default());
    let batches = many(50_000, 50).into_iter().map(Ok).collect();
    let made: Vec<RecordBatch> =
        prepared.apply(stream_of(batches), Arc::clone(&counters)).map(Result::unwrap).collect().await;
    assert_eq!(made[0].num_rows(), 1);
    assert!(counters.rooms().iter().any(|room| room.room == moulin_core::Room::Transform && !room.busy.is_zero()));
}

async fn sql(query: &str) -> Result<Ran, Error> {
    run(Transform::Sql(query.to_owned()), flights_in_two(), 256 << 20).await
}

async fn refused(query: &str) -> String {
    let error = prepared(Transform::Sql(query.to_owned()), &flights().schema()).await.err();
    let error = error.unwrap_or_else(|| panic!("{query} was planned"));
    assert!(matches!(error, Error::TransformInvalid(_) | Error::TransformRefused(_)), "{query}: {error:?}");
    error.to_string()
}

fn bad_row() -> Error {
    let place = Place { uri: "file:///a.csv".into(), record: 6, line: 7, byte_offset: 80, column: "id".into() };
    Error::Read(moulin_read::Error::BadRow(Box::new(Reject {
        place,
        code: "type.long".into(),
        reason: "`x` is no long".into(),
    })))
}

#[tokio::test]
async fn a_query_says_which_columns_and_rows_it_wants() {
    let table = [
        ("SELECT * FROM input", "all", ""),
        ("SELECT id FROM input", "id", ""),
        ("SELECT id + 1 AS n FROM input WHERE origin = 'JFK'", "id,origin", "origin Equal Text(\"JFK\")"),
        (
            "SELECT id FROM input WHERE id BETWEEN 2 AND 3 AND note IS NOT NULL AND dep_delay > 1",
            "id,dep_delay,note",
            "id GreaterOrEqual Long(2); id LessOrEqual Long(3); note IsNotNull",
        ),
        ("SELECT id FROM input WHERE 5 > id", "id", "id Less Long(5)"),
        ("SELECT id FROM input WHERE id > 5 OR note IS NULL", "id,note", ""),
        ("SELECT id FROM input WHERE id IN (1, 2)", "id", "id OneOf [Long(1), Long(2)]"),
        (
            "SELECT id FROM input WHERE id IN (1, 2, 3, 4, 5)",
            "id",
            "id OneOf [Long(1), Long(2), Long(3), Long(4), Long(5)]",
        ),
        ("SELECT id FROM input WHERE id NOT IN (1, 2)", "id", ""),
        ("SELECT id FROM input WHERE day >= DATE '2013-02-01'", "id,day", "day GreaterOrEqual Date(15737)"),
        ("SELECT id FROM input WHERE price < 2.5", "id,price", "price Less Decimal { unscaled: 250, scale: 2 }"),
        ("SELECT count(*) AS n FROM input", "", ""),
        ("SELECT origin, count(*) AS n FROM input WHERE id < 3 GROUP BY origin", "id,origin", "id Less Long(3)"),
        ("SELECT * FROM (SELECT id AS x FROM input) WHERE x = 1", "id", "id Equal Long(1)"),
        ("SELECT id FROM input WHERE id = 1 UNION ALL SELECT price FROM input", "id,price", ""),
        ("SELECT id FROM (SELECT id FROM input LIMIT 3) WHERE id = 1", "id", ""),
        ("SELECT id FROM input WHERE note IS NULL", "id,note", "note IsNull"),
    ];
    for (query, columns, conditions) in table {
        let prepared = prepared(Transform::Sql(query.to_owned()), &flights().schema()).await.unwrap();
        let wanted = prepared.wanted();
        assert_eq!(wanted.columns.map_or("all".to_owned(), |names| names.join(",")), columns, "{query}");
        let found: Vec<String> = wanted.conditions.iter().map(shown).collect();
        assert_eq!(found.join("; "), conditions, "{query}");
    }
}

fn shown(condition: &moulin_read::Condition) -> String {
    let test = match &condition.test {
        moulin_read::Test::Compare(comparison, literal) => format!("{comparison:?} {literal:?}"),
        moulin_read::Test::OneOf(literals) => format!("OneOf {literals:?}"),
        test => format!("{test:?}"),
    };
    format!("{} {test}", condition.column)
}

#[tokio::test]
async fn rows_of_the_wanted_columns_give_what_all_give() {
    for query in [
        "SELECT id, upper(note) AS n FROM input WHERE price > 1",
        "SELECT count(*) AS n FROM input",
        "SELECT origin, sum(price) AS p FROM input WHERE id < 4 GROUP BY origin ORDER BY origin",
        "SELECT a.id FROM input AS a JOIN input AS b ON a.id = b.id + 1 WHERE b.origin = 'JFK' ORDER BY a.id",
        "SELECT id FROM input WHERE false",
    ] {
        let transform = Transform::Sql(query.to_owned());
        let whole = run(transform.clone(), flights_in_two(), 1 << 26).await.unwrap();
        let prepared = prepared(transform, &flights().schema()).await.unwrap();
        let wanted = prepared.wanted().columns.unwrap();
        assert!(wanted.len() < 7, "{query}");
        let narrow = |batch: RecordBatch| {
            let places: Vec<usize> = wanted.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
            batch.project(&places)
        };
        let narrowed = flights_in_two().into_iter().map(|batch| Ok(narrow(batch).unwrap())).collect();
        let ran = run_prepared(prepared, narrowed).await.unwrap();
        assert_eq!((ran.text(), ran.rows_in, ran.rows_out), (whole.text(), whole.rows_in, whole.rows_out), "{query}");
    }
}

#[tokio::test]
async fn what_is_wanted_of_a_scanned_table_is_not_wanted_of_the_given_rows() {
    let schema = flights().schema();
    let scan: ScanRows = Arc::new(|_| Box::pin(futures::stream::empty()));
    let rows = Rows::Scanned(Scanned { rows: None, bytes: None, scan });
    let scanned = Input { name: "seen".to_owned(), schema: Arc::clone(&schema), rows };
    let inputs = vec![Input::given("input", schema), scanned];
    let query = "SELECT a.id, b.note FROM input AS a JOIN (SELECT * FROM seen WHERE price > 1 AND id > 3) AS b \
                 ON a.origin = b.origin WHERE a.dep_delay IS NOT NULL";
    let prepared = prepare_inputs(Some(&Transform::Sql(query.to_owned())), inputs, options(1 << 26)).await.unwrap();
    let wanted = prepared.wanted();
    assert_eq!(wanted.columns.unwrap(), ["id", "origin", "dep_delay"]);
    let found: Vec<String> = wanted.conditions.iter().map(shown).collect();
    assert!(found.iter().any(|text| text == "dep_delay IsNotNull"), "{found:?}");
    assert!(!found.iter().any(|text| text.contains("price") || text.contains("Long(3)")), "{found:?}");
}
