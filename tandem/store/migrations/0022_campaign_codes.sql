-- What clients that know campaigns by a short text call them, and their own words for one; and whose phone a user has.
CREATE TABLE campaign_codes (
    campaign_id INTEGER PRIMARY KEY REFERENCES campaigns (campaign_id) ON DELETE CASCADE,
    code TEXT NOT NULL UNIQUE,
    words TEXT NOT NULL               -- as JSON; only that API reads them
);

ALTER TABLE users ADD COLUMN extension TEXT;  -- of the endpoint where the user works as an agent; null for none
