-- Webhooks that speak another system's words, and what another system knew of whoever called.
ALTER TABLE webhooks ADD COLUMN format TEXT NOT NULL DEFAULT 'json';

CREATE TABLE call_contacts (
    call_id TEXT PRIMARY KEY,         -- the channel that was looked up
    contact_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    name TEXT NOT NULL
);
