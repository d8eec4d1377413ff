-- Schedules that somebody holds open (day) or closed (night); one that is not here goes by the clock. Times are seconds since 1970.
CREATE TABLE night_modes (
    schedule TEXT NOT NULL PRIMARY KEY,
    mode TEXT NOT NULL CHECK (mode IN ('day', 'night')),
    since REAL NOT NULL,
    author TEXT NOT NULL
);
