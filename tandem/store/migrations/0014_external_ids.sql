-- What the program that asked for a call calls it: one call for each of its ids in a project of its.

ALTER TABLE placed_calls ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE placed_calls ADD COLUMN external_id TEXT NOT NULL DEFAULT '';   -- '': none

CREATE UNIQUE INDEX placed_calls_external_id ON placed_calls (external_id, project) WHERE external_id <> '';

ALTER TABLE cdrs ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE cdrs ADD COLUMN external_id TEXT NOT NULL DEFAULT '';

CREATE INDEX cdrs_external_id ON cdrs (external_id, started_at) WHERE external_id <> '';
