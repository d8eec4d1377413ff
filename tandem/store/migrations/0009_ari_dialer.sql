-- What the ARI Dialer's API knows of users, tokens and menus: whole numbers that name them for ever, who may call the API, whose a token is.

CREATE TABLE users_with_ids (
    user_id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: clients keep it
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL,            -- argon2id in the PHC form, with its own salt and parameters
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    created_at TEXT NOT NULL,
    last_login_at TEXT,
    updated_at TEXT,                   -- null: never changed
    email TEXT NOT NULL DEFAULT '',
    full_name TEXT NOT NULL DEFAULT '',
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),    -- 0: neither logs in nor calls an API
    api_access INTEGER NOT NULL DEFAULT 1 CHECK (api_access IN (0, 1))   -- 0: the tokens of this user are refused
);

INSERT INTO users_with_ids (name, password, role, created_at, last_login_at)
    SELECT name, password, role, created_at, last_login_at FROM users ORDER BY created_at, name;

DROP TABLE users;

ALTER TABLE users_with_ids RENAME TO users;

ALTER TABLE tokens ADD COLUMN owner_id INTEGER REFERENCES users (user_id) ON DELETE CASCADE;  -- whose it is; null: nobody's, or a login's
ALTER TABLE tokens ADD COLUMN hint TEXT NOT NULL DEFAULT '';          -- the first and last 8 of its 64 digits: 192 random bits stay unknown
ALTER TABLE tokens ADD COLUMN is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1));  -- 0: revoked
ALTER TABLE tokens ADD COLUMN updated_at TEXT;                        -- when it was revoked

CREATE INDEX tokens_owner ON tokens (owner_id) WHERE owner_id IS NOT NULL;

-- Whole numbers for menus and for the keys of menus, given when they are first asked for and never again.
CREATE TABLE menu_ids (
    menu_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE menu_action_ids (
    action_id INTEGER PRIMARY KEY AUTOINCREMENT,
    menu_id INTEGER NOT NULL REFERENCES menu_ids (menu_id),
    digits TEXT NOT NULL,             -- the keys, or i and t: a wrong key, and silence
    UNIQUE (menu_id, digits)
);

-- Attempts that are over, and how they ended, of all campaigns or of one: pages and counts without looking at each.
CREATE INDEX attempts_over ON attempts (started_at, attempt_id) WHERE ended_at IS NOT NULL;
CREATE INDEX attempts_disposition ON attempts (disposition, started_at, attempt_id) WHERE ended_at IS NOT NULL;
CREATE INDEX attempts_campaign_disposition ON attempts (campaign_id, disposition, started_at, attempt_id) WHERE ended_at IS NOT NULL;
