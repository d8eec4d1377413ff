-- Lists that feed campaigns with numbers, and what agents say of a call. Times are seconds since 1970.

CREATE TABLE number_lists (
    list_id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: clients keep it
    campaign_id INTEGER NOT NULL REFERENCES campaigns (campaign_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),  -- 0: none of its numbers is dialled
    numbers INTEGER NOT NULL,         -- how many it has: kept in the transaction of each change
    created_at REAL NOT NULL,
    updated_at REAL
);

CREATE INDEX number_lists_campaign ON number_lists (campaign_id);

-- Null: straight in the campaign, of no list.
ALTER TABLE numbers ADD COLUMN list_id INTEGER REFERENCES number_lists (list_id) ON DELETE CASCADE;
-- What an agent said of the last call, a code of the campaign's statuses; '' while nobody has.
ALTER TABLE numbers ADD COLUMN agent_status TEXT NOT NULL DEFAULT '';

CREATE INDEX numbers_list ON numbers (list_id, number_id) WHERE list_id IS NOT NULL;

ALTER TABLE attempts ADD COLUMN agent_status TEXT NOT NULL DEFAULT '';
