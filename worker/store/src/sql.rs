//! Every statement, in SQL that SQLite and PostgreSQL read alike; only the schema differs between them.
//!
//! SQLite has one writer at a time. Where writers beside each other could see less than what has happened, a comment
//! `/*postgres: ...*/` holds what PostgreSQL reads as a part of the statement.
//!
//! Times are microseconds since 1970, progress, receipts and faults are JSON.

/// The schema of SQLite, one text a version; a text that was released never changes.
pub(crate) const SQLITE_SCHEMA: [&str; 5] = [
    include_str!("schema/sqlite_0001.sql"),
    include_str!("schema/sqlite_0002.sql"),
    include_str!("schema/sqlite_0003.sql"),
    include_str!("schema/sqlite_0004.sql"),
    include_str!("schema/sqlite_0005.sql"),
];

/// The same schema for PostgreSQL, version by version.
pub(crate) const POSTGRES_SCHEMA: [&str; 5] = [
    include_str!("schema/postgres_0001.sql"),
    include_str!("schema/postgres_0002.sql"),
    include_str!("schema/postgres_0003.sql"),
    include_str!("schema/postgres_0004.sql"),
    include_str!("schema/postgres_0005.sql"),
];

// What stands in every statement that a lease guards. Its three values are always the first three.
macro_rules! fence {
    () => {
        "job_id = $1 AND attempt = $2 AND worker_id = $3 AND state = 'running'"
    };
}

macro_rules! job_columns {
    () => {
        "seq, job_id, dag_id, run_id, task_id, map_index, generation, epoch, state, attempt, failures, \
         worker_id, table_name, priority, pool, spec, submitted_at, started_at, finished_at, deadline, progress, receipt, fault, \
         cancel_reason"
    };
}

// Nobody works on it, and it is of a pool that is asked for: `$5` holds their names between line ends, and what is left of
// it without the job's own is another text.
macro_rules! claimable {
    () => {
        "((state = 'queued' AND (not_before IS NULL OR not_before <= $3)) \
          OR (state = 'running' AND lease_until <= $3)) \
         AND (CAST($4 AS TEXT) IS NULL OR job_id = $4) \
         AND (CAST($5 AS TEXT) IS NULL OR REPLACE($5, '\n' || pool || '\n', '') <> $5)"
    };
}

pub(crate) const SCHEMA_VERSION: &str = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_version";
pub(crate) const CREATE_SCHEMA_VERSION: &str =
    "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)";
pub(crate) const RECORD_SCHEMA_VERSION: &str = "INSERT INTO schema_version (version) VALUES ($1)";

pub(crate) const INSERT_JOB: &str = "\
    INSERT INTO jobs (job_id, dag_id, run_id, task_id, map_index, generation, epoch, state, attempt, \
                      table_name, spec, submitted_at, deadline, priority, pool, place) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', 0, $8, $9, $10, $11, $12, $13, $14) \
    ON CONFLICT DO NOTHING";

// A newer try: of a job that failed or was cancelled it makes a queued one again, with what is asked now. One that goes on
// it attaches to, with as much time as every try has.
pub(crate) const TAKE_OVER: &str = "\
    UPDATE jobs SET epoch = $2, \
        state = CASE WHEN state IN ('failed', 'cancelled') THEN 'queued' ELSE state END, \
        spec = CASE WHEN state IN ('failed', 'cancelled') THEN $3 ELSE spec END, \
        table_name = CASE WHEN state IN ('failed', 'cancelled') THEN $4 ELSE table_name END, \
        deadline = CASE WHEN state = 'succeeded' THEN deadline ELSE $5 END, \
        priority = CASE WHEN state IN ('failed', 'cancelled') THEN $6 ELSE priority END, \
        pool = CASE WHEN state IN ('failed', 'cancelled') THEN $7 ELSE pool END, \
        place = CASE WHEN state IN ('failed', 'cancelled') THEN $8 ELSE place END, \
        finished_at = CASE WHEN state IN ('failed', 'cancelled') THEN NULL ELSE finished_at END, \
        fault = CASE WHEN state IN ('failed', 'cancelled') THEN NULL ELSE fault END, \
        failures = CASE WHEN state IN ('failed', 'cancelled') THEN 0 ELSE failures END, \
        cancel_reason = CASE WHEN state IN ('failed', 'cancelled') THEN NULL ELSE cancel_reason END, \
        not_before = CASE WHEN state IN ('failed', 'cancelled') THEN NULL ELSE not_before END \
    WHERE job_id = $1 AND epoch < $2";

