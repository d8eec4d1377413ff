-- An answering machine answered it, by Asterisk's AMD: kept at once, so that a restart in the middle of the call still knows.
ALTER TABLE placed_calls ADD COLUMN is_machine INTEGER NOT NULL DEFAULT 0;
