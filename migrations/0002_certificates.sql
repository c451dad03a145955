-- What the evaluator did with a trial. Trials that were evaluated before claims were audited have none of it: their `val_bpb`
-- is their claim, uncorrected.

ALTER TABLE trials ADD COLUMN standard_error REAL -- of the correction in `val_bpb`, bits per byte
    CHECK (standard_error >= 0)
    CHECK (standard_error IS NULL OR val_bpb IS NOT NULL);

ALTER TABLE trials ADD COLUMN claimed_bpb REAL -- bits per byte before the correction
    CHECK ((claimed_bpb IS NULL) = (standard_error IS NULL));

ALTER TABLE trials ADD COLUMN certificate_json TEXT -- the whole certificate; figures that are not finite are text in it
    CHECK (json_valid(certificate_json))
    CHECK (certificate_json IS NULL OR evaluation IS NOT NULL);

-- For people with a SQLite shell. Nothing in the program reads it.

CREATE VIEW certificates AS
SELECT n.campaign, t.night, t.number, t.ordinal AS trial, t.evaluation, t.val_bpb, t.standard_error, t.claimed_bpb,
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
