-- Campaigns, their numbers, every attempt, and lists of numbers that must not be called. Times are seconds since 1970.

CREATE TABLE campaigns (
    campaign_id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: clients and CDRs keep it
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('stopped', 'running', 'paused')),
    epoch INTEGER NOT NULL,           -- counts resets: a call from before one does not undo it
    body TEXT NOT NULL,               -- every field of tandem.domain.campaigns.Campaign, as JSON
    permissions TEXT NOT NULL,        -- how far whoever started it may call, as JSON
    author TEXT NOT NULL,
    words TEXT NOT NULL,              -- another system's own words for it, as JSON; only its API reads them
    created_at REAL NOT NULL,
    updated_at REAL,
    version INTEGER NOT NULL          -- counts changes
);

CREATE INDEX campaigns_state ON campaigns (state);

-- How many numbers are where and how many attempts there were: kept in the transaction of each change, because counting a million rows takes a second.
CREATE TABLE campaign_counts (
    campaign_id INTEGER NOT NULL REFERENCES campaigns (campaign_id) ON DELETE CASCADE,
    kind TEXT NOT NULL,               -- a number's status; total_calls, answered_calls, connected_calls, abandoned_calls
    amount INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, kind)
);

-- The same by day (UTC, days since 1970): what the share of abandoned calls of the last 30 days is made of.
CREATE TABLE campaign_days (
    campaign_id INTEGER NOT NULL REFERENCES campaigns (campaign_id) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    connected INTEGER NOT NULL,
    abandoned INTEGER NOT NULL,
    ring_s REAL NOT NULL,             -- of the answered ones, until the answer
    talk_s REAL NOT NULL,             -- of the connected ones
    PRIMARY KEY (campaign_id, day)
);

CREATE TABLE numbers (
    number_id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (campaign_id) ON DELETE CASCADE,
    phone_number TEXT NOT NULL,       -- as it is dialled
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,        -- since the last reset
    dials INTEGER NOT NULL,           -- ever: with the number it names an attempt
    due_at REAL,                      -- not before; null: as soon as it is its turn
    hold TEXT NOT NULL,               -- why it waits: retry, not-before, window, trunk, doubt; '' for none
    call_id TEXT,                     -- the attempt that is under way: as long as there is one, there is no other
    disposition TEXT NOT NULL,        -- of the last attempt; or why it cannot be dialled
    last_attempt_at REAL,
    data TEXT,                        -- whatever the client knows of it, as JSON
    variables TEXT,                   -- for the channel, as JSON
    created_at REAL NOT NULL,
    updated_at REAL
);

CREATE INDEX numbers_campaign ON numbers (campaign_id, number_id);
CREATE INDEX numbers_status ON numbers (campaign_id, status, number_id);
CREATE INDEX numbers_phone ON numbers (phone_number, campaign_id);
-- What is next: those that are due, in the order of their time; then those that were never dialled, in the order of the list.
CREATE INDEX numbers_due ON numbers (campaign_id, due_at, number_id) WHERE status = 'pending' AND due_at IS NOT NULL;
CREATE INDEX numbers_fresh ON numbers (campaign_id, number_id) WHERE status = 'pending' AND due_at IS NULL;

-- One originate for one number. Written before it is sent; closed once. It is the campaign's CDR, too, so it outlives number and campaign.
CREATE TABLE attempts (
    attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id TEXT NOT NULL UNIQUE,     -- 128 random bits: ChannelId, Uniqueid and linkedid
    campaign_id INTEGER REFERENCES campaigns (campaign_id) ON DELETE SET NULL,
    number_id INTEGER REFERENCES numbers (number_id) ON DELETE SET NULL,
    dial INTEGER NOT NULL,            -- which dial of the number
    epoch INTEGER NOT NULL,           -- of the campaign at that time
    node TEXT NOT NULL,               -- which Tandem placed it
    phone_number TEXT NOT NULL,
    caller_number TEXT NOT NULL,
    trunk TEXT NOT NULL,              -- '' where it went another way
    destination TEXT NOT NULL,        -- in words: queue sales
    agent TEXT NOT NULL,              -- who took it; '' where nobody did
    started_at REAL NOT NULL,
    answered_at REAL,
    connected_at REAL,                -- when an agent, or what was to be heard, was there
    abandoned_at REAL,                -- when an answered person was told that nobody is free, or hung up before somebody was
    ended_at REAL,                    -- null: under way, or not known yet
    disposition TEXT,                 -- with ended_at
    cause INTEGER NOT NULL,           -- Q.850; 0: none
    tech_cause INTEGER NOT NULL,      -- SIP code; 0: none
    recording_file TEXT,
    recording_leg1 TEXT,
    recording_leg2 TEXT,
    UNIQUE (number_id, dial)          -- nobody dials a number twice for the same attempt
);

CREATE INDEX attempts_open ON attempts (campaign_id) WHERE ended_at IS NULL;
CREATE INDEX attempts_started ON attempts (started_at, attempt_id);
CREATE INDEX attempts_campaign ON attempts (campaign_id, started_at, attempt_id);

CREATE TABLE dnc_lists (
    name TEXT PRIMARY KEY,            -- `global` holds for every campaign
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL          -- when numbers were last added or taken off
);

CREATE TABLE dnc_numbers (
    list TEXT NOT NULL REFERENCES dnc_lists (name) ON DELETE CASCADE,
    number_key TEXT NOT NULL,         -- E.164 digits without +
    added_at REAL NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (list, number_key)
);

CREATE INDEX dnc_numbers_key ON dnc_numbers (number_key);

-- No byte of it reached Asterisk: nobody was called, and the attempt does not count.
ALTER TABLE placed_calls ADD COLUMN is_unsent INTEGER NOT NULL DEFAULT 0;
