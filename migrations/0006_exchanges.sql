-- Coding agents' turns are on record with the calls of models, and what a call was for is a part of its place.

ALTER TABLE exchanges ADD COLUMN kind TEXT NOT NULL DEFAULT 'model' CHECK (kind IN ('model', 'agent')); -- who was asked
-- "an idea", the key of the person's idea (queue-N), or "a repair of" and the key of what was repaired. Empty in older rows, which are
-- paid for and not heard again.
ALTER TABLE exchanges ADD COLUMN aim TEXT NOT NULL DEFAULT '';
-- A failed try that was to be followed by another of the same call.
ALTER TABLE exchanges ADD COLUMN again INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1) AND (again = 0 OR failure IS NOT NULL));