pub(crate) const GET_JOB: &str = concat!("SELECT ", job_columns!(), " FROM jobs WHERE job_id = $1");

pub(crate) const GENERATIONS: &str = concat!(
    "SELECT ",
    job_columns!(),
    " FROM jobs WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4 ORDER BY generation"
);

// `$1` holds the states between commas.
pub(crate) const LIST_JOBS: &str = concat!(
    "SELECT ",
    job_columns!(),
    " FROM jobs \
     WHERE ($1 = '' OR $1 LIKE '%,' || state || ',%') \
       AND (CAST($2 AS TEXT) IS NULL OR dag_id = $2) \
       AND (CAST($3 AS TEXT) IS NULL OR table_name = $3) \
       AND seq < $4 \
     ORDER BY seq DESC LIMIT $5"
);

// Workers of PostgreSQL pass each other.
pub(crate) const CLAIM: &str = concat!(
    "UPDATE jobs SET state = 'running', attempt = attempt + 1, worker_id = $1, lease_until = $2, \
                     started_at = $3, progress = NULL, fault = NULL \
     WHERE seq = (SELECT seq FROM jobs WHERE ",
    claimable!(),
    " ORDER BY place, seq LIMIT 1 /*postgres:FOR UPDATE SKIP LOCKED*/) AND ",
    claimable!(),
    " RETURNING ",
    job_columns!()
);

// Asked before CLAIM: a worker that only looks for work must not take the write lock away from those who have some.
pub(crate) const SOME_CLAIMABLE: &str = concat!("SELECT 1 AS some FROM jobs WHERE ", claimable!(), " LIMIT 1");

pub(crate) const END_LOST_ATTEMPTS: &str =
    "UPDATE attempts SET ended_at = $3, outcome = 'lost' WHERE job_id = $1 AND attempt < $2 AND ended_at IS NULL";

pub(crate) const BEGIN_ATTEMPT: &str =
    "INSERT INTO attempts (job_id, attempt, worker_id, started_at) VALUES ($1, $2, $4, $3)";

pub(crate) const RENEW: &str =
    concat!("UPDATE jobs SET lease_until = $4, progress = $5 WHERE ", fence!(), " RETURNING cancel_reason, deadline");

pub(crate) const RELEASE_JOBS: &str =
    "UPDATE jobs SET state = 'queued', lease_until = NULL WHERE state = 'running' AND worker_id = $1";

pub(crate) const RELEASE_ATTEMPTS: &str =
    "UPDATE attempts SET ended_at = $2, outcome = $3 WHERE worker_id = $1 AND ended_at IS NULL";

// Those of the attempts since the last one that told its end.
pub(crate) const LOST_WORKERS: &str = "\
    SELECT worker_id FROM attempts \
    WHERE job_id = $1 AND outcome = 'lost' \
      AND attempt > COALESCE((SELECT MAX(attempt) FROM attempts WHERE job_id = $1 AND outcome <> 'lost'), 0) \
    ORDER BY attempt";

// A file named again takes the new time, so that one row changed means that the lease is held. It is to be made again.
pub(crate) const STAGE_FILE: &str = concat!(
    "INSERT INTO staged_files (job_id, attempt, uri, staged_at) \
     SELECT job_id, CAST($6 AS BIGINT), CAST($4 AS TEXT), CAST($5 AS BIGINT) FROM jobs WHERE ",
    fence!(),
    " /*postgres:FOR SHARE*/ ON CONFLICT (job_id, attempt, uri) DO UPDATE SET staged_at = excluded.staged_at, removed_at = NULL"
);

// A file that is part of no commit.
pub(crate) const STAGED_REMOVED: &str =
    "UPDATE staged_files SET removed_at = COALESCE(removed_at, $3) WHERE job_id = $1 AND uri = $2";

