//! A measurement, run by hand: `MOULIN_SPEED_INPUT=lineitem.parquet cargo test --release -p moulin-lake -- --ignored --nocapture speed`.

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fixture::{Place, landing, options, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; it needs an input of its own"]
async fn speed_of_encoding() {
    let input = std::env::var("MOULIN_SPEED_INPUT").expect("MOULIN_SPEED_INPUT names a Parquet file");
    let threads = std::env::var("MOULIN_SPEED_THREADS").map_or(1, |text| text.parse().unwrap());
    let file = std::fs::File::open(input).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(16_384).build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &batches[0].schema()).await.unwrap();
    for _ in 0..3 {
        let options = options("speed", threads);
        let counters = options.counters.clone();
        let (started, cpu) = (std::time::Instant::now(), cpu_seconds());
        let landed = write(&lake, &target, options, &batches).await.unwrap();
        let busy = counters.rooms()[3].busy;
        println!(
            "{} rows, {} files, {:.1} MB: {:.2} s, busy {:.2} s, CPU {:.2} s",
            landed.rows(),
            landed.files(),
            landed.bytes() as f64 / 1e6,
            started.elapsed().as_secs_f64(),
            busy.as_secs_f64(),
            cpu_seconds() - cpu
        );
        for location in landed.locations().map(str::to_owned).collect::<Vec<_>>() {
            lake.remove_files(&[location]).await.unwrap();
        }
    }
}

// User and system time of this process, from the kernel in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).map(|text| text.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
