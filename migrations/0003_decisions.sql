-- Decisions by statistics: several trials of an experiment under several seeds, the figures behind a verdict, the morning's
-- claim, and how often each held-out part has been looked at.

-- The views read `trials`, which is made anew below.
DROP VIEW experiment_results;
DROP VIEW night_results;
DROP VIEW certificates;

-- SQLite cannot change a CHECK, and there is a new ending, `stopped-early`: the same table with its rows, and more columns.
CREATE TABLE trials_of_now (
    night              TEXT NOT NULL,
    number             INTEGER NOT NULL,
    ordinal            INTEGER NOT NULL CHECK (ordinal >= 1),
    seed               TEXT NOT NULL CHECK (seed <> '' AND seed NOT GLOB '*[^0-9]*'),
    budget_seconds     REAL CHECK (budget_seconds > 0),
    budget_tokens      INTEGER CHECK (budget_tokens > 0),
    artifact_sha256    TEXT NOT NULL,
    folder             TEXT NOT NULL,
    started_at         TEXT NOT NULL,
    -- How it ended, by the agent's own observation where nothing else is said.
    ending             TEXT CHECK (ending IN ('finished', 'timed-out', 'crashed', 'out-of-memory', 'not-finite', 'stopped',
                                              'stopped-early', 'machine-fault')),
    message            TEXT,
    steps              INTEGER, -- the trainer's word
    tokens             INTEGER, -- the trainer's word
    parameters         INTEGER, -- the trainer's word
    training_seconds   REAL,
    start_seconds      REAL,
    peak_memory_bytes  INTEGER, -- the trainer's word
    final_loss         REAL,    -- the trainer's word, nats per token
    checkpoint_sha256  TEXT,
    ended_at           TEXT,
    -- What the evaluator said.
    evaluation         TEXT CHECK (evaluation IN ('verified', 'rejected')),
    val_bpb            REAL,
    nats               REAL,
    bytes              INTEGER CHECK (bytes >= 0),
    scored_tokens      INTEGER CHECK (scored_tokens >= 0),
    evaluator_seconds  REAL,
    evaluator          TEXT,
    failed_check       TEXT,
    evidence           TEXT,
    evaluated_at       TEXT,
    standard_error     REAL -- of the correction in `val_bpb`, bits per byte
        CHECK (standard_error >= 0)
        CHECK (standard_error IS NULL OR val_bpb IS NOT NULL),
    claimed_bpb        REAL -- bits per byte before the correction
        CHECK ((claimed_bpb IS NULL) = (standard_error IS NULL)),
    certificate_json   TEXT -- the whole certificate; figures that are not finite are text in it
        CHECK (json_valid(certificate_json))
        CHECK (certificate_json IS NULL OR evaluation IS NOT NULL),
    -- What it is for: `search` is measured on the search text, `morning` on the sealed text.
    purpose            TEXT NOT NULL DEFAULT 'search' CHECK (purpose IN ('search', 'morning')),
    -- Runs of different eras are not compared: the machine changed in between.
    era                INTEGER NOT NULL DEFAULT 0 CHECK (era >= 0),
    -- The look at its curve at which it would have been stopped early, had it not been left to finish as a sample.
    would_stop         INTEGER CHECK (would_stop >= 0),
    PRIMARY KEY (night, number, ordinal),
    FOREIGN KEY (night, number) REFERENCES experiments (night, number),
    CHECK ((budget_seconds IS NULL) <> (budget_tokens IS NULL)),
    CHECK ((ending IS NULL) = (ended_at IS NULL)),
    CHECK ((message IS NOT NULL) =
           (ending IS NOT NULL AND ending IN ('crashed', 'out-of-memory', 'stopped-early', 'machine-fault'))),
    CHECK ((ending IS NULL) = (steps IS NULL)),
    CHECK ((ending IS NULL) = (tokens IS NULL)),
    CHECK ((ending IS NULL) = (parameters IS NULL)),
    CHECK ((ending IS NULL) = (training_seconds IS NULL)),
    CHECK ((ending IS NULL) = (start_seconds IS NULL)),
    CHECK ((ending IS NULL) = (peak_memory_bytes IS NULL)),
    CHECK (evaluation IS NULL OR ending IS NOT NULL),
    CHECK ((evaluation IS NULL) = (evaluated_at IS NULL)),
    CHECK ((evaluation IS NOT NULL AND evaluation = 'verified') = (val_bpb IS NOT NULL)),
    CHECK ((val_bpb IS NULL) = (nats IS NULL)),
    CHECK ((val_bpb IS NULL) = (bytes IS NULL)),
    CHECK ((val_bpb IS NULL) = (scored_tokens IS NULL)),
    CHECK ((val_bpb IS NULL) = (evaluator_seconds IS NULL)),
    CHECK ((val_bpb IS NULL) = (evaluator IS NULL)),
    CHECK ((evaluation IS NOT NULL AND evaluation = 'rejected') = (failed_check IS NOT NULL)),
    CHECK ((failed_check IS NULL) = (evidence IS NULL))
) STRICT;

INSERT INTO trials_of_now (night, number, ordinal, seed, budget_seconds, budget_tokens, artifact_sha256, folder, started_at,
                           ending, message, steps, tokens, parameters, training_seconds, start_seconds, peak_memory_bytes,
                           final_loss, checkpoint_sha256, ended_at, evaluation, val_bpb, nats, bytes, scored_tokens,
                           evaluator_seconds, evaluator, failed_check, evidence, evaluated_at, standard_error, claimed_bpb,
                           certificate_json)
