-- The view for people says which verdicts still stand.

DROP VIEW experiment_results;

CREATE VIEW experiment_results AS
SELECT n.campaign, e.night, e.number, e.title, e.family, e.proposer, e.state, e.verdict,
       -- 0: it, or what it was compared with, broke a rule later
       w.experiment IS NULL OR e.number < w.experiment AS stands,
       e.difference, e.interval_low, e.interval_high,
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
FROM experiments e JOIN nights n ON n.id = e.night LEFT JOIN withdrawals w ON w.night = e.night
ORDER BY n.started_at, e.number;
