-- The list that holds for every campaign is always there.
INSERT INTO dnc_lists (name, created_at, updated_at) VALUES ('global', 0, 0);

-- Files of numbers, read or being read; each batch is counted in its own transaction, so that this is what was added, whatever happens.
CREATE TABLE imports (
    import_id TEXT PRIMARY KEY,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (campaign_id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'cancelled')),
    created_at REAL NOT NULL,
    body TEXT NOT NULL                -- every field of tandem.domain.number_files.ImportReport, as JSON
);

CREATE INDEX imports_campaign ON imports (campaign_id, created_at);