SELECT night, number, ordinal, seed, budget_seconds, budget_tokens, artifact_sha256, folder, started_at,
       ending, message, steps, tokens, parameters, training_seconds, start_seconds, peak_memory_bytes,
       final_loss, checkpoint_sha256, ended_at, evaluation, val_bpb, nats, bytes, scored_tokens,
       evaluator_seconds, evaluator, failed_check, evidence, evaluated_at, standard_error, claimed_bpb,
       certificate_json
FROM trials;

DROP TABLE trials;
ALTER TABLE trials_of_now RENAME TO trials;

ALTER TABLE experiments ADD COLUMN confidence REAL -- its author's, that the change is an improvement at all
    CHECK (confidence BETWEEN 0 AND 1);

ALTER TABLE experiments ADD COLUMN evidence_json TEXT -- the figures behind the verdict and its story
    CHECK (json_valid(evidence_json))
    CHECK (evidence_json IS NULL OR verdict IS NOT NULL);

-- The morning's claim of a night: its champion against its start, on fresh seeds and the sealed text.
CREATE TABLE claims (
    night            TEXT NOT NULL PRIMARY KEY REFERENCES nights (id),
    start_commit     TEXT NOT NULL CHECK (length(start_commit) = 40),
    champion_commit  TEXT NOT NULL CHECK (length(champion_commit) = 40),
    pairs            INTEGER NOT NULL CHECK (pairs >= 0),
    difference       REAL, -- bits per byte, champion minus start: negative is better
    interval_low     REAL,
    interval_high    REAL,
    p_value          REAL CHECK (p_value BETWEEN 0 AND 1),
    holds            INTEGER NOT NULL CHECK (holds IN (0, 1)),
    words            TEXT NOT NULL,
    at               TEXT NOT NULL,
    CHECK ((interval_low IS NULL) = (interval_high IS NULL)),
    CHECK (interval_low IS NULL OR difference IS NOT NULL),
    CHECK (holds = 0 OR p_value IS NOT NULL)
) STRICT;

-- The ledger of held-out text: how many models a part has been asked about. Evaluations count when they begin, because one
-- that was cut off may have been seen.
CREATE TABLE looks (
    night        TEXT NOT NULL REFERENCES nights (id),
    part         TEXT NOT NULL CHECK (part IN ('search', 'sealed')),
    what_for     TEXT NOT NULL CHECK (what_for <> ''),
    evaluations  INTEGER NOT NULL CHECK (evaluations >= 1),
    first_at     TEXT NOT NULL,
    last_at      TEXT NOT NULL,
    PRIMARY KEY (night, part, what_for)
) STRICT;

-- Sealed text is spent on one thing in a night.
CREATE UNIQUE INDEX looks_sealed_once ON looks (night) WHERE part = 'sealed';

-- For people with a SQLite shell. Nothing in the program reads these.

CREATE VIEW experiment_results AS
SELECT n.campaign, e.night, e.number, e.title, e.family, e.proposer, e.state, e.verdict, e.difference,
       e.interval_low, e.interval_high,
       json_extract(e.evidence_json, '$.expected') AS expected, json_extract(e.evidence_json, '$.probability') AS probability,
       -- mean over its search trials, whichever seeds they had: `difference` compares equal seeds
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = e.night AND t.number = e.number AND t.purpose = 'search')
           AS val_bpb,
       (SELECT count(*) FROM trials t WHERE t.night = e.night AND t.number = e.number) AS trials,
       (SELECT round(sum(t.training_seconds), 1) FROM trials t WHERE t.night = e.night AND t.number = e.number)
           AS training_seconds,
       (SELECT round(max(t.peak_memory_bytes) / 1073741824.0, 2) FROM trials t
        WHERE t.night = e.night AND t.number = e.number) AS memory_gb,
       e.lines_added, e.lines_removed, substr(e.commit_id, 1, 7) AS commit_id, e.branch, e.reason
FROM experiments e JOIN nights n ON n.id = e.night
ORDER BY n.started_at, e.number;

CREATE VIEW night_results AS
SELECT n.campaign, n.id AS night, n.started_at, n.ended_at, n.ending,
       (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0) AS experiments,
       (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0 AND e.verdict = 'kept') AS kept,
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = n.id AND t.number = 0 AND t.purpose = 'search') AS start_val_bpb,
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = n.id AND t.purpose = 'search' AND t.number =
           (SELECT m.experiment FROM champion_moves m WHERE m.night = n.id ORDER BY m.ordinal DESC LIMIT 1))
           AS champion_val_bpb,
       c.difference AS claimed_difference, c.interval_low, c.interval_high, c.p_value, c.holds,
       (SELECT sum(l.evaluations) FROM looks l WHERE l.night = n.id AND l.part = 'search') AS search_looks,
       (SELECT sum(l.evaluations) FROM looks l WHERE l.night = n.id AND l.part = 'sealed') AS sealed_looks
FROM nights n LEFT JOIN claims c ON c.night = n.id
ORDER BY n.started_at;

CREATE VIEW certificates AS
SELECT n.campaign, t.night, t.number, t.ordinal AS trial, t.purpose, t.evaluation, t.val_bpb, t.standard_error, t.claimed_bpb,
       t.failed_check, json_extract(t.certificate_json, '$.evaluator') AS evaluator,
       json_extract(t.certificate_json, '$.sandbox') AS sandbox,
       json_extract(t.certificate_json, '$.audit.cuts') AS cuts,
       json_extract(t.certificate_json, '$.audit.largest_difference') AS largest_difference,
       json_extract(t.certificate_json, '$.audit.mean_difference') AS mean_difference,
       json_extract(t.certificate_json, '$.seconds') AS seconds,
       t.evidence
FROM trials t JOIN nights n ON n.id = t.night
WHERE t.certificate_json IS NOT NULL
ORDER BY n.started_at, t.number, t.ordinal;
