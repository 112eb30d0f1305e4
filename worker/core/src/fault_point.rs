//! Named points at which a test stops a worker.
//!
//! The points stand around every step that must survive a crash. They are compiled into the one binary there
//! is, so that what is tested is what runs; a point that is not armed is one relaxed load. Only the server
//! arms them, from `MOULIN_FAULT_POINT=<name>:kill|pause` at start.

use std::sync::atomic::{AtomicU8, Ordering};

/// The steps of a job around which a worker can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultPoint {
    /// The job is stored and no worker has claimed it.
    BeforeClaim = 1,
    /// The attempt has claimed its files and read nothing.
    FilesClaimed = 8,
    /// Some batches have been read and written.
    MidRead = 2,
    /// All data files are closed and staged.
    FilesWritten = 3,
    /// Manifests are written; the catalog has not been asked.
    BeforeCommit = 4,
    /// The catalog took the commit of the rows, and not yet that of the rejects.
    RowsCommitted = 9,
    /// What becomes of rejects is written, and the catalog has not been asked to commit it.
    RejectsWritten = 10,
    /// The catalog took all commits; the ledger does not know it.
    CommittedNotRecorded = 5,
    /// The ledger knows the commit; the job is not finished.
    RecordedNotReported = 6,
    /// The job is finished.
    AfterReport = 7,
}

impl FaultPoint {
    /// Every point, in the order a job passes them.
    pub const ALL: [Self; 10] = [
        Self::BeforeClaim,
        Self::FilesClaimed,
        Self::MidRead,
        Self::FilesWritten,
        Self::BeforeCommit,
        Self::RowsCommitted,
        Self::RejectsWritten,
        Self::CommittedNotRecorded,
        Self::RecordedNotReported,
        Self::AfterReport,
    ];

    /// The name that arms it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeClaim => "before_claim",
            Self::FilesClaimed => "files_claimed",
            Self::MidRead => "mid_read",
            Self::FilesWritten => "files_written",
            Self::BeforeCommit => "before_commit",
            Self::RowsCommitted => "rows_committed",
            Self::RejectsWritten => "rejects_written",
            Self::CommittedNotRecorded => "committed_not_recorded",
            Self::RecordedNotReported => "recorded_not_reported",
            Self::AfterReport => "after_report",
        }
    }

    /// Passes the point: nothing happens, unless a test armed it.
    pub fn pass(self) {
        if ARMED.load(Ordering::Relaxed) & POINT_MASK == self as u8 {
            self.stop();
        }
    }

    #[cold]
    fn stop(self) {
        let armed = ARMED.swap(0, Ordering::SeqCst);
        if armed & PAUSE != 0 {
            // A zombie: the process stands still until somebody sends SIGCONT.
            kill_self(libc::SIGSTOP);
        } else {
            kill_self(libc::SIGKILL);
        }
    }
}

const PAUSE: u8 = 0x80;
const POINT_MASK: u8 = 0x7f;
static ARMED: AtomicU8 = AtomicU8::new(0);

/// Arms one point: `<name>:kill` (SIGKILL to this process) or `<name>:pause` (SIGSTOP).
///
/// # Errors
/// The text names no point or no action.
pub fn arm(text: &str) -> Result<(), String> {
    let (name, action) = text.split_once(':').unwrap_or((text, "kill"));
    let point = FaultPoint::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| {
        let names: Vec<_> = FaultPoint::ALL.iter().map(|p| p.name()).collect();
        format!("no fault point `{name}`; there are {}", names.join(", "))
    })?;
    let flag = match action {
        "kill" => 0,
        "pause" => PAUSE,
        other => return Err(format!("no action `{other}` at a fault point; there are kill and pause")),
    };
    ARMED.store(point as u8 | flag, Ordering::SeqCst);
    Ok(())
}

#[allow(unsafe_code, reason = "raising a signal is a libc call; std can only abort, which a real crash is not")]
fn kill_self(signal: libc::c_int) {
    // `raise` signals this very thread, which therefore does not take one more step; `kill` would let it run on
    // until some thread of the process takes the signal.
    // SAFETY: raise takes a number and touches no memory of ours.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_point_is_refused_with_the_names() {
        let error = arm("before_lunch:kill").unwrap_err();
        assert!(error.contains("before_claim") && error.contains("after_report"), "{error}");
        assert!(arm("mid_read:dance").unwrap_err().contains("kill and pause"));
    }
}
