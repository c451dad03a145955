-- Which runs tell an experiment's metric stood in four queries.

-- Verified runs on the search text, of the newest era that the experiment has any of: the machine changed between eras.
CREATE VIEW measured_runs AS
SELECT t.night, t.number, t.val_bpb
FROM trials t
WHERE t.purpose = 'search' AND t.val_bpb IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM trials x WHERE x.night = t.night AND x.number = t.number AND x.purpose = 'search' AND x.era > t.era
                      AND x.val_bpb IS NOT NULL);
