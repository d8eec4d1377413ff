-- What people set at their phones, over what is configured. Null is as configured; of a forward '' is off. Times are seconds since 1970.
CREATE TABLE phone_features (
    extension TEXT NOT NULL PRIMARY KEY,
    do_not_disturb INTEGER CHECK (do_not_disturb IN (0, 1)),
    forward_always TEXT,
    forward_busy TEXT,
    forward_no_answer TEXT,
    forward_unavailable TEXT,
    since REAL NOT NULL,
    author TEXT NOT NULL
);
