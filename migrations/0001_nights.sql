-- Nights, their experiments and trials, what was decided, and the journal from which a night goes on after a crash.
--
-- Conventions: times are RFC 3339 text in UTC; hashes are lower-case hexadecimal; columns named `*_json` hold JSON; counters
-- count from 1, experiment numbers from 0 (the night's start). Unsigned 64-bit seeds are decimal text, because INTEGER is
-- signed. What a trainer says of itself (steps, tokens, parameters, peak memory) is stored bit for bit: a figure beyond
-- 2^63 - 1, which no honest trainer reports, shows as negative. Curves, logs and checkpoints are files; a trial names their
-- folder. Every row stands in the night's JSON files as well: `nocturne` rebuilds a lost database from those.

PRAGMA application_id = 0x4e6f6374; -- "Noct": a file without it is not touched

CREATE TABLE nights (
    id                TEXT NOT NULL PRIMARY KEY CHECK (id <> '' AND id NOT GLOB '*[^a-z0-9-]*'),
    campaign          TEXT NOT NULL CHECK (campaign <> ''),
    start_commit      TEXT NOT NULL CHECK (length(start_commit) = 40),
    program_sha256    TEXT NOT NULL,
    campaign_sha256   TEXT NOT NULL,
    campaign_text     TEXT NOT NULL,
    started_at        TEXT NOT NULL,
    deadline          TEXT,
    experiment_limit  INTEGER CHECK (experiment_limit >= 0),
    seeds_json        TEXT NOT NULL CHECK (json_valid(seeds_json)),
    proposer_seed     TEXT NOT NULL CHECK (proposer_seed NOT GLOB '*[^0-9]*'),
    machine_json      TEXT NOT NULL CHECK (json_valid(machine_json)),
    state             TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ended')),
    ended_at          TEXT,
    ending            TEXT CHECK (ending IN
                          ('experiments-done', 'deadline', 'nothing-left', 'stopped', 'failed', 'abandoned')),
    ending_detail     TEXT,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (ending IS NULL)),
    CHECK ((ending IS NULL) = (ending_detail IS NULL))
) STRICT;

CREATE INDEX nights_by_campaign ON nights (campaign, started_at);

CREATE TABLE experiments (
    night               TEXT NOT NULL REFERENCES nights (id),
    number              INTEGER NOT NULL CHECK (number >= 0),
    key                 TEXT NOT NULL,
    title               TEXT NOT NULL,
    hypothesis          TEXT NOT NULL,
    source              TEXT NOT NULL,
    family              TEXT NOT NULL,
    predicted_effect    REAL,
    proposer            TEXT NOT NULL CHECK (proposer <> ''),
    model               TEXT,
    cost_usd            REAL NOT NULL,
    edits_json          TEXT NOT NULL CHECK (json_valid(edits_json)),
    patch_digest        TEXT NOT NULL CHECK (patch_digest <> ''),
    champion_commit     TEXT NOT NULL CHECK (length(champion_commit) = 40),
    state               TEXT NOT NULL DEFAULT 'proposed' CHECK (state IN
                            ('proposed', 'committed', 'built', 'training', 'measured', 'decided')),
    commit_id           TEXT CHECK (length(commit_id) = 40),
    parent_commit       TEXT CHECK (length(parent_commit) = 40),
    branch              TEXT,
    lines_added         INTEGER CHECK (lines_added >= 0),
    lines_removed       INTEGER CHECK (lines_removed >= 0),
    artifact_sha256     TEXT,
    build_seconds       REAL CHECK (build_seconds >= 0),
    verdict             TEXT CHECK (verdict IN
                            ('kept', 'discarded', 'inconclusive', 'invalid', 'crashed', 'unbuildable')),
    difference          REAL,
    interval_low        REAL,
    interval_high       REAL,
    decided_on_trials   INTEGER CHECK (decided_on_trials >= 0),
    rule                TEXT,
    reason              TEXT,
    proposed_at         TEXT NOT NULL,
    decided_at          TEXT,
    PRIMARY KEY (night, number),
    UNIQUE (night, patch_digest),
    CHECK ((commit_id IS NULL) = (parent_commit IS NULL)),
    CHECK ((commit_id IS NULL) = (branch IS NULL)),
    CHECK ((commit_id IS NULL) = (lines_added IS NULL)),
    CHECK ((commit_id IS NULL) = (lines_removed IS NULL)),
    CHECK ((artifact_sha256 IS NULL) = (build_seconds IS NULL)),
    CHECK ((interval_low IS NULL) = (interval_high IS NULL)),
    CHECK ((state = 'decided') = (verdict IS NOT NULL)),
    CHECK ((verdict IS NULL) = (decided_on_trials IS NULL)),
    CHECK ((verdict IS NULL) = (rule IS NULL)),
    CHECK ((verdict IS NULL) = (reason IS NULL)),
    CHECK ((verdict IS NULL) = (decided_at IS NULL)),
    CHECK (verdict IS NOT NULL OR (difference IS NULL AND interval_low IS NULL))
) STRICT;

