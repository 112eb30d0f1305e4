//! Values as text for a person at a terminal.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

pub(super) use moulin_core::grouped as count;
use moulin_core::{
    InferReport, Job, JobPlan, ListedFile, OnRerun, PlannedColumn, PlannedFile, PlannedOption, Progress, Receipt,
    ReplayCounts,
};

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

// Writing to a String cannot fail.
macro_rules! line {
    ($text:expr, $($arg:tt)*) => {{
        let _ = writeln!($text, $($arg)*);
    }};
}

/// A receipt, one figure a line.
pub(super) fn receipt(receipt: &Receipt) -> String {
    let mut text = String::new();
    line!(text, "landed in     {}", receipt.table);
    match &receipt.replay {
        Some(counts) => replay(&mut text, counts),
        None => line!(text, "files         {}", count(receipt.files)),
    }
    for read in &receipt.tables {
        let snapshot = read.snapshot_id.map_or_else(|| "no snapshot".to_owned(), |id| format!("snapshot {id}"));
        let (rows, files, pruned) = (count(read.rows_read), count(read.files), count(read.files_pruned));
        line!(text, "table         {} ({snapshot}): {rows} rows of {files} files, {pruned} files left out", read.table);
    }
    line!(text, "rows read     {}", count(receipt.rows_read));
    line!(text, "     landed   {}", count(receipt.rows_landed));
    line!(text, "     rejected {}", count(receipt.rows_rejected));
    match receipt.rows_filtered {
        Some(filtered) => line!(text, "     filtered {}", count(filtered)),
        None => line!(text, "     filtered - (the transform is not row-wise: rows out are other rows than rows in)"),
    }
    line!(text, "bytes read    {}", bytes(receipt.bytes_read));
    let data_files = if receipt.data_files == 1 { "data file" } else { "data files" };
    line!(text, "      written {} in {} {data_files}", bytes(receipt.bytes_written), count(receipt.data_files));
    if receipt.data_files > 0 {
        line!(text, "              ({})", receipt.file_counts.words(receipt.data_files));
    }
    match receipt.snapshot_id {
        Some(id) => line!(text, "snapshot      {id}"),
        None => line!(text, "snapshot      none (no row landed)"),
    }
    match receipt.replaced_snapshot_id {
        Some(id) => line!(text, "replaced      {} rows of snapshot {id}", count(receipt.rows_replaced)),
        None if receipt.rows_replaced > 0 => line!(text, "replaced      {} rows", count(receipt.rows_replaced)),
        None => {}
    }
    if receipt.rejects_replaced > 0 {
        line!(text, "              {} rejects of the run before", count(receipt.rejects_replaced));
    }
    if let Some(token) = &receipt.attached_to {
        line!(text, "result of     {token}, which landed before: nothing was read");
    }
    line!(text, "took          {} (attempt {})", seconds(receipt.elapsed), receipt.attempt);
    let rooms: Vec<String> = receipt.rooms.iter().map(|t| format!("{} {}", t.room.name(), seconds(t.busy))).collect();
    line!(text, "busy          {}", rooms.join(", "));
    line!(text, "job           {}", receipt.job_id);
    if !receipt.rejects.is_empty() {
        line!(text, "rejected rows (the first {} of {}):", receipt.rejects.len(), count(receipt.rows_rejected));
        for reject in &receipt.rejects {
            line!(text, "  {}  {}: {}", reject.code, reject.place, reject.reason);
        }
    }
    text
}

/// What was found among rejects, and what becomes of it.
fn replay(text: &mut String, counts: &ReplayCounts) {
    let ReplayCounts { table, matched, replayed, cut, without_bytes, other_format, empty, .. } = counts;
    let snapshot = counts.snapshot_id.map_or_else(|| "no snapshot".to_owned(), |id| format!("snapshot {id}"));
    line!(text, "rejects       {} of {table} ({snapshot})", count(*matched));
    if *matched == 0 {
        line!(text, "              there are none that meet the condition and that no replay has taken");
        return;
    }
    line!(text, "     replayed {}", count(*replayed));
    if *empty > 0 {
        line!(text, "              {} of them hold no record any more", count(*empty));
    }
    let left = [
        (*cut, "only their first 64 KiB were kept: load their files again with on_loaded_file: reload"),
        (*without_bytes, "rows of Parquet files have no bytes: load their files again with on_loaded_file: reload"),
        (
            *other_format,
            "they were read as another format than the source says: replay them with a source of that format",
        ),
    ];
    for (rows, why) in left.iter().filter(|(rows, _)| *rows > 0) {
        line!(text, "     left     {} ({why})", count(*rows));
    }
}

