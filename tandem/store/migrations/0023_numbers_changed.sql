-- What became of numbers since a time, page by page, without a look at each of a million.
CREATE INDEX numbers_changed ON numbers (coalesce(updated_at, created_at), number_id);
