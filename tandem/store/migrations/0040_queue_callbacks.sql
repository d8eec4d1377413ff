-- Callers of queues who are called back. Times are seconds since 1970; node: which Tandem calls back.
CREATE TABLE queue_callbacks (
    callback_id TEXT NOT NULL PRIMARY KEY,
    queue TEXT NOT NULL,
    number TEXT NOT NULL,
    joined_at REAL NOT NULL,
    priority INTEGER NOT NULL,
    shown TEXT NOT NULL,
    asked_in TEXT NOT NULL,
    requested_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    next_at REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'calling', 'done', 'failed', 'expired', 'cancelled')),
    tries INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    ended_at REAL,
    node TEXT NOT NULL
);
-- A number is owed one call by a queue, however often it asks.
CREATE UNIQUE INDEX queue_callbacks_open ON queue_callbacks (queue, number) WHERE ended_at IS NULL;
CREATE INDEX queue_callbacks_ended ON queue_callbacks (ended_at);