/// What a job would do.
pub(super) fn plan(plan: &JobPlan) -> String {
    let mut text = String::new();
    if let Some(counts) = &plan.replay {
        replay(&mut text, counts);
        if counts.replayed == 0 {
            return text;
        }
    }
    if !plan.input.is_empty() {
        if plan.replay.is_none() {
            plan_files(&mut text, &plan.files);
            line!(text, "in {} {}", count(plan.shards), if plan.shards == 1 { "part" } else { "parts" });
        }
        options(&mut text, &plan.options);
        line!(text, "with the columns");
        columns(&mut text, &plan.input);
    }
    for table in &plan.tables {
        let snapshot = table.snapshot_id.map_or_else(|| "no snapshot yet".to_owned(), |id| format!("snapshot {id}"));
        line!(text, "reads the table {} as `{}`: {snapshot}", table.table, table.name);
        line!(text, "{} rows in {} data files, {}", count(table.rows), count(table.files), bytes(table.bytes));
        columns(&mut text, &table.columns);
    }
    line!(
        text,
        "lands in {} ({} at {})",
        plan.table,
        if plan.table_exists { "exists" } else { "would be created" },
        plan.table_location
    );
    columns(&mut text, &plan.output);
    for change in &plan.changes {
        line!(text, "  differs: {}", change.words());
    }
    if plan.partition_by.is_empty() {
        line!(text, "not partitioned");
    } else {
        line!(text, "partitioned by {}", plan.partition_by.join(", "));
    }
    let again = match plan.on_rerun {
        OnRerun::Replace => "its rows replace those it landed before",
        OnRerun::Skip => "it takes what it landed before and reads nothing",
        OnRerun::Append => "its rows come to those it landed before",
    };
    line!(text, "run again after a clear: {again}");
    line!(
        text,
        "the transform {}",
        if plan.row_wise { "keeps row for row and runs in constant memory" } else { "needs many rows at once" }
    );
    text
}

/// The files that are taken, and those that are left out with the reason of each.
fn plan_files(text: &mut String, listed: &[ListedFile]) {
    const SHOWN: usize = 20;
    let (taken, skipped): (Vec<&ListedFile>, Vec<&ListedFile>) = listed.iter().partition(|one| one.skipped.is_empty());
    let taken: Vec<PlannedFile> = taken.into_iter().map(|one| one.file.clone()).collect();
    line!(text, "reads {}", files(&taken));
    if skipped.is_empty() {
        return;
    }
    line!(text, "leaves out {} {}", count(skipped.len() as u64), if skipped.len() == 1 { "file" } else { "files" });
    for one in skipped.iter().take(SHOWN) {
        line!(text, "  {}  {}: {}", one.file.uri, bytes(one.file.size_bytes), one.skipped);
    }
    if skipped.len() > SHOWN {
        line!(text, "  ... and {} more", skipped.len() - SHOWN);
    }
}

/// How many files, how large, and the first of their names.
fn files(files: &[PlannedFile]) -> String {
    const SHOWN: usize = 20;
    let mut text = String::new();
    let total: u64 = files.iter().map(|file| file.size_bytes).sum();
    let what = if files.len() == 1 { "file" } else { "files" };
    line!(text, "{} {what}, {}", count(files.len() as u64), bytes(total));
    for file in files.iter().take(SHOWN) {
        line!(text, "  {}  {}", file.uri, bytes(file.size_bytes));
    }
    if files.len() > SHOWN {
        line!(text, "  ... and {} more", files.len() - SHOWN);
    }
    text.truncate(text.trim_end().len());
    text
}

/// Options that somebody chose first, with the reason; then the defaults.
fn options(text: &mut String, options: &[PlannedOption]) {
    line!(text, "with the options");
    let chosen = options.iter().filter(|option| option.origin != "default");
    let width = options.iter().map(|option| option.name.len()).max().unwrap_or(0);
    for option in chosen.chain(options.iter().filter(|option| option.origin == "default")) {
        let reason = if option.reason.is_empty() { String::new() } else { format!(": {}", option.reason) };
        let value = if option.value.is_empty() { "-".to_owned() } else { option.value.escape_debug().to_string() };
        line!(text, "  {:<width$}  {value} ({}{reason})", option.name, option.origin);
    }
}

