-- What others add to a call once it is over. Keyed as the call is, but no part of its CDR: that is made anew whenever the records say more.
CREATE TABLE call_notes (
    call_id TEXT PRIMARY KEY,
    comments TEXT NOT NULL DEFAULT '',
    accounting_code TEXT              -- null: what the call itself had
);

CREATE TABLE transcriptions (
    transcription_id INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id TEXT NOT NULL,
    kind TEXT NOT NULL,               -- monitor, recording, confbridge
    filename TEXT NOT NULL,
    provider TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL            -- as JSON; only whoever wrote it reads it
);

CREATE INDEX transcriptions_call_id ON transcriptions (call_id, transcription_id);
