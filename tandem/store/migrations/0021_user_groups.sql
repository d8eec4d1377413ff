-- Groups of people: what those who are in one see and may do at most.

CREATE TABLE user_groups (
    name TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    campaigns TEXT,                   -- ids as JSON: the only ones that they see; null for all
    permissions TEXT,                 -- as JSON: no more than these, whatever the role; null for no limit of its own
    created_at REAL NOT NULL,
    updated_at REAL
);

ALTER TABLE users ADD COLUMN user_group TEXT REFERENCES user_groups (name);  -- null: in none, without its limits
