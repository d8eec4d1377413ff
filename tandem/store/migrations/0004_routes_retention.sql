-- What FastAGI decided for a channel, kept until the call's CDR is made of it; and the indexes by which old rows are found.

CREATE TABLE routes (
    uniqueid TEXT PRIMARY KEY,
    route TEXT NOT NULL,              -- step by step: DID +493012345, menu main, pressed 2
    decided_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX routes_decided_at ON routes (decided_at);

CREATE INDEX audit_at ON audit (at);
-- Only Asterisk's CDR told of them, without a time: no CDR of ours will ever name them.
CREATE INDEX legs_without_time ON legs (uniqueid)
    WHERE is_lost = 1 AND started_at IS NULL AND answered_at IS NULL AND ended_at IS NULL;
