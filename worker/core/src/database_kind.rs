//! What the error codes of databases mean, wherever a statement was for.

use crate::FaultKind;

impl FaultKind {
    /// By PostgreSQL's error code (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
    #[must_use]
    pub fn of_sqlstate(code: &str) -> Self {
        match code {
            "42501" => Self::PermissionDenied,
            "3D000" => Self::NotFound,
            _ => match code.get(..2) {
                Some("28") => Self::PermissionDenied,
                // What is wrong with a statement, or with a value for it, is a defect.
                Some("22" | "23" | "42") => Self::Internal,
                // A standby, full disks, too many connections: another time, or another server of the same address.
                _ => Self::Unavailable,
            },
        }
    }

    /// By SQLite's result code; the primary one stands in the low byte of an extended one
    /// (<https://sqlite.org/rescode.html>).
    #[must_use]
    pub fn of_sqlite(code: Option<i32>) -> Self {
        const PERMISSION_AND_READONLY: [i32; 3] = [3, 8, 23];
        const ERROR_MISUSE_CONSTRAINT: [i32; 5] = [1, 19, 20, 21, 25];
        match code.map(|code| code & 0xff) {
            Some(code) if PERMISSION_AND_READONLY.contains(&code) => Self::PermissionDenied,
            Some(code) if ERROR_MISUSE_CONSTRAINT.contains(&code) => Self::Internal,
            _ => Self::Unavailable,
        }
    }
}
