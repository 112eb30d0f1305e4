//! Several runs as one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::Rows;

use super::ROWS_OUT;
use super::budget::Budget;
use super::runs::{Blocks, Run};
use crate::Error;
use crate::write::order::Order;
use crate::write::size::batch_bytes;

/// One run while it is read.
struct Head {
    blocks: Blocks,
    keys: Rows,
    /// The next row of the block.
    at: usize,
    /// The place of its block among those that rows are out of.
    block: usize,
}

/// The key of a run's next row, and the run: of equal rows those of the older run are first.
type Next = Reverse<(Vec<u8>, usize)>;

/// Merges runs, from the oldest rows to the newest.
pub(super) struct Merge<'a> {
    order: &'a Order,
    budget: &'a Budget,
    heads: Vec<Option<Head>>,
    heap: BinaryHeap<Next>,
    /// Blocks that the rows of `out` are in.
    blocks: Vec<RecordBatch>,
    /// Of them, those that no run reads any more.
    spent_bytes: usize,
    out: Vec<(usize, usize)>,
}

impl<'a> Merge<'a> {
    pub(super) fn new<'r>(
        order: &'a Order,
        budget: &'a Budget,
        runs: impl Iterator<Item = &'r Run>,
    ) -> Result<Self, Error> {
        let (heads, heap, blocks) = (Vec::new(), BinaryHeap::new(), Vec::new());
        let mut merge = Self { order, budget, heads, heap, blocks, spent_bytes: 0, out: Vec::new() };
        for (number, run) in runs.enumerate() {
            let head = merge.next_block(run.read()?)?;
            if let Some(head) = &head {
                merge.heap.push(Reverse((head.keys.row(0).data().to_vec(), number)));
            }
            merge.heads.push(head);
        }
        Ok(merge)
    }

    pub(super) fn run(mut self, mut emit: impl FnMut(&RecordBatch) -> Result<(), Error>) -> Result<(), Error> {
        while let Some(Reverse((mut key, number))) = self.heap.pop() {
            let Some(mut head) = self.heads[number].take() else { continue };
            self.out.push((head.block, head.at));
            head.at += 1;
            let head = if head.at < head.keys.num_rows() { Some(head) } else { self.after(head)? };
            if let Some(head) = &head {
                key.clear();
                key.extend_from_slice(head.keys.row(head.at).data());
                self.heap.push(Reverse((key, number)));
            }
            self.heads[number] = head;
            if self.out.len() == ROWS_OUT || self.spent_bytes > self.budget.limits().spent_bytes() {
                emit(&self.gather()?)?;
            }
        }
        if self.out.is_empty() { Ok(()) } else { emit(&self.gather()?) }
    }

    fn after(&mut self, head: Head) -> Result<Option<Head>, Error> {
        self.spent_bytes += batch_bytes(&self.blocks[head.block]);
        drop(head.keys);
        self.next_block(head.blocks)
    }

    // `None`: the run is over.
    fn next_block(&mut self, mut blocks: Blocks) -> Result<Option<Head>, Error> {
        let Some(block) = blocks.next()? else { return Ok(None) };
        let keys = self.order.keys(&block)?;
        self.blocks.push(block);
        Ok(Some(Head { blocks, keys, at: 0, block: self.blocks.len() - 1 }))
    }

    // The rows that are out, as a batch; blocks that no run reads any more are let go.
    fn gather(&mut self) -> Result<RecordBatch, Error> {
        self.budget.go_on()?;
        let blocks: Vec<&RecordBatch> = self.blocks.iter().collect();
        let out = interleave_record_batch(&blocks, &self.out).map_err(|e| Error::encode("sorted rows", e))?;
        self.out.clear();
        let mut kept = Vec::with_capacity(self.heads.len());
        for head in self.heads.iter_mut().flatten() {
            kept.push(self.blocks[head.block].clone());
            head.block = kept.len() - 1;
        }
        self.blocks = kept;
        self.spent_bytes = 0;
        Ok(out)
    }
}
