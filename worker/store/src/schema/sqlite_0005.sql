-- Attempts that failed and were to be tried again, since the job was submitted or begun anew. `attempt` also counts those
-- that waited for another job or whose worker was lost.
ALTER TABLE jobs ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
