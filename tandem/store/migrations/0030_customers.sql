-- People, as clients know them: their telephones, and what is known of them. Times are seconds since 1970.

CREATE TABLE customers (
    person TEXT PRIMARY KEY,          -- the client's own id
    name TEXT NOT NULL,
    properties TEXT NOT NULL,         -- a JSON object: name -> value, in the client's order
    created_at REAL NOT NULL,
    updated_at REAL
);

CREATE TABLE customer_phones (
    person TEXT NOT NULL REFERENCES customers (person) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    phone_number TEXT NOT NULL,       -- as it is dialled: digits, with or without a leading +
    ending TEXT NOT NULL,             -- its last ten digits, by which it is found
    PRIMARY KEY (person, position)
);

CREATE INDEX customer_phones_ending ON customer_phones (ending, person);
