-- A commit that had been kept, and broke a rule under another seed. Its verdict stays on record and does not hold, nor does anything
-- that was kept on top of it, nor the night's claim, whether it was made before or not.

CREATE TABLE withdrawals (
    night       TEXT NOT NULL PRIMARY KEY REFERENCES nights (id),
    experiment  INTEGER NOT NULL, -- the first that does not hold; 0: the night's start itself, and all that followed
    words       TEXT NOT NULL CHECK (words <> ''),
    at          TEXT NOT NULL,
    FOREIGN KEY (night, experiment) REFERENCES experiments (night, number)
) STRICT;

-- For people with a SQLite shell. Nothing in the program reads it.

DROP VIEW night_results;

CREATE VIEW night_results AS
SELECT n.campaign, n.id AS night, n.started_at, n.ended_at, n.ending,
       (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0) AS experiments,
       -- those that stand
       (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0 AND e.verdict = 'kept'
        AND (w.experiment IS NULL OR e.number < w.experiment)) AS kept,
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = n.id AND t.number = 0 AND t.purpose = 'search') AS start_val_bpb,
       -- the last champion that stands
       (SELECT avg(t.val_bpb) FROM trials t WHERE t.night = n.id AND t.purpose = 'search' AND t.number =
           (SELECT m.experiment FROM champion_moves m
            WHERE m.night = n.id AND (m.experiment = 0 OR w.experiment IS NULL OR m.experiment < w.experiment)
            ORDER BY m.ordinal DESC LIMIT 1))
           AS champion_val_bpb,
       c.difference AS claimed_difference, c.interval_low, c.interval_high, c.p_value,
       c.holds AND w.night IS NULL AS holds, w.words AS withdrawn,
       (SELECT sum(l.evaluations) FROM looks l WHERE l.night = n.id AND l.part = 'search') AS search_looks,
       (SELECT sum(l.evaluations) FROM looks l WHERE l.night = n.id AND l.part = 'sealed') AS sealed_looks
FROM nights n LEFT JOIN claims c ON c.night = n.id LEFT JOIN withdrawals w ON w.night = n.id
ORDER BY n.started_at;
