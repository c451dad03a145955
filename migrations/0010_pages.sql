-- What the server's lists ask for stands in indexes by itself: rows of these tables carry edits, certificates and whole conversations, and a
-- list of a thousand would have to read past all of them.

CREATE INDEX experiments_as_listed
    ON experiments (night, number, verdict, proposer, family, difference, cost_usd, title, champion_commit, commit_id);

CREATE INDEX trials_as_measured ON trials (night, number, purpose, era, val_bpb, training_seconds);

CREATE INDEX exchanges_as_paid ON exchanges (night, kind, dollars);
