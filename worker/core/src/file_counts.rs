//! How many data files a landing wrote, and why that many.

use serde::{Deserialize, Serialize};

use crate::grouped;

/// What made the number of data files. A file that ended for no reason given here is the last of its partition that its
/// thread wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileCounts {
    /// Partitions that rows went to; 0: the table is not partitioned.
    pub partitions: u64,
    /// Threads that wrote, each files of its own.
    pub threads: u64,
    /// Size at which a file ends: the table's `write.target-file-size-bytes`.
    pub target_bytes: u64,
    /// Files that ended at that size.
    pub full: u64,
    /// Files that ended early, for other partitions to be written: only so many are open at once.
    pub made_way: u64,
    /// Whether partitions came to be more than are written side by side, so that rows were sorted by partition first.
    pub clustered: bool,
    /// Of rows that were sorted, by partition or by the table's order, what went to the local disk meanwhile.
    pub spilled_bytes: u64,
}

impl FileCounts {
    /// Why there are `files`, in words: `3 partitions, 2 threads, 1 at the target size of 512 MiB`. Empty: there are none.
    #[must_use]
    pub fn words(&self, files: u64) -> String {
        if files == 0 {
            return String::new();
        }
        let many = |n: u64, what: &str| if n == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(n)) };
        let mut parts = Vec::new();
        if self.partitions > 0 {
            parts.push(many(self.partitions, "partition"));
        }
        parts.push(many(self.threads, "thread"));
        if self.full > 0 {
            parts.push(format!("{} at the target size of {}", grouped(self.full), binary_size(self.target_bytes)));
        }
        if self.made_way > 0 {
            parts.push(format!("{} ended early to make way for other partitions", grouped(self.made_way)));
        }
        if self.clustered {
            parts.push("rows sorted by partition, since there are many".to_owned());
        }
        if self.spilled_bytes > 0 {
            parts.push(format!("{} sorted on disk", binary_size(self.spilled_bytes)));
        }
        parts.join(", ")
    }
}

// As table properties are thought of: 536870912 is 512 MiB.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let text = format!("{size:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_name_what_made_the_files() {
        let one = FileCounts { threads: 1, target_bytes: 512 << 20, ..FileCounts::default() };
        assert_eq!(one.words(0), "");
        assert_eq!(one.words(1), "1 thread");
        let many = FileCounts {
            partitions: 1000,
            threads: 2,
            full: 3,
            made_way: 40,
            clustered: true,
            spilled_bytes: 1_610_612_736,
            ..one
        };
        assert_eq!(
            many.words(1_900),
            "1,000 partitions, 2 threads, 3 at the target size of 512 MiB, 40 ended early to make way for other \
             partitions, rows sorted by partition, since there are many, 1.5 GiB sorted on disk"
        );
    }
}
