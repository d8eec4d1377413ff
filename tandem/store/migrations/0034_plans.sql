-- What somebody looked at and may apply, if nothing has moved since: the difference to the head, not a whole PBX.
CREATE TABLE plans (
    plan_id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,         -- ISO 8601, UTC
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    head INTEGER NOT NULL,            -- the newest revision when it was made
    live INTEGER,                     -- what Asterisk had; null before the first apply
    ground TEXT NOT NULL,             -- fingerprint of the files on the disk
    difference TEXT NOT NULL CHECK (json_valid(difference)),  -- [[collection, key, body or null], ...]
    secret_references TEXT NOT NULL CHECK (json_valid(secret_references)),  -- [[collection, key, field, kind, name], ...]
    shown TEXT NOT NULL CHECK (json_valid(shown)),  -- as it was shown, with secrets masked
    revision INTEGER                  -- what it was applied as; null until then
);
CREATE INDEX plans_created ON plans (created_at);
