-- Who is told of events over HTTP, and each event for each of them, from before it is sent on. Times are seconds since 1970.

CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    url TEXT NOT NULL,
    events TEXT NOT NULL,             -- kinds, as JSON
    description TEXT NOT NULL,
    active INTEGER NOT NULL,
    problem TEXT NOT NULL,            -- why Tandem made it inactive; '' otherwise
    author TEXT NOT NULL,
    secret TEXT NOT NULL,             -- needed to sign, so it is kept as it is
    old_secret TEXT NOT NULL,         -- the one before the last rotation; '' for none
    old_secret_until REAL NOT NULL,   -- until when deliveries are signed with it, too
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    version INTEGER NOT NULL          -- counts changes
);

CREATE TABLE webhook_deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id TEXT NOT NULL,           -- the same for every webhook that gets the event
    kind TEXT NOT NULL,
    body TEXT NOT NULL,               -- what is sent, byte for byte
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL,
    next_at REAL NOT NULL,            -- not sent before
    last_status INTEGER NOT NULL,     -- HTTP's; 0: there was no answer
    last_error TEXT NOT NULL,
    created_at REAL NOT NULL,
    delivered_at REAL,
    UNIQUE (webhook_id, event_id)
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_state ON webhook_deliveries (webhook_id, state, id);
CREATE INDEX webhook_deliveries_over ON webhook_deliveries (created_at) WHERE state <> 'pending';
