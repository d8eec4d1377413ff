-- What was last asked for agents: in or out of a queue, pause or work. Without a row it is as configured. Times are seconds since 1970.
CREATE TABLE agent_logins (
    endpoint TEXT NOT NULL,
    queue TEXT NOT NULL,
    is_logged_in INTEGER NOT NULL CHECK (is_logged_in IN (0, 1)),
    since REAL NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (endpoint, queue)
);

CREATE TABLE agent_pauses (
    endpoint TEXT NOT NULL PRIMARY KEY,
    is_paused INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
    reason TEXT NOT NULL,
    since REAL NOT NULL,
    author TEXT NOT NULL
);