pub(crate) const STAGED_FILES: &str = "SELECT attempt, uri FROM staged_files WHERE job_id = $1 ORDER BY attempt, uri";

// What the attempt that committed removed itself is in no table.
pub(crate) const FORGET_COMMITTED: &str =
    "DELETE FROM staged_files WHERE job_id = $1 AND attempt = $2 AND removed_at IS NULL";

pub(crate) const OTHERS_REMOVED: &str =
    "UPDATE staged_files SET removed_at = COALESCE(removed_at, $3) WHERE job_id = $1 AND attempt <> $2";

pub(crate) const RECORD_INTENT: &str = concat!(
    "UPDATE attempts SET intent = $4, intended_at = $5 \
     WHERE job_id = $1 AND attempt = $2 AND EXISTS (SELECT 1 FROM jobs WHERE ",
    fence!(),
    " AND cancel_reason IS NULL AND (deadline IS NULL OR deadline > $5) /*postgres:FOR SHARE*/)"
);

pub(crate) const INTENT: &str = "SELECT intent FROM attempts WHERE job_id = $1 AND attempt = $2";

pub(crate) const INTENTS: &str =
    "SELECT attempt, intent FROM attempts WHERE job_id = $1 AND intent IS NOT NULL ORDER BY attempt";

pub(crate) const RECORD_COMMIT: &str = concat!(
    "INSERT INTO ledger (token, table_name, snapshot_id, metadata_location, attempt, job_id, recorded_at) \
     SELECT CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS TEXT), CAST($8 AS BIGINT), \
            CAST($9 AS TEXT), CAST($10 AS BIGINT) \
     FROM jobs WHERE ",
    fence!(),
    " /*postgres:FOR SHARE*/ ON CONFLICT (token) DO NOTHING"
);

pub(crate) const LEDGER: &str =
    "SELECT token, table_name, snapshot_id, metadata_location, attempt, job_id FROM ledger WHERE token = $1";

// The files of the attempt that committed, while they are still known as staged ones. Those of rejects are in a table of
// their own; their names say so.
pub(crate) const RECORD_FILES: &str = "\
    INSERT INTO committed_files (token, uri) \
    SELECT CAST($1 AS TEXT), uri FROM staged_files \
    WHERE job_id = $2 AND attempt = $3 AND uri NOT LIKE '%/' || job_id || '-rejects-%' \
    ON CONFLICT DO NOTHING";

// Files that a commit took out of the table are no more of any token.
pub(crate) const FORGET_REPLACED_FILES: &str = "\
    DELETE FROM committed_files WHERE uri IN (SELECT uri FROM committed_files WHERE token = $1)";

// Files with rows that a replay made of another job's rejects: that job answers for them as for its own.
pub(crate) const RECORD_REPLAYED_FILES: &str =
    "INSERT INTO committed_files (token, uri) VALUES ($1, $2) ON CONFLICT DO NOTHING";

pub(crate) const COMMITTED_FILES: &str = "SELECT uri FROM committed_files WHERE token = $1 ORDER BY uri";

pub(crate) const COMMIT_BEFORE: &str = "\
    SELECT l.token AS token, l.table_name AS table_name, l.snapshot_id AS snapshot_id, \
           l.metadata_location AS metadata_location, l.attempt AS attempt, l.job_id AS job_id \
    FROM ledger l JOIN jobs j ON j.job_id = l.job_id \
    WHERE j.dag_id = $1 AND j.run_id = $2 AND j.task_id = $3 AND j.map_index = $4 AND j.generation < $5 \
    ORDER BY j.generation DESC LIMIT 1";

// A requested cancel does not wait for `not_before`, unless (`$10`) it cannot be answered yet.
pub(crate) const FINISH: &str = concat!(
    "UPDATE jobs SET state = $4, receipt = $5, fault = $6, finished_at = $7, \
                     not_before = CASE WHEN cancel_reason IS NULL OR CAST($10 AS BIGINT) = 1 \
                                       THEN CAST($8 AS BIGINT) END, \
                     failures = failures + $9, lease_until = NULL \
     WHERE ",
    fence!(),
    " RETURNING ",
    job_columns!()
);

