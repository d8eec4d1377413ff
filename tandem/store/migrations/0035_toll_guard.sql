-- What endpoints, trunks and the PBX called today, and which of them are locked until a person unlocks them. Times are seconds since 1970.
CREATE TABLE toll_usage (
    scope TEXT NOT NULL PRIMARY KEY,  -- pbx, endpoint/1001, trunk/carrier
    day INTEGER NOT NULL,             -- days since 1970 in the PBX's time zone
    calls INTEGER NOT NULL,
    seconds REAL NOT NULL
);

CREATE TABLE toll_locks (
    scope TEXT NOT NULL PRIMARY KEY,
    locked_at REAL NOT NULL,
    reason TEXT NOT NULL
);
