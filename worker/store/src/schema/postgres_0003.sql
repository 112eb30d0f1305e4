-- Which files a table was loaded with, and which are being loaded. No foreign key: it outlives jobs.
CREATE TABLE file_loads (
    table_name TEXT   NOT NULL,
    uri        TEXT   NOT NULL,
    etag       TEXT   NOT NULL,                    -- with the size it tells contents apart; '': nothing does
    size_bytes BIGINT NOT NULL,
    job_id     TEXT   NOT NULL,
    attempt    BIGINT NOT NULL,
    job_key    TEXT   NOT NULL,                    -- key without generation
    generation BIGINT NOT NULL,
    table_uuid TEXT,                               -- another table may take the name; NULL: not made yet
    state      TEXT   NOT NULL CHECK (state IN ('claimed', 'loaded', 'released', 'replaced')),
    reason     TEXT   NOT NULL DEFAULT '',         -- why it was released
    snapshot_id BIGINT,                            -- NULL: no row of the job landed
    claimed_at BIGINT NOT NULL,
    settled_at BIGINT,
    skipped_by TEXT,                               -- the last job that left it out because of this load
    skipped_at BIGINT,
    PRIMARY KEY (table_name, uri, job_id, attempt)
);
CREATE INDEX file_loads_by_job ON file_loads (job_id, attempt);
CREATE INDEX file_loads_by_uri ON file_loads (uri);

-- When a file of a dead attempt was removed; its name is kept a while, for a writer that sleeps and makes it after all.
ALTER TABLE staged_files ADD COLUMN removed_at BIGINT;
