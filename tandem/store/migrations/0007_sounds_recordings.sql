-- Sounds that were uploaded or spoken, and recordings of calls. The audio itself is in files.

CREATE TABLE sounds (
    name TEXT NOT NULL,
    language TEXT NOT NULL,           -- '': heard in every language that has none of its own
    version TEXT NOT NULL,            -- 32 hex digits, new with each upload; names the folder in which its files waited
    source TEXT NOT NULL,             -- what it was made of: wav, mp3, ogg, opus, flac, speech
    text TEXT NOT NULL,               -- what is said, where it is known
    voice TEXT NOT NULL,              -- of speech
    duration_s REAL NOT NULL,
    bytes INTEGER NOT NULL,           -- of all its files
    formats TEXT NOT NULL,            -- alaw,g722,ulaw,wav16
    created_at TEXT NOT NULL,
    PRIMARY KEY (name, language)
) WITHOUT ROWID;

CREATE TABLE recordings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,        -- of the file that Asterisk wrote, without its suffix
    call_id TEXT NOT NULL,            -- uniqueid of the channel that was recorded
    kind TEXT NOT NULL,               -- mixed, leg1, leg2
    path TEXT NOT NULL,               -- below asterisk.recordings_dir, once converted below recordings.dir
    started_at TEXT NOT NULL,
    duration_s REAL NOT NULL,
    bytes INTEGER NOT NULL,
    format TEXT NOT NULL,             -- wav, mp3, ogg, opus, flac
    converted_at TEXT                 -- null: still as Asterisk wrote it
);

CREATE INDEX recordings_call_id ON recordings (call_id);
CREATE INDEX recordings_started_at ON recordings (started_at, id);
CREATE INDEX recordings_waiting ON recordings (id) WHERE converted_at IS NULL;