/// What a sample holds.
pub(super) fn infer(report: &InferReport) -> String {
    let mut text = String::new();
    line!(text, "{}", files(&report.files));
    line!(
        text,
        "the first {} rows, {} of them bad; of the other {}:",
        count(report.rows),
        count(report.rows_bad),
        count(report.rows - report.rows_bad)
    );
    let width =
        |cell: &dyn Fn(&moulin_core::InferredColumn) -> usize| report.columns.iter().map(cell).max().unwrap_or(0);
    let (name, ty) = (width(&|column| column.name.chars().count()), width(&|column| column.ty.chars().count()));
    for column in &report.columns {
        line!(text, "  {:<name$}  {:<ty$}  {}: {}", column.name, column.ty, column.origin, column.reason);
        let range = match (column.min.as_str(), column.max.as_str()) {
            ("", "") => String::new(),
            (min, max) => format!("; {} .. {}", min.escape_debug(), max.escape_debug()),
        };
        line!(
            text,
            "  {:name$}  {:ty$}    {} values, {} nulls{range}",
            "",
            "",
            count(column.values),
            count(column.nulls)
        );
    }
    let chosen: Vec<PlannedOption> =
        report.options.iter().filter(|option| option.origin != "default").cloned().collect();
    if !chosen.is_empty() {
        options(&mut text, &chosen);
    }
    text
}

fn columns(text: &mut String, columns: &[PlannedColumn]) {
    let width = columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
    for column in columns {
        let required = if column.nullable { "" } else { ", required" };
        let origin = if column.origin.is_empty() { String::new() } else { format!(" ({})", column.origin) };
        line!(text, "  {:<width$}  {}{required}{origin}", column.name, column.ty);
    }
}

/// One job, whole.
pub(super) fn job(job: &Job) -> String {
    let mut text = String::new();
    line!(text, "job           {}", job.id);
    line!(
        text,
        "state         {} (attempt {}, generation {}, epoch {})",
        job.state,
        job.attempt,
        job.generation,
        job.epoch
    );
    line!(text, "asked by      {}", job.key);
    line!(text, "submitted     {} (pool {}, priority {})", moment(job.submitted_at), job.pool, job.priority);
    if !job.waiting.is_empty() {
        line!(text, "waits         {}", job.waiting);
    }
    if !job.worker_id.is_empty() {
        line!(text, "worker        {}", job.worker_id);
    }
    match (&job.receipt, &job.fault) {
        (Some(done), _) => text.push_str(&receipt(done)),
        (None, Some(fault)) => line!(text, "{}", fault.report()),
        (None, None) => line!(text, "progress      {}", progress(&job.progress)),
    }
    text
}

/// Many jobs, a line each.
pub(super) fn jobs(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let mut text = format!("{:<24}  {:<9}  {:<20}  {:<28}  rows landed\n", "job", "state", "submitted", "table");
    for job in jobs {
        let landed = job.receipt.as_ref().map_or_else(|| "-".to_owned(), |receipt| count(receipt.rows_landed));
        line!(
            text,
            "{:<24}  {:<9}  {:<20}  {:<28}  {landed}",
            job.id.0,
            job.state.as_str(),
            moment(job.submitted_at),
            job.table
        );
    }
    text
}

/// One line that is written over itself while a job runs.
pub(super) fn progress_line(job: &Job) -> String {
    format!("{:<9} {}", job.state.as_str(), progress(&job.progress))
}

#[allow(clippy::cast_precision_loss, reason = "a rate with one decimal")]
fn progress(progress: &Progress) -> String {
    let elapsed = progress.elapsed.as_secs_f64().max(0.001);
    let percent = (progress.bytes_done * 100).checked_div(progress.bytes_total).unwrap_or(0).min(100);
    format!(
        "{:<9} {percent:>3}%  {} rows read, {} rejected, {:.1} MB/s, {:.1} s",
        progress.room.name(),
        count(progress.rows_read),
        count(progress.rows_rejected),
        progress.bytes_done as f64 / 1e6 / elapsed,
        elapsed
    )
}

fn moment(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_sizes_have_a_unit() {
        assert_eq!([bytes(999), bytes(1_500), bytes(766_000_000)], ["999 B", "1.5 kB", "766.0 MB"]);
    }
}
