-- What language models were asked and answered, and the person's own ideas that wait for a night.

-- One call of a model: recorded before anything is made of it, so that a night that is gone on with, or replayed, hears the same again.
-- No key is in it. What became of an answer stands with the experiments.
CREATE TABLE exchanges (
    night           TEXT NOT NULL REFERENCES nights (id),
    turn            INTEGER NOT NULL, -- the brief that it belongs to: proposers are asked once a turn
    round           INTEGER NOT NULL CHECK (round >= 1), -- calls within a turn: tools, repairs, other models
    number          INTEGER NOT NULL CHECK (number >= 1), -- the experiment that was to come of it; it may be another's in the end
    model           TEXT NOT NULL CHECK (model <> ''), -- its name in campaign.toml
    request_json    TEXT NOT NULL CHECK (json_valid(request_json)),
    answer_json     TEXT CHECK (json_valid(answer_json)),
    failure_kind    TEXT CHECK (failure_kind IN ('unreachable', 'timed-out', 'rate-limited', 'server', 'not-allowed', 'too-long',
                                                 'bad-request', 'broken-off', 'malformed', 'too-much', 'empty')),
    failure         TEXT, -- in words
    stop            TEXT CHECK (stop IN ('done', 'calls', 'length', 'refused')),
    input_tokens    INTEGER CHECK (input_tokens >= 0), -- the server's word, as are the two that follow
    cached_tokens   INTEGER CHECK (cached_tokens >= 0),
    output_tokens   INTEGER CHECK (output_tokens >= 0),
    calls           INTEGER NOT NULL CHECK (calls >= 1), -- tries over the network
    tokens          INTEGER NOT NULL CHECK (tokens >= 0), -- as they are paid for: estimated where the server does not say
    dollars         REAL NOT NULL CHECK (dollars >= 0),
    seconds         REAL NOT NULL CHECK (seconds >= 0),
    at              TEXT NOT NULL,
    PRIMARY KEY (night, turn, round),
    CHECK ((answer_json IS NULL) <> (failure IS NULL)),
    CHECK ((failure IS NULL) = (failure_kind IS NULL)),
    CHECK ((answer_json IS NULL) = (stop IS NULL))
) STRICT;

-- No night's: it is written by whoever has an idea, also while a night runs, and stands in a file of its own besides. A row is never
-- deleted, so a number names one entry for ever.
CREATE TABLE queue (
    id          INTEGER NOT NULL PRIMARY KEY,
    campaign    TEXT NOT NULL CHECK (campaign <> ''),
    place       INTEGER NOT NULL CHECK (place >= 1), -- the lower, the sooner, among those of a campaign that wait
    words       TEXT NOT NULL CHECK (words <> ''),
    patch       TEXT CHECK (patch <> ''), -- a unified diff, as git writes it
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'taken', 'done', 'refused', 'removed')),
    -- Who took it. The night may be lost from this database, so it is not referred to.
    night       TEXT,
    number      INTEGER CHECK (number >= 1),
    result      TEXT, -- what came of it, in words
    created_at  TEXT NOT NULL,
    taken_at    TEXT,
    settled_at  TEXT,
    CHECK ((night IS NULL) = (number IS NULL)),
    CHECK ((night IS NULL) = (taken_at IS NULL)),
    CHECK (state <> 'waiting' OR night IS NULL),
    CHECK (state NOT IN ('taken', 'done') OR night IS NOT NULL),
    CHECK ((state IN ('done', 'refused', 'removed')) = (settled_at IS NOT NULL)),
    CHECK ((state IN ('done', 'refused')) = (result IS NOT NULL))
) STRICT;
