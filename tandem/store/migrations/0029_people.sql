-- Whose telephone a number is, where it is by the clock there, and which side ended a call.

-- What a client calls a person: of one campaign's numbers with the same one, one is dialled at a time. '': nobody said.
ALTER TABLE numbers ADD COLUMN person TEXT NOT NULL DEFAULT '';
-- Minutes east of UTC, where the client says so; NULL: by its country and area.
ALTER TABLE numbers ADD COLUMN utc_offset_min INTEGER;

CREATE INDEX numbers_person ON numbers (campaign_id, person) WHERE person <> '';

-- 1: the far end of the leg that we placed ended it.
ALTER TABLE attempts ADD COLUMN is_far_hangup INTEGER NOT NULL DEFAULT 0;
ALTER TABLE placed_calls ADD COLUMN is_far_hangup INTEGER NOT NULL DEFAULT 0;