-- A commit is one experiment's; two experiments never share a branch.
CREATE UNIQUE INDEX experiments_by_branch ON experiments (branch) WHERE branch IS NOT NULL;

CREATE TABLE attempts (
    night         TEXT NOT NULL,
    number        INTEGER NOT NULL,
    ordinal       INTEGER NOT NULL CHECK (ordinal >= 1),
    kind          TEXT NOT NULL CHECK (kind IN ('edit', 'build')),
    edits_json    TEXT NOT NULL CHECK (json_valid(edits_json)),
    patch_digest  TEXT,
    commit_id     TEXT CHECK (length(commit_id) = 40),
    outcome       TEXT NOT NULL CHECK (outcome IN ('succeeded', 'failed')),
    evidence      TEXT NOT NULL,
    seconds       REAL NOT NULL CHECK (seconds >= 0),
    at            TEXT NOT NULL,
    PRIMARY KEY (night, number, ordinal),
    FOREIGN KEY (night, number) REFERENCES experiments (night, number)
) STRICT;

CREATE TABLE trials (
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
                                              'machine-fault')),
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
    PRIMARY KEY (night, number, ordinal),
    FOREIGN KEY (night, number) REFERENCES experiments (night, number),
    CHECK ((budget_seconds IS NULL) <> (budget_tokens IS NULL)),
    CHECK ((ending IS NULL) = (ended_at IS NULL)),
    CHECK ((message IS NOT NULL) = (ending IS NOT NULL AND ending IN ('crashed', 'out-of-memory', 'machine-fault'))),
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

CREATE TABLE champion_moves (
    night       TEXT NOT NULL,
    ordinal     INTEGER NOT NULL CHECK (ordinal >= 1),
    experiment  INTEGER NOT NULL,
    commit_id   TEXT NOT NULL CHECK (length(commit_id) = 40),
    at          TEXT NOT NULL,
    PRIMARY KEY (night, ordinal),
    UNIQUE (night, experiment),
    FOREIGN KEY (night, experiment) REFERENCES experiments (night, number)
) STRICT;

CREATE TABLE skips (
    night            TEXT NOT NULL REFERENCES nights (id),
    ordinal          INTEGER NOT NULL CHECK (ordinal >= 1),
    proposer         TEXT NOT NULL,
    key              TEXT NOT NULL,
    champion_commit  TEXT NOT NULL CHECK (length(champion_commit) = 40),
    reason           TEXT NOT NULL,
    at               TEXT NOT NULL,
    PRIMARY KEY (night, ordinal),
    UNIQUE (night, proposer, key, champion_commit, reason)
) STRICT;

-- An effect is begun before it is performed and ended after: one without an end was cut off and is performed again.
CREATE TABLE effects (
    night         TEXT NOT NULL REFERENCES nights (id),
    ordinal       INTEGER NOT NULL CHECK (ordinal >= 1),
    key           TEXT NOT NULL CHECK (key <> ''),
    kind          TEXT NOT NULL CHECK (kind <> ''),
    payload_json  TEXT NOT NULL CHECK (json_valid(payload_json)),
    begun_at      TEXT NOT NULL,
    ended_at      TEXT,
    outcome_json  TEXT CHECK (json_valid(outcome_json)),
    PRIMARY KEY (night, ordinal),
    UNIQUE (night, key),
    CHECK ((ended_at IS NULL) = (outcome_json IS NULL))
) STRICT;

CREATE TABLE events (
    night    TEXT NOT NULL REFERENCES nights (id),
    ordinal  INTEGER NOT NULL CHECK (ordinal >= 1),
    at       TEXT NOT NULL,
    level    TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    stage    TEXT NOT NULL,
    text     TEXT NOT NULL,
    PRIMARY KEY (night, ordinal)
) STRICT;

-- For people with a SQLite shell. Nothing in the program reads these.

CREATE VIEW experiment_results AS
SELECT n.campaign, e.night, e.number, e.title, e.family, e.proposer, e.state, e.verdict, e.difference,
       e.interval_low, e.interval_high,
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = e.night AND t.number = e.number) AS val_bpb,
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
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = n.id AND t.number = 0) AS start_val_bpb,
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = n.id AND t.number =
           (SELECT m.experiment FROM champion_moves m WHERE m.night = n.id ORDER BY m.ordinal DESC LIMIT 1))
           AS champion_val_bpb
FROM nights n
ORDER BY n.started_at;
