-- Secrets that the last document named by the environment or a file, so that an export can name them again.
CREATE TABLE secret_references (
    collection TEXT NOT NULL,         -- as in objects
    key TEXT NOT NULL,
    field TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('env', 'file')),
    name TEXT NOT NULL,               -- as the document had it
    digest TEXT NOT NULL,             -- SHA-256 of what it led to: somebody may have changed the secret by another way since
    PRIMARY KEY (collection, key, field)
);
