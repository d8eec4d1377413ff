-- Revisions of the PBX, its objects as of every revision, the revision that Asterisk has, and API tokens.

CREATE TABLE revisions (
    number INTEGER PRIMARY KEY,       -- 1, 2, 3, ...; the highest is the head
    created_at TEXT NOT NULL,         -- ISO 8601, UTC
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    added INTEGER NOT NULL,           -- how many objects this revision added,
    changed INTEGER NOT NULL,         -- changed
    removed INTEGER NOT NULL          -- and removed
);

-- An object stays one row for as long as it is the same: revision N has the rows with since <= N that N has not passed the end of.
-- So the history costs only what changed, and every revision can be loaded with one query.
CREATE TABLE objects (
    collection TEXT NOT NULL,         -- trunks, endpoints, ..., dids; or general, of which there is one
    key TEXT NOT NULL,                -- its name, extension, mailbox or number; empty for general
    since INTEGER NOT NULL REFERENCES revisions (number),
    until INTEGER REFERENCES revisions (number),  -- the first revision that no longer has it so; null in the head
    body TEXT NOT NULL CHECK (json_valid(body)),  -- every field of the entity
    PRIMARY KEY (collection, key, since)
) WITHOUT ROWID;

CREATE UNIQUE INDEX objects_head ON objects (collection, key) WHERE until IS NULL;
CREATE INDEX objects_since ON objects (since);
CREATE INDEX objects_until ON objects (until) WHERE until IS NOT NULL;

-- The last revision that was applied successfully; calls are routed by it.
CREATE TABLE live (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL REFERENCES revisions (number),
    applied_at TEXT NOT NULL
);

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, or an old token could name a new one
    name TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),  -- SHA-256 of the 256 random bits; the token itself is kept nowhere
    permissions TEXT NOT NULL CHECK (json_valid(permissions)),  -- ["calls/*", "dids/list"]
    created_at TEXT NOT NULL,
    last_used_at TEXT,
    expires_at TEXT                   -- null: never
);
