-- Which job is claimed next: the one whose place is smallest among those of the pools that the worker serves.
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN pool TEXT NOT NULL DEFAULT 'default_pool';
ALTER TABLE jobs ADD COLUMN place BIGINT NOT NULL DEFAULT 0;  -- when it was queued, moved by its priority
UPDATE jobs SET place = submitted_at;
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (state, place, seq) WHERE state IN ('queued', 'running');

-- Who claims jobs now. No job refers to it: a worker that is gone is forgotten.
CREATE TABLE workers (
    worker_id  TEXT   NOT NULL PRIMARY KEY,
    pools      TEXT   NOT NULL,                       -- JSON list of names; empty: of every pool
    slots      BIGINT NOT NULL,
    seen_until BIGINT NOT NULL                        -- it is taken for dead from then on
);