pub(crate) const END_ATTEMPT: &str =
    "UPDATE attempts SET outcome = $3, fault = $4, ended_at = $5 WHERE job_id = $1 AND attempt = $2";

pub(crate) const CANCEL: &str = concat!(
    "UPDATE jobs SET \
        cancel_reason = COALESCE(cancel_reason, $3), not_before = NULL, \
        state = CASE WHEN state = 'queued' AND attempt = 0 THEN 'cancelled' ELSE state END, \
        fault = CASE WHEN state = 'queued' AND attempt = 0 THEN $4 ELSE fault END, \
        finished_at = CASE WHEN state = 'queued' AND attempt = 0 THEN $5 ELSE finished_at END \
     WHERE job_id = $1 AND epoch <= $2 AND state IN ('queued', 'running') \
     RETURNING ",
    job_columns!()
);

// As SOME_CLAIMABLE: most looks find nothing.
pub(crate) const SOME_EXPIRED: &str = "\
    SELECT 1 AS some FROM jobs \
    WHERE state IN ('queued', 'running') AND deadline <= $1 AND (attempt = 0 OR cancel_reason IS NULL) LIMIT 1";

pub(crate) const EXPIRE_UNBEGUN: &str = "\
    UPDATE jobs SET state = 'failed', fault = $2, finished_at = $1 \
    WHERE state = 'queued' AND attempt = 0 AND deadline <= $1 RETURNING job_id";

pub(crate) const EXPIRE_BEGUN: &str = "\
    UPDATE jobs SET cancel_reason = $2, not_before = NULL \
    WHERE state IN ('queued', 'running') AND attempt > 0 AND cancel_reason IS NULL AND deadline <= $1 \
    RETURNING job_id";

pub(crate) const COUNT_OPEN: &str = "\
    SELECT COALESCE(SUM(CASE WHEN state = 'queued' THEN 1 ELSE 0 END), 0) AS queued, \
           COALESCE(SUM(CASE WHEN state = 'running' THEN 1 ELSE 0 END), 0) AS running \
    FROM jobs WHERE state IN ('queued', 'running')";

pub(crate) const ANNOUNCE_WORKER: &str = "\
    INSERT INTO workers (worker_id, pools, slots, seen_until) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (worker_id) DO UPDATE SET pools = excluded.pools, slots = excluded.slots, \
                                          seen_until = excluded.seen_until";

pub(crate) const FORGET_WORKERS: &str = "DELETE FROM workers WHERE seen_until < $1";

pub(crate) const WITHDRAW_WORKER: &str = "DELETE FROM workers WHERE worker_id = $1";

pub(crate) const LIVE_WORKERS: &str =
    "SELECT worker_id, pools, slots, seen_until FROM workers WHERE seen_until > $1 ORDER BY worker_id";

// Begins every transaction that a lease guards and that is more than one statement. In PostgreSQL it locks the row.
pub(crate) const HOLD_LEASE: &str = concat!("UPDATE jobs SET attempt = attempt WHERE ", fence!());

// Claims of files of one table exclude each other until their transaction ends.
pub(crate) const HOLD_TABLE: &str =
    "SELECT CAST($1 AS TEXT) AS held /*postgres:, CAST(pg_advisory_xact_lock(hashtext($1)) AS TEXT) AS locked*/";

// Generations of one key exclude each other from here to the end of the transaction.
pub(crate) const HOLD_GENERATIONS: &str = "\
    SELECT job_id /*postgres:, CAST(pg_advisory_xact_lock(\
        hashtext(concat_ws('/', dag_id, run_id, task_id, map_index))) AS TEXT) AS locked*/ \
    FROM jobs WHERE job_id = $1";

pub(crate) const FILE_LOADS: &str = "\
    SELECT table_name, uri, etag, size_bytes, job_id, attempt, job_key, generation, table_uuid, state, reason, \
           snapshot_id, claimed_at, settled_at, skipped_by, skipped_at \
    FROM file_loads";

