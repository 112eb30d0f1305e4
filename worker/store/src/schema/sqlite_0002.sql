-- The data files of a commit, by name: a redo replaces them, also when the snapshot is expired. No foreign key: like the
-- ledger they outlive the job.
CREATE TABLE committed_files (
    token TEXT NOT NULL,
    uri   TEXT NOT NULL,
    PRIMARY KEY (token, uri)
);
