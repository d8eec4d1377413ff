-- Calls that Tandem placed, and the CDR of every call of the PBX, made from Asterisk's own durable records.

-- Written before anything is sent to Asterisk, so that a call is never forgotten and never sent again.
CREATE TABLE placed_calls (
    call_id TEXT PRIMARY KEY,         -- 32 hex digits, 128 random bits: ChannelId, Uniqueid and linkedid
    channel TEXT NOT NULL,            -- PJSIP/1001, PJSIP/+4930…@carrier
    origin TEXT NOT NULL,             -- in words: endpoint 1001
    destination TEXT NOT NULL,        -- in words: queue sales
    caller_number TEXT NOT NULL,
    caller_name TEXT NOT NULL,
    account TEXT NOT NULL,
    revision INTEGER NOT NULL,        -- of the PBX it was planned by
    is_trunk INTEGER NOT NULL,        -- the first leg goes outside
    placed_at TEXT NOT NULL,          -- ISO 8601, UTC, as all times
    ringing_at TEXT,
    answered_at TEXT,
    ended_at TEXT,                    -- null: not over, or its end is not known yet
    disposition TEXT,                 -- with ended_at
    cause INTEGER NOT NULL,           -- Q.850; 0: none
    tech_cause INTEGER NOT NULL,      -- SIP code; 0: none
    CHECK ((ended_at IS NULL) = (disposition IS NULL))
) WITHOUT ROWID;

CREATE INDEX placed_calls_open ON placed_calls (placed_at) WHERE ended_at IS NULL;
CREATE INDEX placed_calls_placed_at ON placed_calls (placed_at);

-- How far each file of Asterisk's records was read; changes in the transaction that keeps what was read.
CREATE TABLE record_files (
    name TEXT PRIMARY KEY,            -- cel, cdr
    inode INTEGER NOT NULL,
    offset INTEGER NOT NULL,          -- bytes; always after a line's end
    head BLOB NOT NULL                -- the file's first bytes, so that another file with this inode is known for one
) WITHOUT ROWID;

-- Every channel that Asterisk recorded. Times are seconds since 1970 as Asterisk has them.
CREATE TABLE legs (
    uniqueid TEXT PRIMARY KEY,
    call_id TEXT NOT NULL,            -- the call it belongs to: the linkedid, after calls that merged were joined
    channel TEXT NOT NULL,            -- PJSIP/1001-0000002a
    caller TEXT NOT NULL,
    exten TEXT NOT NULL,              -- where it entered the dialplan
    account TEXT NOT NULL,
    application TEXT NOT NULL,        -- the last one it ran, with its arguments; from its CDR
    started_at REAL,
    answered_at REAL,
    ended_at REAL,                    -- null: up, or lost
    cause INTEGER NOT NULL,           -- Q.850 of its end
    is_far_hangup INTEGER NOT NULL,   -- its own far end hung up or refused
    is_lost INTEGER NOT NULL          -- it was up when Asterisk died: its end is in no record
) WITHOUT ROWID;

CREATE INDEX legs_call_id ON legs (call_id);
CREATE INDEX legs_open ON legs (uniqueid) WHERE ended_at IS NULL AND is_lost = 0;

-- linkedid -> the call that it was joined to, for those that are not their own.
CREATE TABLE joined_calls (
    linkedid TEXT PRIMARY KEY,
    call_id TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX joined_calls_call_id ON joined_calls (call_id);

CREATE TABLE cdrs (
    call_id TEXT PRIMARY KEY,
    direction TEXT NOT NULL,          -- inbound, outbound, internal
    is_placed INTEGER NOT NULL,       -- by Tandem
    caller TEXT NOT NULL,
    called TEXT NOT NULL,
    trunk TEXT NOT NULL,              -- '' where none took part
    endpoint TEXT NOT NULL,           -- who answered, else who was first asked; '' where none
    queue TEXT NOT NULL,
    route TEXT NOT NULL,              -- what was decided, step by step; else the last application
    account TEXT NOT NULL,
    started_at TEXT NOT NULL,
    answered_at TEXT,
    ended_at TEXT,                    -- null: unconfirmed
    ring_s REAL NOT NULL,
    hold_s REAL NOT NULL,
    talk_s REAL NOT NULL,
    duration_s REAL NOT NULL,
    disposition TEXT NOT NULL,
    cause INTEGER NOT NULL            -- Q.850; 0: none
) WITHOUT ROWID;

CREATE INDEX cdrs_started_at ON cdrs (started_at, call_id);
