-- Surveys, each call that is in one, and each answer from the moment when it is given. Times are seconds since 1970.

CREATE TABLE surveys (
    survey_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    body TEXT NOT NULL,               -- the whole survey, as JSON
    words TEXT NOT NULL,              -- another system's own words for it, as JSON
    author TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL,
    version INTEGER NOT NULL          -- counts changes
);

CREATE TABLE survey_visits (
    visit_id TEXT PRIMARY KEY,
    survey_id INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    campaign_id INTEGER,              -- NULL: no campaign called
    number_id INTEGER,
    phone_number TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    outcome TEXT NOT NULL             -- '' while the call is up
);

CREATE INDEX survey_visits_survey ON survey_visits (survey_id, started_at);
CREATE INDEX survey_visits_call ON survey_visits (call_id);

CREATE TABLE survey_answers (
    answer_id INTEGER PRIMARY KEY AUTOINCREMENT,
    visit_id TEXT NOT NULL,
    survey_id INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    campaign_id INTEGER,
    number_id INTEGER,
    phone_number TEXT NOT NULL,
    position INTEGER NOT NULL,        -- within the visit, so that an answer is kept once
    question TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    label TEXT NOT NULL,
    recording TEXT NOT NULL,          -- the name of the file, '' for none
    answered_at REAL NOT NULL,
    UNIQUE (visit_id, position)
);

CREATE INDEX survey_answers_survey ON survey_answers (survey_id, answer_id);
CREATE INDEX survey_answers_time ON survey_answers (answered_at, answer_id);
CREATE INDEX survey_answers_campaign ON survey_answers (campaign_id, answer_id);