pub(crate) const INSERT_LOADS: &str = "\
    INSERT INTO file_loads (table_name, uri, etag, size_bytes, job_id, attempt, job_key, generation, table_uuid, state, \
                            claimed_at) ";

// What became of earlier attempts of a job that is begun again is not told twice.
pub(crate) const FORGET_RELEASED: &str =
    "DELETE FROM file_loads WHERE job_id = $1 AND attempt < $2 AND state = 'released' AND CAST($3 AS TEXT) IS NOT NULL";

pub(crate) const NAME_TABLE: &str =
    "UPDATE file_loads SET table_uuid = $4 WHERE job_id = $1 AND attempt = $2 AND CAST($3 AS TEXT) IS NOT NULL";

pub(crate) const SETTLE_LOADED: &str = "\
    UPDATE file_loads SET state = 'loaded', settled_at = $3, snapshot_id = CAST($4 AS BIGINT) \
    WHERE job_id = $1 AND attempt = $2 AND state = 'claimed'";

pub(crate) const SETTLE_RELEASED: &str = "\
    UPDATE file_loads SET state = 'released', settled_at = $3, reason = CAST($4 AS TEXT) \
    WHERE job_id = $1 AND attempt = $2 AND state = 'claimed'";

// What earlier generations of the same key had loaded went with their rows; `$4` is the first of those that went.
pub(crate) const SETTLE_REPLACED: &str = "\
    UPDATE file_loads SET state = 'replaced', settled_at = $3 \
    WHERE table_name = $2 AND state = 'loaded' \
      AND job_id IN (SELECT o.job_id FROM jobs o JOIN jobs j ON o.dag_id = j.dag_id AND o.run_id = j.run_id \
                       AND o.task_id = j.task_id AND o.map_index = j.map_index AND o.generation < j.generation \
                     WHERE j.job_id = $1 AND o.generation >= $4)";

// Of a job that ends after newer generations have replaced what it landed.
pub(crate) const NEWER_RECEIPTS: &str = "\
    SELECT o.receipt AS receipt, j.generation AS generation \
    FROM jobs o JOIN jobs j ON o.dag_id = j.dag_id AND o.run_id = j.run_id AND o.task_id = j.task_id \
                               AND o.map_index = j.map_index AND o.generation > j.generation \
    WHERE j.job_id = $1 AND o.table_name = j.table_name AND o.state = 'succeeded'";

pub(crate) const SETTLE_OWN_REPLACED: &str =
    "UPDATE file_loads SET state = 'replaced', settled_at = $2 WHERE job_id = $1 AND state = 'loaded'";

// What kept others off the rejects of a job while this one worked on them is no load.
pub(crate) const FORGET_HOLDS: &str = "DELETE FROM file_loads WHERE job_id = $1 AND uri LIKE 'rejects:%'";

// Claims of attempts that did not end the job.
pub(crate) const FORGET_CLAIMS: &str = "DELETE FROM file_loads WHERE job_id = $1 AND state = 'claimed'";

pub(crate) const LEFTOVERS: &str = "\
    SELECT s.job_id AS job_id, s.attempt AS attempt, s.uri AS uri, s.staged_at AS staged_at, \
           s.removed_at AS removed_at, j.table_name AS table_name, j.state AS state, j.receipt AS receipt, \
           a.outcome AS outcome, a.intended_at AS intended_at \
    FROM staged_files s JOIN jobs j ON j.job_id = s.job_id \
         LEFT JOIN attempts a ON a.job_id = s.job_id AND a.attempt = s.attempt \
    WHERE (s.job_id, s.attempt, s.uri) > ($1, $2, $3) \
      AND (s.attempt < j.attempt OR j.state IN ('succeeded', 'failed', 'cancelled')) \
    ORDER BY s.job_id, s.attempt, s.uri LIMIT $4";

pub(crate) const LEFTOVER_REMOVED: &str =
    "UPDATE staged_files SET removed_at = COALESCE(removed_at, $4) WHERE job_id = $1 AND attempt = $2 AND uri = $3";

pub(crate) const FORGET_LEFTOVER: &str = "DELETE FROM staged_files WHERE job_id = $1 AND attempt = $2 AND uri = $3";
