-- Which API a token speaks where two have the same path: '' for none in particular, else a door's name (while1).
ALTER TABLE tokens ADD COLUMN dialect TEXT NOT NULL DEFAULT '';
