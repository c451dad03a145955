-- Who put an idea into the queue: a program outside, by the name that it gives itself, or (NULL) the person.

ALTER TABLE queue ADD COLUMN enqueued_by TEXT CHECK (enqueued_by <> '');
