-- Whole numbers for DIDs, for clients that know them by number; one that was given never names anything else.
CREATE TABLE did_ids (
    did_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE                -- the DID's number, as the object has it
);

-- Whose an object of the PBX is: a group of users. No row: everybody's.
CREATE TABLE object_groups (
    collection TEXT NOT NULL,                -- dids, queues, menus …
    name TEXT NOT NULL,
    user_group TEXT NOT NULL,
    PRIMARY KEY (collection, name)
);
