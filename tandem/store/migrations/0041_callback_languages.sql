-- What a caller heard while they waited is what they hear when they are called back; '': the PBX's own language.
ALTER TABLE queue_callbacks ADD COLUMN language TEXT NOT NULL DEFAULT '';
