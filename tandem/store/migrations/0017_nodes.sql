-- Several Tandem on one PostgreSQL: who is alive, and who follows what. With SQLite there is one, and `nodes` stays empty.

CREATE TABLE nodes (
    node TEXT PRIMARY KEY,            -- dialer.node
    instance TEXT NOT NULL,           -- which run of it: a later one takes the name over
    beats INTEGER NOT NULL,           -- counts signs of life: a node whose count stands still is dead, whatever anybody's clock says
    beat_at REAL NOT NULL             -- the last one, in seconds since 1970 by the database's clock; for people
);

-- Who follows the call up: whoever placed it, then whoever took it over. '': whoever comes.
ALTER TABLE placed_calls ADD COLUMN node TEXT NOT NULL DEFAULT '';
-- Who is sending it; '': nobody. Only where several may.
ALTER TABLE webhook_deliveries ADD COLUMN node TEXT NOT NULL DEFAULT '';
