-- People who log in, whom a token belongs to, who changed what, and the answers of requests that must not be done twice.

ALTER TABLE tokens ADD COLUMN user TEXT;  -- whose login made it; null: made by hand
CREATE INDEX tokens_user ON tokens (user) WHERE user IS NOT NULL;

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,            -- argon2id in the PHC form, with its own salt and parameters
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    created_at TEXT NOT NULL,
    last_login_at TEXT
) WITHOUT ROWID;

-- Failed logins by name, also of names that nobody has: else a lock-out would tell which ones there are.
CREATE TABLE login_failures (
    name TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    last_at TEXT NOT NULL,
    locked_until TEXT                  -- null: not locked
) WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,                 -- `token 3 (ci)`, `user anna`, `control socket`
    source TEXT NOT NULL,              -- address of the client, or `unix`
    action TEXT NOT NULL,              -- the permission that it took: `dids/update`
    target TEXT NOT NULL,              -- `dids/+493012345`
    revision INTEGER                   -- the revision that it made, where it made one
);

-- What a POST with an Idempotency-Key was answered, written in the transaction of its effect; without secrets.
CREATE TABLE answers (
    scope TEXT NOT NULL,               -- whose key: `token 3`, `socket`
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,              -- of the body
    created_at TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL CHECK (json_valid(headers)),
    body BLOB NOT NULL,
    PRIMARY KEY (scope, route, key)
) WITHOUT ROWID;

CREATE INDEX answers_created ON answers (created_at);
