-- A job is one generation of one key. `attempt` is the fencing epoch of the lease.
CREATE TABLE jobs (
    seq           BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- order of submit
    job_id        TEXT    NOT NULL UNIQUE,
    dag_id        TEXT    NOT NULL,
    run_id        TEXT    NOT NULL,
    task_id       TEXT    NOT NULL,
    map_index     BIGINT  NOT NULL,
    generation    BIGINT  NOT NULL,
    epoch         BIGINT  NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt       BIGINT  NOT NULL,
    worker_id     TEXT,                               -- holds or last held the lease
    table_name    TEXT    NOT NULL,
    spec          BYTEA   NOT NULL,
    submitted_at  BIGINT  NOT NULL,
    started_at    BIGINT,
    finished_at   BIGINT,
    deadline      BIGINT,
    not_before    BIGINT,                             -- of a queued job that is to be tried again
    lease_until   BIGINT,
    progress      TEXT,
    receipt       TEXT,
    fault         TEXT,
    cancel_reason TEXT,
    UNIQUE (dag_id, run_id, task_id, map_index, generation),
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
);
CREATE INDEX jobs_open ON jobs (state, seq) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_by_table ON jobs (table_name, seq);

CREATE TABLE attempts (
    job_id      TEXT   NOT NULL REFERENCES jobs (job_id),
    attempt     BIGINT NOT NULL,
    worker_id   TEXT   NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    outcome     TEXT CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'again', 'lost')),
    fault       TEXT,
    intent      TEXT,                                 -- the receipt it was about to commit
    intended_at BIGINT,
    PRIMARY KEY (job_id, attempt)
);

-- Data files, named before they are created.
CREATE TABLE staged_files (
    job_id    TEXT   NOT NULL REFERENCES jobs (job_id),
    attempt   BIGINT NOT NULL,
    uri       TEXT   NOT NULL,
    staged_at BIGINT NOT NULL,
    PRIMARY KEY (job_id, attempt, uri)
);

-- Commits that happened. No foreign key: it outlives jobs.
CREATE TABLE ledger (
    token             TEXT   NOT NULL PRIMARY KEY,
    table_name        TEXT   NOT NULL,
    snapshot_id       BIGINT NOT NULL,
    metadata_location TEXT   NOT NULL,
    attempt           BIGINT NOT NULL,
    job_id            TEXT   NOT NULL,
    recorded_at       BIGINT NOT NULL
);
