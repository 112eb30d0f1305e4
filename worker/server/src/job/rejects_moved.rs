//! Rejects of an intended commit that were written for a table which is not there any more: somebody has dropped it, and
//! another one has its name. What was in it went with it; what was on its way there is written again for the new one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use moulin_core::{Counters, Fault, FaultKind, Receipt};
use moulin_lake::{Landed, Target, WriteOptions};

use super::rejects_rows::column;
use super::rejects_table::SCHEMA;
use super::settle::Settlement;
use super::staging;

impl Settlement {
    /// The data files with the rejects of an intended commit, as the table takes them.
    ///
    /// # Errors
    /// `NotFound`: the data files went with the table they were written for; store or warehouse do not answer.
    pub(super) async fn rejects_for(&self, target: &Target, receipt: &Receipt) -> Result<Landed, Fault> {
        let text = receipt.rejects_to_commit.as_str();
        if text.is_empty() {
            return Ok(Landed::default());
        }
        match Landed::from_text(target, text) {
            Err(error) if error.kind() == FaultKind::NotFound => {
                tracing::warn!(%error, "the rejects are written again for the table that there is now");
                self.written_again(target, text, receipt.attempt).await
            }
            other => Ok(other?),
        }
    }

    async fn written_again(&self, target: &Target, text: &str, attempt: u32) -> Result<Landed, Fault> {
        let begin = staging::of_rejects_again(&self.lease.job_id);
        let counters = Arc::new(Counters::default());
        let options = staging::write_options(&self.worker, &self.lease, attempt, begin, &counters);
        let mut writer = self.worker.lake.writer(target, WriteOptions { threads: 1, ..options });
        let mut rows = self.worker.lake.rows_in_files(Landed::locations_in_text(text)?);
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| files_gone(error.into(), target))?;
            writer.write(as_rejects(&batch)?).await?;
        }
        Ok(writer.finish().await?)
    }
}

fn files_gone(fault: Fault, target: &Target) -> Fault {
    if fault.kind != FaultKind::NotFound {
        return fault;
    }
    let table = target.table();
    let message = format!("{table} was dropped, and the rejects that were on their way there went with it");
    Fault::new(FaultKind::NotFound, message).because(&fault).with_hint(format!(
        "bring back the data files of {table} as they were, from a backup or versions of the bucket"
    ))
}

fn as_rejects(batch: &RecordBatch) -> Result<RecordBatch, Fault> {
    let columns = SCHEMA.fields().iter().map(|field| column(batch, field.name()));
    RecordBatch::try_new(Arc::clone(&SCHEMA), columns.collect::<Result<_, Fault>>()?)
        .map_err(|error| Fault::new(FaultKind::Internal, "rejects do not fit their table").with_source(&error))
}
