-- What a person thinks of experiments. Not a night's: it is written afterwards, by whoever reviews, and stands in a file of its own
-- besides. Rows are added and never changed; of an experiment the last one counts.

CREATE TABLE reviews (
    ordinal  INTEGER NOT NULL PRIMARY KEY CHECK (ordinal >= 1), -- counted from 1 over all nights
    night    TEXT NOT NULL,
    number   INTEGER NOT NULL CHECK (number >= 1),
    choice   TEXT NOT NULL CHECK (choice IN ('accepted', 'rejected', 'deferred')),
    reason   TEXT NOT NULL, -- the person's words; may be empty, but not of what is rejected
    at       TEXT NOT NULL,
    FOREIGN KEY (night, number) REFERENCES experiments (night, number),
    CHECK (choice <> 'rejected' OR reason <> '')
) STRICT;

CREATE INDEX reviews_by_experiment ON reviews (night, number, ordinal);
